#include "snapshot/restore_options.h"

#include <errno.h>
#include <string.h>

#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/option_value.h"
#include "vmm/program.h"

enum { KEY_CLOCK_NOW = RUN_KEY_END, KEY_RAM, KEY_RECORDING };

#define MMU_HELP "Who translates guest addresses, whichever mode the guest was in (default: ept)"
#define CONSOLE_HELP "Guest's serial port: stdio, file:FILE or none (default: stdio)"
#define CONTROL_HELP "Make a Unix socket through which `penumbra ctl` steers the guest"
#define CLOCK_NOW_HELP "Have the guest's date and time jump to the host's (default: they go on from when the guest was saved)"
#define DISK_HELP "What is the guest's next virtio disk now, as of `run` (default: the files it had). All of them or none"
#define BLOCK_HELP \
	"What is block device NAME of a Solo5 unikernel now, also written --block:NAME=FILE (default: the file it was)"
#define NET_HELP "What its network device NAME is now (default: the interface it was)"
#define RAM_HELP \
	"When the guest's memory is read: now, all of it before the guest runs; lazy, each page when the guest touches it; " \
	"mapped, by the host, and not checked: for a directory that nobody changes meanwhile (default: now)"
#define RECORDING_HELP \
	"Have the guest do again what it did after DIR, as recorded in RECORDING, up to the last that was seen of it, and go on from there"
#define RECORD_HELP "Record it from where it goes on, as `run --record` does"
#define ANYWAY_HELP "Record an image even if it has instructions that no recording can foresee"
#define TIMEOUT_HELP "Kill guests that have not ended after S seconds"
#define STATS_HELP "Write statistics as one JSON object when all guests have ended (-: stderr)"
#define LOG_HELP "error, warn, info or debug (default: warn)"

#define COMMON_OPTIONS \
	{"mmu", RUN_KEY_MMU, "MODE", 0, MMU_HELP, 0}, {"console", RUN_KEY_CONSOLE, "WHERE", 0, CONSOLE_HELP, 0}, \
	{"control", RUN_KEY_CONTROL, "SOCKET", 0, CONTROL_HELP, 0}, {"clock-now", KEY_CLOCK_NOW, NULL, 0, CLOCK_NOW_HELP, 0}, \
	{"scavenge", RUN_KEY_SCAVENGE, "OPT[,OPT...]", OPTION_ARG_OPTIONAL, RUN_SCAVENGE_HELP, 0}, \
	{"share-group", RUN_KEY_SHARE_GROUP, "NAME[,NAME...]", 0, RUN_SHARE_GROUP_HELP, 0}, \
	{"disk", RUN_KEY_DISK, "FILE[,ro]", 0, DISK_HELP, 0}, {"timeout", RUN_KEY_TIMEOUT, "S", 0, TIMEOUT_HELP, 0}, \
	{"stats", RUN_KEY_STATS, "FILE", 0, STATS_HELP, 0}, {"log", RUN_KEY_LOG, "LEVEL", 0, LOG_HELP, 0}

static const struct argp_option restore_table[] = {
	COMMON_OPTIONS,
	{"checkpoint", RUN_KEY_CHECKPOINT, "DIR", 0, "Go on saving it into DIR while it runs; may be the directory it comes from", 0},
	{"checkpoint-every", RUN_KEY_CHECKPOINT_EVERY, "MS", 0, "How often, in milliseconds (default: 1000)", 0},
	{"recording", KEY_RECORDING, "RECORDING", 0, RECORDING_HELP, 0},
	{"record", RUN_KEY_RECORD, "DIR", 0, RECORD_HELP, 0},
	{"record-anyway", RUN_KEY_RECORD_ANYWAY, NULL, 0, ANYWAY_HELP, 0},
	{"block", RUN_KEY_SOLO5 + SOLO5_GIVE_BLOCK, "NAME=FILE", 0, BLOCK_HELP, 0},
	{"net", RUN_KEY_SOLO5 + SOLO5_GIVE_NET, "NAME=TAP", 0, NET_HELP, 0},
	{"hugepages", RUN_KEY_HUGE, "WHEN", 0, "Ask the host for 2 MiB pages: on or off (default: off, for kernels of a PC on, but not with --scavenge)", 0},
	{"ram", KEY_RAM, "WHEN", 0, RAM_HELP, 0},
	{0},
};

static const struct argp_option clone_table[] = {
	COMMON_OPTIONS,
	{"count", RUN_KEY_COUNT, "N", 0, "Run N guests at once; lines on the console are led by `NUMBER: `", 0},
	{0},
};

static const char restore_doc[] =
	"Have a saved guest go on where it was.\v"
	"DIR is what `penumbra ctl SOCKET snapshot DIR` or `penumbra run --checkpoint DIR` made; of the latter's checkpoints it is the "
	"newest. All of it is checked before the guest runs; one bit that is not as it "
	"was, and it is refused. The guest's memory is read into this program's: DIR may be removed while the guest runs. Restoring "
	"it again starts from the same instant. Disks are not in DIR: they are as they are now.\n\n"
	"With --ram=lazy a page of memory is checked when it is read, and the guest ends if it is not as it was. What the guest "
	"needs first is noted in DIR, and read at once the next time.\n\n"
	"The exit status is as of `run`.\n\n"
	"Examples:\n"
	"  penumbra restore saved\n"
	"  penumbra restore --ram=lazy saved\n"
	"  penumbra restore --mmu=shadow --control=again.sock saved";

static const char clone_doc[] =
	"Make many guests of one saved guest: all go on where it was, each on its own.\v"
	"DIR is what `penumbra ctl SOCKET snapshot DIR` made. All of it is checked once, before the guests run. Their memory is shared, "
	"and what one of them writes becomes its own. Each has its own number, and a guest that has kept its boot structure finds that and "
	"a new random seed in it. Disks can only be shared if they are read-only.\n\n"
	"The exit status is as of `run --count`.\n\n"
	"Example:\n"
	"  penumbra clone --count 100 saved";

struct parse {
	struct restore_options *options;
	const struct program *program;
};

static int add_arg(struct restore_options *o, const char *arg)
{
	if (o->run.image)
		return log_bad(EINVAL, "%s: %s: one snapshot at a time", o->run.command, arg);
	o->run.image = arg;
	return 0;
}

static int set_ram(struct restore_options *o, const char *arg)
{
	static const char *const names[] = {[RAM_NOW] = "now", [RAM_LAZY] = "lazy", [RAM_MAPPED] = "mapped"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(arg, names[i])) {
			o->ram = (enum restore_ram)i;
			return 0;
		}
	return option_bad(o->run.command, "ram", arg, "give now, lazy or mapped");
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct parse *p = state->input;
	int r;

	if (key == KEY_CLOCK_NOW) {
		p->options->clock_now = true;
		return 0;
	}
	if (key == KEY_RECORDING)
		r = option_file(p->options->run.command, "recording", arg, &p->options->recording);
	else if (key == KEY_RAM)
		r = set_ram(p->options, arg);
	else if (key == ARGP_KEY_ARG)
		r = add_arg(p->options, arg);
	else
		r = run_options_set(&p->options->run, p->program, key, arg);
	return r < 0 ? -r : r;
}

static int parse(struct restore_options *o, const struct argp *argp, const struct program *program, int argc, char **argv)
{
	struct parse p = {.options = o, .program = program};
	int r;

	solo5_options_open_names(argc, argv, argp->options);
	r = command_line_parse(argp, argc, argv, &p);
	if (r < 0)
		return r;
	if (!o->run.image)
		return log_bad(EINVAL, "%s: no directory named; try `penumbra %s --help`", o->run.command, o->run.command);
	return 0;
}

int restore_options_parse(struct restore_options *o, const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {restore_table, on_key, "DIR", restore_doc, NULL, NULL, NULL};

	*o = (struct restore_options){0};
	run_options_init(&o->run, p, "restore");
	return parse(o, &argp, p, argc, argv);
}

int clone_options_parse(struct restore_options *o, const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {clone_table, on_key, "DIR", clone_doc, NULL, NULL, NULL};

	*o = (struct restore_options){.clone = true};
	run_options_init(&o->run, p, "clone");
	return parse(o, &argp, p, argc, argv);
}

void restore_options_free(struct restore_options *o)
{
	run_options_free(&o->run);
}
