#include "compare/cmd_compare.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "compare/compare_options.h"
#include "compare/comparison.h"
#include "compare/comparison_json.h"
#include "compare/html.h"
#include "compare/join.h"
#include "compare/measure.h"
#include "compare/table.h"
#include "compare/workload.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/progress.h"
#include "vmm/report.h"
#include "vmm/vcpu.h"

#define STATUS_INTERRUPTED 130
#define LIST_WIDTH 100 /* as the reports have */
#define LIST_COLUMN 24

#define AGAIN_NS 500000000 /* `timeout` sends its signal twice at once; people take longer */

/* Ctrl-C and SIGTERM: the first ends the guest that runs and has what is finished shown, another one ends the program. */
struct stop {
	sigset_t signals;
	pthread_t thread;
	atomic_bool raised;
	atomic_bool over; /* the next signal is for the thread alone: it may end */
};

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *wait_for_signals(void *arg)
{
	struct stop *s = arg;
	int64_t first = 0;
	int signal;

	for (;;) {
		sigwait(&s->signals, &signal);
		if (atomic_load(&s->over))
			return NULL;
		if (!atomic_exchange(&s->raised, true))
			first = monotonic_ns();
		else if (monotonic_ns() > first + AGAIN_NS)
			_exit(STATUS_INTERRUPTED);
	}
}

/* Before any other thread: all of them inherit the mask. */
static int stop_start(struct stop *s)
{
	int err;

	atomic_init(&s->raised, false);
	atomic_init(&s->over, false);
	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGINT);
	sigaddset(&s->signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
	err = pthread_create(&s->thread, NULL, wait_for_signals, s);
	return err ? log_errno(err, "compare: thread for signals") : 0;
}

static void stop_end(struct stop *s)
{
	/* Not pthread_cancel(): it loads a library that need not be there, as in the lab. */
	atomic_store(&s->over, true);
	pthread_kill(s->thread, SIGTERM);
	pthread_join(s->thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &s->signals, NULL);
}

static void show_progress(void *arg, const char *row, unsigned int done, unsigned int all)
{
	progress_line("compare: %3u %%  %s", done * 100 / all, row);
}

static int measure_with_kvm(struct comparison *c, const struct program *p, const struct compare_options *o, const struct kvm *kvm)
{
	struct stop stop;
	struct measure_plan plan = {
		.program = p, .kvm = kvm, .modes = o->modes, .workloads = o->workloads, .workload = o->workload,
		.image = o->image, .arguments = o->arguments, .rounds = o->rounds, .cpu = o->cpu, .huge = o->huge, .mem = o->mem,
		.timeout_ms = o->timeout_ms, .stop = &stop.raised, .progress = show_progress,
	};
	int r = stop_start(&stop);

	if (r < 0)
		return r;
	memcpy(plan.mmu, o->mmu, sizeof(plan.mmu));
	r = measure(c, &plan);
	stop_end(&stop);
	progress_no_line();
	return r;
}

static int measure_all(struct comparison *c, const struct program *p, const struct compare_options *o)
{
	struct kvm kvm;
	int r = kvm_open(&kvm);

	if (r == 0)
		r = vcpu_init_process();
	if (r == 0)
		r = measure_with_kvm(c, p, o, &kvm);
	kvm_close(&kvm);
	return r;
}

static int join_all(struct comparison *c, const struct compare_options *o)
{
	int r = 0;

	for (size_t i = 0; i < o->joined && r == 0; i++) {
		struct comparison one;

		comparison_init(&one);
		r = comparison_from_json(&one, o->join[i]);
		if (r == 0)
			r = join(c, &one, o->join[i]);
		comparison_free(&one);
	}
	join_name_columns(c);
	return r;
}

/* An error of writing may have been kept back until now. */
static int finish_writing(FILE *out, const char *name, int r)
{
	errno = 0;
	if (r == 0 && (fflush(out) || ferror(out)))
		r = log_errno(errno ? errno : EIO, "%s: write", name);
	return r;
}

/* What the file held before is gone only now. Not every file can be cut, and need be. */
static int write_html(FILE *out, const char *name, const struct comparison *c)
{
	(void)!ftruncate(fileno(out), 0);
	return finish_writing(out, name, html_write(out, c));
}

static int print_comparison(const struct comparison *c, const struct compare_options *o)
{
	int r = o->json ? comparison_to_json(stdout, c) : table_print(stdout, c);

	return finish_writing(stdout, "standard output", r);
}

static int show(FILE *html, const struct comparison *c, const struct compare_options *o)
{
	int r = html ? write_html(html, o->html, c) : 0, printed = print_comparison(c, o);

	if (r < 0 || printed < 0)
		return EXIT_BAD;
	return c->partial && !o->joining ? STATUS_INTERRUPTED : 0;
}

static int status_of_failure(const struct compare_options *o, int error)
{
	return o->image ? program_image_status(error) : EXIT_BAD;
}

static int get_comparison(struct comparison *c, const struct program *p, const struct compare_options *o)
{
	return o->joining ? join_all(c, o) : measure_all(c, p, o);
}

static int compare_into(FILE *html, const struct program *p, const struct compare_options *o)
{
	struct comparison c;
	int r, status;

	comparison_init(&c);
	r = get_comparison(&c, p, o);
	status = r < 0 ? status_of_failure(o, r) : show(html, &c, o);
	comparison_free(&c);
	return status;
}

/*
 * The page's file is opened first, so that a bad path is found out before minutes of measuring; and not emptied before there is
 * something to write, for it may be one of those that are joined. One that was not there is not left behind empty.
 */
static int compare(const struct program *p, const struct compare_options *o)
{
	bool is_new = o->html && access(o->html, F_OK);
	FILE *html = o->html ? fopen(o->html, "ae") : NULL;
	struct stat st;
	int status;

	if (o->html && !html) {
		log_errno(errno, "%s", o->html);
		return EXIT_BAD;
	}
	status = compare_into(html, p, o);
	if (is_new && fstat(fileno(html), &st) == 0 && st.st_size == 0)
		unlink(o->html);
	if (html)
		fclose(html);
	return status;
}

/* The text in a column of its own, from LIST_COLUMN or a little further right on. */
static void print_wrapped(const char *name, int indent, const char *text)
{
	while (*text) {
		const char *piece = text;
		int n = (int)report_piece(piece, (size_t)(LIST_WIDTH - LIST_COLUMN - indent), &text);

		printf("  %-*s%.*s\n", LIST_COLUMN - 2 + indent, name, n, piece);
		name = "";
	}
}

static int list_workloads(void)
{
	for (size_t i = 0; i < workload_count; i++) {
		const struct workload *w = &workloads[i];

		if (i == 0 || w->group != w[-1].group)
			printf("%s%s\n", i ? "\n" : "", workload_group_name(w->group));
		print_wrapped(w->name, 0, w->what);
		print_wrapped("", 2, w->isolates);
	}
	return finish_writing(stdout, "standard output", 0) < 0 ? EXIT_BAD : 0;
}

int cmd_compare(const struct program *p, int argc, char **argv)
{
	struct compare_options o;
	int status = EXIT_BAD;

	signal(SIGPIPE, SIG_IGN);
	if (compare_options_parse(&o, p, argc, argv) == 0)
		status = o.list ? list_workloads() : compare(p, &o);
	compare_options_free(&o);
	return status;
}
