#include "vmm/run_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/option_value.h"
#include "vmm/program.h"

static const struct argp_option options[] = {
	{"mmu", RUN_KEY_MMU, "MODE", 0, "Who translates guest addresses; `penumbra doctor` lists the modes (default: ept)", 0},
	{"cpu", RUN_KEY_CPU, "MODEL", 0, "CPU the guest sees: base, v2 or notsc (default: base)", 0},
	{"mem", RUN_KEY_MEM, "SIZE", 0, "RAM of the guest: a number and K, M or G (default: 64M, for kernels of a PC 256M, for Solo5 unikernels 512M)", 0},
	{"append", RUN_KEY_APPEND, "STR", 0, "Command line for the guest; ARGS follow it", 0},
	{"initrd", RUN_KEY_INITRD, "FILE", 0, "A file that the guest finds in its RAM", 0},
	{"module", RUN_KEY_MODULE, "FILE[,STR]", 0,
	 "The next file for a multiboot or PVH kernel, after the initrd if there is one, and a string to go with it (up to 16)", 0},
	{"disk", RUN_KEY_DISK, "FILE[,ro]", 0,
	 "A file or block device as the guest's next virtio disk (up to 4); ,ro: it can only be read, and be shared by several "
	 "guests; ,remap: so, and its pages are mapped into guests instead of being read (the file must not be changeable)", 0},
	{"console", RUN_KEY_CONSOLE, "WHERE", 0,
	 "Guest's serial port: stdio, file:FILE or none (default: stdio). Input that is a file or pipe ends with ^D", 0},
	{"virtio-console", RUN_KEY_VIRTIO_CONSOLE, NULL, 0,
	 "A virtio console beside the serial port: input goes to it, output is shown of both", 0},
	{"count", RUN_KEY_COUNT, "N", 0, "Run N guests of the image at once; lines on the console are led by `NUMBER: `", 0},
	{"checkpoint", RUN_KEY_CHECKPOINT, "DIR", 0,
	 "Save the guest again and again into DIR while it runs; `penumbra restore DIR` goes on from the last time", 0},
	{"checkpoint-every", RUN_KEY_CHECKPOINT_EVERY, "MS", 0, "How often, in milliseconds (default: 1000)", 0},
	{"gdb", RUN_KEY_GDB, "WHERE", 0,
	 "Have the guest wait for a gdb, which debugs it from its first instruction: PORT (of 127.0.0.1), HOST:PORT or unix:PATH. In shadow mode", 0},
	{"record", RUN_KEY_RECORD, "DIR", 0,
	 "Write down into DIR what comes to the guest from outside, so that `penumbra replay DIR` has it do the same again", 0},
	{"record-anyway", RUN_KEY_RECORD_ANYWAY, NULL, 0,
	 "Record an image even if it has instructions that no recording can foresee, such as RDTSC (docs/determinism.md)", 0},
	{"control", RUN_KEY_CONTROL, "SOCKET", 0, "Make a Unix socket through which `penumbra ctl` steers the guests", 0},
	{"scavenge", RUN_KEY_SCAVENGE, "OPT[,OPT...]", OPTION_ARG_OPTIONAL, RUN_SCAVENGE_HELP, 0},
	{"share-group", RUN_KEY_SHARE_GROUP, "NAME[,NAME...]", 0, RUN_SHARE_GROUP_HELP, 0},
	{"block", RUN_KEY_SOLO5 + SOLO5_GIVE_BLOCK, "NAME=FILE", 0,
	 "Block device NAME of a Solo5 unikernel, also written --block:NAME=FILE", 0},
	{"block-sector-size", RUN_KEY_SOLO5 + SOLO5_GIVE_SECTOR_SIZE, "NAME=BYTES", 0, "Its sectors (default: 512)", 0},
	{"net", RUN_KEY_SOLO5 + SOLO5_GIVE_NET, "NAME=TAP", 0,
	 "Network device NAME of a Solo5 unikernel: a TAP interface that is up, or @N, an open descriptor; also written "
	 "--net:NAME=TAP", 0},
	{"net-mac", RUN_KEY_SOLO5 + SOLO5_GIVE_MAC, "NAME=MAC", 0, "Its hardware address (default: random)", 0},
	{"timeout", RUN_KEY_TIMEOUT, "S", 0, "Kill guests that have not ended after S seconds", 0},
	{"stats", RUN_KEY_STATS, "FILE", 0, "Write statistics as one JSON object when all guests have ended (-: stderr)", 0},
	{"hugepages", RUN_KEY_HUGE, "WHEN", 0, "Ask the host for 2 MiB pages: on or off (default: off, for kernels of a PC on, but not with --scavenge)", 0},
	{"log", RUN_KEY_LOG, "LEVEL", 0, "error, warn, info or debug (default: warn)", 0},
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
	"  penumbra run --initrd initrd.img /boot/vmlinuz -- console=ttyS0\n"
	"  printf 'help\\nexit 3\\n' | penumbra run build/guest/shell";

static int bad(const struct run_options *o, const char *option, const char *arg, const char *wanted)
{
	return option_bad(o->command, option, arg, wanted);
}

/* Whoever wants another mode says so behind it, and hears whether the debugger can. */
static int set_gdb(struct run_options *o, const struct program *p, const char *arg)
{
	const struct mmu_ops *const *mmu = p->mmus;

	while (*mmu && !(*mmu)->debug)
		mmu++;
	if (!*mmu || !p->debugging)
		return bad(o, "gdb", arg, "this build has no debugger");
	o->mmu = *mmu;
	o->gdb = arg;
	return 0;
}

static int set_mmu(struct run_options *o, const struct program *p, const char *arg)
{
	o->mmu = program_find_mmu(p, arg);
	return o->mmu ? 0 : bad(o, "mmu", arg, "no such mode; `penumbra doctor` lists them");
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
		return bad(o, "console", arg, "give stdio, file:FILE or none");
	}
	return 0;
}

static int set_file(const struct run_options *o, const char **file, const char *option, const char *arg)
{
	return option_file(o->command, option, arg, file);
}

/* What follows the last comma is an option only if it is one: names may have commas. */
static int add_module(struct run_options *o, const char *arg)
{
	char *text, *comma;

	if (o->module_count == VM_MAX_MODULES)
		return bad(o, "module", arg, "a guest has at most 16 modules");
	if (!*arg || *arg == ',')
		return bad(o, "module", arg, "give the name of a file, and behind a comma its string, if any");
	text = strdup(arg);
	if (!text)
		return log_errno(ENOMEM, "name of a module");
	comma = strchr(text, ',');
	if (comma)
		*comma = '\0';
	o->module[o->module_count] = (struct vm_module){.path = text, .cmdline = comma ? comma + 1 : ""};
	o->module_text[o->module_count++] = text;
	return 0;
}

static int add_disk(struct run_options *o, const char *arg)
{
	static const struct {
		const char *suffix;
		enum disk_use use;
	} uses[] = {{",ro", DISK_READ_ONLY}, {",remap", DISK_REMAP}, {"", DISK_READ_WRITE}};
	struct run_disk *d = &o->disk[o->disk_count];
	size_t size = strlen(arg), i = 0, n;

	if (o->disk_count == DISK_MAX)
		return bad(o, "disk", arg, "a guest has at most 4 disks");
	while (n = strlen(uses[i].suffix), size < n || strcmp(arg + size - n, uses[i].suffix))
		i++;
	if (size == n)
		return bad(o, "disk", arg, "give the name of a file, and ,ro behind it if it is only to be read");
	*d = (struct run_disk){.path = strndup(arg, size - n), .use = uses[i].use};
	if (!d->path)
		return log_errno(ENOMEM, "name of a disk");
	o->disk_count++;
	return 0;
}

static int set_log(const struct run_options *o, const char *arg)
{
	enum log_level level;

	if (log_level_parse(arg, &level) < 0)
		return bad(o, "log", arg, "give error, warn, info or debug");
	log_set_level(level);
	return 0;
}

struct parse {
	struct run_options *options;
	const struct program *program;
};

/* Adds a word to the guest's command line. */
static int add_word(struct parse *p, const char *word)
{
	return option_add_word("command line", &p->options->cmdline, word);
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

int run_options_set(struct run_options *o, const struct program *program, int key, const char *arg)
{
	switch (key) {
	case RUN_KEY_MMU: return set_mmu(o, program, arg);
	case RUN_KEY_CPU: return option_cpu(o->command, arg, &o->cpu);
	case RUN_KEY_MEM: return option_mem(o->command, arg, &o->mem);
	case RUN_KEY_APPEND: return option_add_word("command line", &o->cmdline, arg);
	case RUN_KEY_INITRD: return set_file(o, &o->initrd, "initrd", arg);
	case RUN_KEY_CONSOLE: return set_console(o, arg);
	case RUN_KEY_MODULE: return add_module(o, arg);
	case RUN_KEY_DISK: return add_disk(o, arg);
	case RUN_KEY_VIRTIO_CONSOLE: o->virtio_console = true; return 0;
	case RUN_KEY_COUNT: return option_number(o->command, "count", arg, RUN_MAX_COUNT, &o->count);
	case RUN_KEY_CONTROL: return set_file(o, &o->control, "control", arg);
	case RUN_KEY_TIMEOUT: return option_timeout(o->command, arg, &o->timeout_ms);
	case RUN_KEY_STATS: return set_file(o, &o->stats, "stats", arg);
	case RUN_KEY_HUGE:
		o->huge_said = true;
		return option_huge(o->command, arg, &o->huge);
	case RUN_KEY_CHECKPOINT: return set_file(o, &o->checkpoint, "checkpoint", arg);
	case RUN_KEY_CHECKPOINT_EVERY: return option_number(o->command, "checkpoint-every", arg, 3600000, &o->checkpoint_every);
	case RUN_KEY_RECORD_ANYWAY: o->record_anyway = true; return 0;
	case RUN_KEY_GDB: return set_gdb(o, program, arg);
	case RUN_KEY_RECORD: return set_file(o, &o->record, "record", arg);
	case RUN_KEY_SCAVENGE:
		o->scavenged = true;
		return scavenge_options_set(&o->scavenge, o->command, arg);
	case RUN_KEY_SHARE_GROUP:
		o->scavenged = true;
		return scavenge_options_add_groups(&o->scavenge, o->command, arg);
	case RUN_KEY_LOG: return set_log(o, arg);
	default:
		if (key < RUN_KEY_SOLO5 || key >= RUN_KEY_SOLO5 + SOLO5_OPTION_KINDS)
			return ARGP_ERR_UNKNOWN;
		return solo5_options_add(&o->solo5, (enum solo5_option_kind)(key - RUN_KEY_SOLO5), arg);
	}
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	int r;

	if (key == ARGP_KEY_ARG)
		r = add_arg(p, arg, state->quoted && state->next > state->quoted);
	else
		r = run_options_set(p->options, p->program, key, arg);
	return r < 0 ? -r : r;
}

static int check_sharing(const struct run_options *o)
{
	for (unsigned int i = 0; i < o->disk_count; i++)
		if (o->count > 1 && o->disk[i].use == DISK_READ_WRITE)
			return bad(o, "disk", o->disk[i].path, "several guests (--count) can only share a disk that is read-only: add ,ro");
	return 0;
}

/* Pages of a mapped disk are the host's already, and one mapping each: they are no pages to be exchanged. */
static int check_scavenging(const struct run_options *o)
{
	for (unsigned int i = 0; i < o->disk_count; i++)
		if (o->scavenged && o->disk[i].use == DISK_REMAP)
			return bad(o, "disk", o->disk[i].path, "not ,remap together with --scavenge or --share-group: use ,ro");
	return 0;
}

int run_options_check(const struct run_options *o)
{
	if (o->checkpoint_every && !o->checkpoint)
		return log_bad(EINVAL, "%s: --checkpoint-every: give --checkpoint, too", o->command);
	if (o->checkpoint && o->count > 1)
		return bad(o, "checkpoint", o->checkpoint, "not with several guests (--count)");
	if (o->record_anyway && !o->record)
		return log_bad(EINVAL, "%s: --record-anyway: give --record, too", o->command);
	if (o->gdb && !o->mmu->debug)
		return bad(o, "gdb", o->gdb, "the debugger works in shadow mode: leave --mmu out");
	if (o->gdb && o->count > 1)
		return bad(o, "gdb", o->gdb, "not with several guests (--count)");
	if (o->gdb && o->record)
		return bad(o, "gdb", o->gdb, "not while it is recorded (--record); record it, then debug the recording: `penumbra replay --gdb`");
	if (o->record && o->count > 1)
		return bad(o, "record", o->record, "not with several guests (--count)");
	if (check_scavenging(o) < 0)
		return -EINVAL;
	return check_sharing(o);
}

void run_options_init(struct run_options *o, const struct program *p, const char *command)
{
	*o = (struct run_options){.command = command, .mmu = p->mmus[0], .count = 1};
	scavenge_options_init(&o->scavenge);
}

int run_options_parse(struct run_options *o, const struct program *program, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "IMAGE [-- ARGS…]", doc, NULL, NULL, NULL};
	struct parse p = {.options = o, .program = program};
	int r;

	run_options_init(o, program, "run");
	solo5_options_open_names(argc, argv, options);
	r = command_line_parse(&argp, argc, argv, &p);
	if (r < 0)
		return r;
	if (!o->image)
		return log_bad(EINVAL, "run: no image named; try `penumbra run --help`");
	r = run_options_check(o);
	if (r < 0)
		return r;
	return o->cmdline ? 0 : add_word(&p, "");
}

void run_options_free(struct run_options *o)
{
	for (unsigned int i = 0; i < o->module_count; i++)
		free(o->module_text[i]);
	o->module_count = 0;
	for (unsigned int i = 0; i < o->disk_count; i++)
		free(o->disk[i].path);
	o->disk_count = 0;
	scavenge_options_free(&o->scavenge);
	free(o->cmdline);
	o->cmdline = NULL;
}
