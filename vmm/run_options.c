#include "vmm/run_options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

#define DEFAULT_MEM (64ull << 20)
#define MAX_TIMEOUT_S 1e9

enum key { KEY_MMU = 0x100, KEY_CPU, KEY_MEM, KEY_APPEND, KEY_INITRD, KEY_CONSOLE, KEY_COUNT, KEY_CONTROL, KEY_TIMEOUT, KEY_STATS, KEY_LOG,
	   KEY_HUGE };

static const struct argp_option options[] = {
	{"mmu", KEY_MMU, "MODE", 0, "Who translates guest addresses; `penumbra doctor` lists the modes (default: ept)", 0},
	{"cpu", KEY_CPU, "MODEL", 0, "CPU the guest sees: base or v2 (default: base)", 0},
	{"mem", KEY_MEM, "SIZE", 0, "RAM of the guest: a number and K, M or G (default: 64M)", 0},
	{"append", KEY_APPEND, "STR", 0, "Command line for the guest; ARGS follow it", 0},
	{"initrd", KEY_INITRD, "FILE", 0, "A file that the guest finds in its RAM", 0},
	{"console", KEY_CONSOLE, "WHERE", 0,
	 "Guest's serial port: stdio, file:FILE or none (default: stdio). Input that is a file or pipe ends with ^D", 0},
	{"count", KEY_COUNT, "N", 0, "Run N guests of the image at once; lines on the console are led by `NUMBER: `", 0},
	{"control", KEY_CONTROL, "SOCKET", 0, "Make a Unix socket through which `penumbra ctl` steers the guests", 0},
	{"timeout", KEY_TIMEOUT, "S", 0, "Kill guests that have not ended after S seconds", 0},
	{"stats", KEY_STATS, "FILE", 0, "Write statistics as one JSON object when all guests have ended (-: stderr)", 0},
	{"hugepages", KEY_HUGE, "WHEN", 0, "Ask the host for 2 MiB pages: on or off (default: off)", 0},
	{"log", KEY_LOG, "LEVEL", 0, "error, warn, info or debug (default: warn)", 0},
	{0},
};

static const char doc[] =
	"Launch a guest image; its console is on standard input and output.\v"
	"The exit status is the guest's own, or 125 for bad usage, bad input or a failing host, 126 for a guest killed "
	"for what it did, 127 for an image that is not there or cannot boot, 130 after Ctrl-C.\n\n"
	"Examples:\n"
	"  penumbra run build/guest/hello\n"
	"  penumbra run --mem 256M build/guest/memory -- zero=1000 dup=1000\n"
	"  penumbra run --count 100 build/guest/hello\n"
	"  printf 'help\\nexit 3\\n' | penumbra run build/guest/shell";

int parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (errno || !unit || end[1])
		return -EINVAL;
	if (__builtin_mul_overflow(n, 1024ull << 10 * (unit - units), bytes))
		return -EINVAL;
	return 0;
}

static int bad(const char *option, const char *arg, const char *wanted)
{
	return log_bad(EINVAL, "run: --%s=%s: %s", option, arg, wanted);
}

static int set_mmu(struct run_options *o, const struct program *p, const char *arg)
{
	for (const struct mmu_ops *const *m = p->mmus; *m; m++)
		if (!strcmp((*m)->name, arg)) {
			o->mmu = *m;
			return 0;
		}
	return bad("mmu", arg, "no such mode; `penumbra doctor` lists them");
}

static int set_cpu(struct run_options *o, const char *arg)
{
	return cpu_model_parse(arg, &o->cpu) < 0 ? bad("cpu", arg, "give base or v2") : 0;
}

static int set_mem(struct run_options *o, const char *arg)
{
	if (parse_size(arg, &o->mem) < 0)
		return bad("mem", arg, "give a number and K, M or G, such as 64M");
	if (o->mem < MEM_MIN_BYTES || o->mem > MEM_MAX_BYTES)
		return bad("mem", arg, "must be between 1M and 512G");
	if (o->mem % PAGE_SIZE)
		return bad("mem", arg, "must be a multiple of 4K");
	return 0;
}

static int set_console(struct run_options *o, const char *arg)
{
	if (!strcmp(arg, "stdio")) {
		o->console = RUN_CONSOLE_STDIO;
	} else if (!strcmp(arg, "none")) {
		o->console = RUN_CONSOLE_NONE;
	} else if (!strncmp(arg, "file:", 5) && arg[5]) {
		o->console = RUN_CONSOLE_FILE;
		o->console_file = arg + 5;
	} else {
		return bad("console", arg, "give stdio, file:FILE or none");
	}
	return 0;
}

static int set_file(const char **file, const char *option, const char *arg)
{
	if (!*arg)
		return bad(option, arg, "give the name of a file");
	*file = arg;
	return 0;
}

static int set_count(struct run_options *o, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (*arg < '0' || *arg > '9' || *end || n < 1 || n > RUN_MAX_COUNT)
		return bad("count", arg, "give a number from 1 to 4096");
	o->count = (unsigned int)n;
	return 0;
}

static int set_timeout(struct run_options *o, const char *arg)
{
	char *end;
	double s = strtod(arg, &end);

	if (end == arg || *end || !(s > 0) || s > MAX_TIMEOUT_S)
		return bad("timeout", arg, "give a number of seconds above 0");
	o->timeout_ms = (uint64_t)ceil(s * 1000);
	return 0;
}

static int set_huge(struct run_options *o, const char *arg)
{
	if (strcmp(arg, "on") && strcmp(arg, "off"))
		return bad("hugepages", arg, "give on or off");
	o->huge = strcmp(arg, "on") ? MEM_HUGE_NEVER : MEM_HUGE_ADVISE;
	return 0;
}

static int set_log(const char *arg)
{
	enum log_level level;

	if (log_level_parse(arg, &level) < 0)
		return bad("log", arg, "give error, warn, info or debug");
	log_set_level(level);
	return 0;
}

struct parse {
	struct run_options *options;
	const struct program *program;
	size_t used; /* of options->cmdline */
};

/* Adds a word to the guest's command line. */
static int add_word(struct parse *p, const char *word)
{
	size_t size = strlen(word), used = p->used;
	char *line = realloc(p->options->cmdline, used + size + 2);

	if (!line)
		return log_errno(ENOMEM, "command line");
	if (used)
		line[used++] = ' ';
	memcpy(line + used, word, size + 1);
	p->options->cmdline = line;
	p->used = used + size;
	return 0;
}

/* The first argument is the image; what follows `--` is for the guest. */
static int add_arg(struct parse *p, char *arg, bool after_dashes)
{
	if (!p->options->image) {
		p->options->image = arg;
		return 0;
	}
	if (!after_dashes)
		return log_bad(EINVAL, "run: %s: put `--` before arguments that are for the guest", arg);
	return add_word(p, arg);
}

static int set_option(struct parse *p, int key, const char *arg)
{
	struct run_options *o = p->options;

	switch (key) {
	case KEY_MMU: return set_mmu(o, p->program, arg);
	case KEY_CPU: return set_cpu(o, arg);
	case KEY_MEM: return set_mem(o, arg);
	case KEY_APPEND: return add_word(p, arg);
	case KEY_INITRD: return set_file(&o->initrd, "initrd", arg);
	case KEY_CONSOLE: return set_console(o, arg);
	case KEY_COUNT: return set_count(o, arg);
	case KEY_CONTROL: return set_file(&o->control, "control", arg);
	case KEY_TIMEOUT: return set_timeout(o, arg);
	case KEY_STATS: return set_file(&o->stats, "stats", arg);
	case KEY_HUGE: return set_huge(o, arg);
	case KEY_LOG: return set_log(arg);
	default: return ARGP_ERR_UNKNOWN;
	}
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	int r;

	if (key == ARGP_KEY_ARG)
		r = add_arg(p, arg, state->quoted && state->next > state->quoted);
	else
		r = set_option(p, key, arg);
	return r < 0 ? -r : r;
}

int run_options_parse(struct run_options *o, const struct program *program, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "IMAGE [-- ARGS…]", doc, NULL, NULL, NULL};
	struct parse p = {.options = o, .program = program};
	int r;

	*o = (struct run_options){.mmu = program->mmus[0], .mem = DEFAULT_MEM, .count = 1};
	r = command_line_parse(&argp, argc, argv, &p);
	if (r < 0)
		return r;
	if (!o->image)
		return log_bad(EINVAL, "run: no image named; try `penumbra run --help`");
	return o->cmdline ? 0 : add_word(&p, "");
}

void run_options_free(struct run_options *o)
{
	free(o->cmdline);
	o->cmdline = NULL;
}
