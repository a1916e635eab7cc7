#include "snapshot/request.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot/capture.h"
#include "snapshot/chain.h"
#include "snapshot/reason.h"
#include "snapshot/saving.h"
#include "snapshot/touched.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (1u << 20)

/* One request, on a thread of its own. */
struct request {
	struct control_job *job;
	const char *path;
	bool compress, incremental;
	struct epoch *epoch; /* NULL unless incremental */
	struct vm *vm; /* there until the job is done */
};

/* The last thing that is done for it. */
static void answer(struct control_job *j, const struct reason *why)
{
	if (*why->text)
		snprintf(j->why, sizeof(j->why), "snapshot: %.490s", why->text);
	j->done(j);
}

static void report(const char *path, const struct saved *s)
{
	const struct image_written *w = &s->written;

	log_print(LOG_INFO, "%s: snapshot: the guest stood still for %" PRIu64 " us; copied behind it for %" PRIu64 " us; %" PRIu64
		  " pages and %" PRIu64 " that were zero, %" PRIu64 " KiB in %" PRIu64 " ms", path, s->pause_ns / 1000,
		  s->behind_ns / 1000, w->pages, w->zero_pages, w->bytes >> 10, w->ns / 1000000);
}

/* How much of an increment there will be is not known: what was touched would be far too much. */
static uint64_t expected_bytes(const struct request *r)
{
	return r->epoch && !r->epoch->full ? 0 : touched_bytes(&r->vm->mem);
}

static void *serve(void *arg)
{
	struct request *r = arg;
	struct control_job *job = r->job;
	struct saving what = {.path = r->path, .compress = r->compress, .ram_bytes = expected_bytes(r)};
	struct reason why = {0};
	struct saved s;
	int err = saving_run(r->vm, r->epoch, &what, &s, &why);

	if (err == 0)
		report(r->path, &s);
	if (r->epoch)
		chain_done(r->vm, r->path, err == 0);
	free(r);
	answer(job, &why);
	return NULL;
}

/* Sooner than the guest is stopped for it: nothing may be there. */
static int check_path(const char *path, struct reason *why)
{
	struct stat st;

	if (*path != '/')
		return reason_give(why, EINVAL, "%s: not a whole path, from / on", path);
	if (lstat(path, &st) == 0)
		return reason_give(why, EEXIST, "%s: there is something of that name already", path);
	return 0;
}

/* A path begins with a slash, so that an option cannot be taken for one. */
static bool take_option(const char **argument, const char *option)
{
	size_t length = strlen(option), blanks = strncmp(*argument, option, length) ? 0 : strspn(*argument + length, " \t");

	*argument += blanks ? length + blanks : 0;
	return blanks;
}

static void take_options(struct request *r)
{
	bool more = true;

	for (r->path = r->job->argument; more;) {
		bool compress = take_option(&r->path, "--compress"), incremental = take_option(&r->path, "--incremental");

		r->compress |= compress;
		r->incremental |= incremental;
		more = compress || incremental;
	}
}

static int start(struct request *r, struct reason *why)
{
	pthread_t thread;
	int err;

	take_options(r);
	err = check_path(r->path, why);
	if (err < 0)
		return err;
	if (r->incremental && !(r->epoch = chain_begin(r->vm, r->path, why)))
		return -EBUSY;
	err = worker_thread_start(&thread, STACK_BYTES, true, serve, r);
	if (err == 0)
		return 0;
	if (r->epoch)
		chain_done(r->vm, r->path, false);
	return reason_errno(why, -err, "%s: thread", r->path);
}

static int begin(struct control_job *j, struct vm *vm, struct reason *why)
{
	struct request *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return reason_errno(why, ENOMEM, "snapshot");
	*r = (struct request){.job = j, .vm = vm};
	err = start(r, why);
	if (err < 0)
		free(r);
	return err;
}

static void run(struct control_job *j, struct vm *vm)
{
	struct reason why = {0};

	if (begin(j, vm, &why) < 0)
		answer(j, &why);
}

const struct control_feature snapshot_request = {.name = "snapshot", .run = run};
