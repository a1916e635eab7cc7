#include "compare/compare_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compare/choice.h"
#include "compare/workload.h"
#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/option_value.h"
#include "vmm/program.h"

#define DEFAULT_ROUNDS 5

enum key { KEY_LIST = 0x100, KEY_ONLY, KEY_MMU, KEY_ROUNDS, KEY_MEM, KEY_HUGE, KEY_TIMEOUT, KEY_CPU, KEY_JSON, KEY_HTML,
	   KEY_JOIN };

static const struct argp_option options[] = {
	{"list", KEY_LIST, NULL, 0, "List the workloads and what each of them isolates", 0},
	{"only", KEY_ONLY, "NAMES", 0, "Only these workloads or groups of them, with commas between", 0},
	{"mmu", KEY_MMU, "MODES", 0, "The columns, with commas between (default: ept,shadow)", 0},
	{"rounds", KEY_ROUNDS, "N", 0,
	 "How often each is measured after a round to warm up (default: 5). With fewer than 4 no ratio is said", 0},
	{"mem", KEY_MEM, "SIZE", 0, "RAM of a guest: a number and K, M or G (default: what the workloads take, 64M for an IMAGE)", 0},
	{"hugepages", KEY_HUGE, "WHEN", 0, "Ask the host for 2 MiB pages: on or off (default: off)", 0},
	{"timeout", KEY_TIMEOUT, "S", 0, "Give up on a guest that has not ended after S seconds", 0},
	{"cpu", KEY_CPU, "MODEL", 0, "CPU the guests see: base, v2 or notsc (default: base)", 0},
	{"json", KEY_JSON, NULL, 0, "Print one JSON object instead of a table", 0},
	{"html", KEY_HTML, "FILE", 0, "Write a page with plots as well; it needs no other file", 0},
	{"join", KEY_JOIN, NULL, 0, "Measure nothing: show FILES that --json has written as one comparison", 0},
	{0},
};

static const char doc[] =
	"Run the same work under each MMU mode and say what each costs.\v"
	"Without IMAGE the work is a set of workloads that come with the program: single events such as a page fault or a "
	"system call, address spaces, processes, memory beyond the TLB, and mixed loads. With IMAGE it is the whole run of "
	"that guest, which gets ARGS; its output is dropped.\n\n"
	"Each piece of work is run once to warm up and then N times in every mode, in turn (A B A B ...), each time in a new "
	"guest. Times are processor time, as median and range. A ratio is only said if it stands out of the noise. Beside the "
	"time stands how often the guest left for the program, and why. What a mode cannot run says so in its place.\n\n"
	"What KVM does underneath is part of the result: without nested paging, `ept` is not nested paging.\n\n"
	"The exit status is 0, 125 for bad usage or a failing host, 127 for an image that is not there or cannot boot, and "
	"130 after Ctrl-C; then what is finished is shown.\n\n"
	"Examples:\n"
	"  penumbra compare\n"
	"  penumbra compare --list\n"
	"  penumbra compare --only page-fault,switch-8 --rounds 11\n"
	"  penumbra compare --html report.html --json >report.json\n"
	"  penumbra compare --join one.json other.json\n"
	"  penumbra compare build/guest/procs -- 8";

struct parse {
	struct compare_options *options;
	const struct program *program;
	const char *measuring; /* an option that is about measuring, if there was one */
	const char *only;
};

static int bad(const char *option, const char *arg, const char *wanted)
{
	return option_bad("compare", option, arg, wanted);
}

static int add_mode(struct compare_options *o, const struct mmu_ops *mmu, const char *arg)
{
	if (!mmu)
		return bad("mmu", arg, "no such mode; `penumbra doctor` lists them");
	for (unsigned int i = 0; i < o->modes; i++)
		if (o->mmu[i] == mmu)
			return bad("mmu", arg, "the same mode twice");
	if (o->modes == COMPARISON_MAX_COLUMNS)
		return bad("mmu", arg, "too many modes");
	o->mmu[o->modes++] = mmu;
	return 0;
}

static int set_mmu(struct parse *p, const char *arg)
{
	char *copy = strdup(arg), *rest = copy, *name;
	int r = copy ? 0 : log_errno(ENOMEM, "compare: --mmu");

	p->options->modes = 0;
	while (r == 0 && (name = strsep(&rest, ",")))
		r = add_mode(p->options, program_find_mmu(p->program, name), arg);
	free(copy);
	return r;
}

static int set_output(struct compare_options *o, int key, const char *arg)
{
	switch (key) {
	case KEY_LIST: o->list = true; return 0;
	case KEY_JSON: o->json = true; return 0;
	case KEY_JOIN: o->joining = true; return 0;
	case KEY_HTML: return option_file("compare", "html", arg, &o->html);
	default: return ARGP_ERR_UNKNOWN;
	}
}

static int set_measuring(struct parse *p, int key, const char *arg)
{
	struct compare_options *o = p->options;

	switch (key) {
	case KEY_ONLY: p->only = arg; return 0;
	case KEY_MMU: return set_mmu(p, arg);
	case KEY_ROUNDS: return option_number("compare", "rounds", arg, COMPARE_MAX_ROUNDS, &o->rounds);
	case KEY_MEM: return option_mem("compare", arg, &o->mem);
	case KEY_HUGE: return option_huge("compare", arg, &o->huge);
	case KEY_TIMEOUT: return option_timeout("compare", arg, &o->timeout_ms);
	case KEY_CPU: return option_cpu("compare", arg, &o->cpu);
	default: return set_output(o, key, arg);
	}
}

static const char *measuring_option(int key)
{
	for (const struct argp_option *o = options; o->name; o++)
		if (o->key == key && key != KEY_LIST && key != KEY_JSON && key != KEY_JOIN && key != KEY_HTML)
			return o->name;
	return NULL;
}

static int add_word(struct compare_options *o, const char *word)
{
	return option_add_word("compare: arguments", &o->arguments, word);
}

static int add_file(struct compare_options *o, const char *file)
{
	const char **files = reallocarray(o->join, o->joined + 1, sizeof(*files));

	if (!files)
		return log_errno(ENOMEM, "compare: files");
	o->join = files;
	files[o->joined++] = file;
	return 0;
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	const char *measuring = measuring_option(key);
	int r;

	p->measuring = measuring ? measuring : p->measuring;
	if (key == ARGP_KEY_ARG)
		r = (state->quoted && state->next > state->quoted ? add_word : add_file)(p->options, arg);
	else
		r = set_measuring(p, key, arg);
	return r < 0 ? -r : r;
}

/* Without --join what stands before `--` is an image. */
static int take_image(struct parse *p)
{
	struct compare_options *o = p->options;

	if (o->joined > 1)
		return log_bad(EINVAL, "compare: %s: put `--` before arguments that are for the guest", o->join[1]);
	if (!o->joined)
		return o->arguments ? log_bad(EINVAL, "compare: %s: arguments, but no image named", o->arguments) : 0;
	if (p->only)
		return log_bad(EINVAL, "compare: --only: an image is run as a whole; leave out one of them");
	o->image = o->join[0];
	return o->arguments ? 0 : add_word(o, "");
}

static int check_join(const struct parse *p)
{
	const struct compare_options *o = p->options;

	if (p->measuring)
		return log_bad(EINVAL, "compare: --%s: has no meaning with --join, which measures nothing", p->measuring);
	if (o->arguments)
		return log_bad(EINVAL, "compare: %s: --join takes only files", o->arguments);
	return o->joined ? 0 : log_bad(EINVAL, "compare: --join: no file named");
}

static int choose(struct parse *p)
{
	struct compare_options *o = p->options;
	int n;

	o->workload = calloc(workload_count, sizeof(*o->workload));
	if (!o->workload)
		return log_errno(ENOMEM, "compare: workloads");
	n = p->only ? choice_parse(p->only, o->workload) : choice_all(o->workload);
	o->workloads = n < 0 ? 0 : (size_t)n;
	return n < 0 ? n : 0;
}

static int finish(struct parse *p)
{
	int r;

	if (p->options->joining)
		return check_join(p);
	r = take_image(p);
	return r < 0 || p->options->image ? r : choose(p);
}

static void take_all_modes(struct compare_options *o, const struct program *p)
{
	while (o->modes < COMPARISON_MAX_COLUMNS && p->mmus[o->modes]) {
		o->mmu[o->modes] = p->mmus[o->modes];
		o->modes++;
	}
}

int compare_options_parse(struct compare_options *o, const struct program *program, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "[IMAGE [-- ARGS…]]\n--join FILE…", doc, NULL, NULL, NULL};
	struct parse p = {.options = o, .program = program};
	int r;

	*o = (struct compare_options){.rounds = DEFAULT_ROUNDS};
	take_all_modes(o, program);
	r = command_line_parse(&argp, argc, argv, &p);
	return r < 0 ? r : finish(&p);
}

void compare_options_free(struct compare_options *o)
{
	free(o->workload);
	free(o->join);
	free(o->arguments);
	*o = (struct compare_options){0};
}
