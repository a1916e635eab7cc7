#include "replay/cmd_replay.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/bisect.h"
#include "replay/debugger.h"
#include "replay/recording_files.h"
#include "replay/replayer.h"
#include "replay/twice.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/restore.h"
#include "vmm/cmd_run.h"
#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/option_value.h"
#include "vmm/overwrite.h"
#include "vmm/program.h"
#include "vmm/run_options.h"

enum { KEY_UNTIL = RUN_KEY_END, KEY_BISECT, KEY_TWICE, KEY_EVERY, KEY_ROOM };

static const struct argp_option options[] = {
	{"mmu", RUN_KEY_MMU, "MODE", 0, "Who translates guest addresses, whichever mode it was recorded in (default: ept)", 0},
	{"until", KEY_UNTIL, "POSITION", 0, "End when the guest has made so many accesses", 0},
	{"twice", KEY_TWICE, NULL, 0, "Put the guest back when it has ended, have it do all once more, and compare registers, devices and RAM", 0},
	{"checkpoint-every", KEY_EVERY, "N", 0, "With --twice: compare every N accesses (default: 1000)", 0},
	{"checkpoint-room", KEY_ROOM, "SIZE", 0, "Memory that they may take (default: 256M)", 0},
	{"bisect", KEY_BISECT, NULL, 0, "If it diverges, replay it again and again, and tell after which access replays differ", 0},
	{"gdb", RUN_KEY_GDB, "WHERE", 0,
	 "Have the guest wait for a gdb, which can also have it go back: PORT (of 127.0.0.1), HOST:PORT or unix:PATH. In shadow mode", 0},
	{"console", RUN_KEY_CONSOLE, "WHERE", 0, "Guest's output: stdio, file:FILE or none (default: stdio)", 0},
	{"control", RUN_KEY_CONTROL, "SOCKET", 0, "Make a Unix socket through which `penumbra ctl` steers the guest", 0},
	{"timeout", RUN_KEY_TIMEOUT, "S", 0, "Kill a guest that has not ended after S seconds", 0},
	{"stats", RUN_KEY_STATS, "FILE", 0, "Write statistics as one JSON object when the guest has ended (-: stderr)", 0},
	{"log", RUN_KEY_LOG, "LEVEL", 0, "error, warn, info or debug (default: warn)", 0},
	{0},
};

static const char doc[] =
	"Have a recorded guest do the same again.\v"
	"DIR is what `penumbra run --record DIR` made. What the guest shows is shown again, byte for byte, and the exit status is its own; "
	"time in which it waited is left out. Each access it makes is compared with the recording, and so are its registers wherever an "
	"interrupt came, and its registers and RAM several times a second. Where something is not as it was the replay ends, with exit status "
	"124, and says where that was, what was expected and found, what the guest had done before, and what may be the cause.\n\n"
	"With --twice registers, devices and RAM are compared, too, with what they were the first time.\n\n"
	"A recording that was cut off, because whoever recorded it was killed, is replayed as far as it goes.\n\n"
	"Examples:\n"
	"  penumbra run --record rec build/guest/shell\n"
	"  penumbra replay rec\n"
	"  penumbra replay --mmu=shadow --until 1000 rec\n"
	"  penumbra replay --bisect rec";

struct replay {
	const struct program *program;
	struct run_options run; /* image: the recording's directory */
	struct steerer steerer;
	struct replayer replayer;
	struct debugger debugger;
	struct twice twice;
	bool is_twice;
	bool bisect;
	struct probe *probe;
};

static int set_until(struct replay *r, const char *arg)
{
	char *end;

	errno = 0;
	r->replayer.until = strtoull(arg, &end, 10);
	if (errno || *end || end == arg || *arg == '-')
		return option_bad("replay", "until", arg, "give a number of accesses");
	return 0;
}

static int set_every(struct replay *r, const char *arg)
{
	unsigned int every;
	int err = option_number("replay", "checkpoint-every", arg, UINT_MAX, &every);

	r->twice.options.every = every;
	return err;
}

static int set_room(struct replay *r, const char *arg)
{
	if (option_size(arg, &r->twice.options.room) < 0 || !r->twice.options.room)
		return option_bad("replay", "checkpoint-room", arg, "give a size, like 64M");
	return 0;
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct replay *r = state->input;
	int err;

	if (key == KEY_UNTIL)
		err = set_until(r, arg);
	else if (key == KEY_TWICE)
		err = (r->is_twice = true, 0);
	else if (key == KEY_EVERY)
		err = set_every(r, arg);
	else if (key == KEY_ROOM)
		err = set_room(r, arg);
	else if (key == KEY_BISECT)
		err = (r->bisect = true, 0);
	else if (key == ARGP_KEY_ARG && r->run.image)
		err = log_bad(EINVAL, "replay: %s: one recording at a time", arg);
	else if (key == ARGP_KEY_ARG)
		err = (r->run.image = arg, 0);
	else
		err = run_options_set(&r->run, r->program, key, arg);
	return err < 0 ? -err : err;
}

static int check_checkpoints(const struct replay *r)
{
	if (r->is_twice || !(r->twice.options.every || r->twice.options.room))
		return 0;
	return log_bad(EINVAL, "replay: --checkpoint-every and --checkpoint-room are for --twice");
}

static void add_defaults(struct timeline_options *o)
{
	o->every = o->every ? o->every : TWICE_EVERY;
	o->room = o->room ? o->room : TIMELINE_ROOM;
}

static int parse(struct replay *r, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "DIR", doc, NULL, NULL, NULL};
	int err = command_line_parse(&argp, argc, argv, r);

	if (err == 0 && !r->run.image)
		err = log_bad(EINVAL, "replay: no directory named; try `penumbra replay --help`");
	if (err == 0)
		err = check_checkpoints(r);
	add_defaults(&r->twice.options);
	if (err == 0 && r->bisect && r->replayer.until != REPLAYER_TO_THE_END)
		err = log_bad(EINVAL, "replay: --bisect looks for where it diverges: not with --until");
	if (err == 0 && r->run.gdb && !r->run.mmu->debug)
		err = option_bad("replay", "gdb", r->run.gdb, "the debugger works in shadow mode: leave --mmu out");
	if (err == 0 && r->run.gdb && (r->is_twice || r->bisect))
		err = option_bad("replay", "gdb", r->run.gdb, "not with --twice or --bisect");
	return err == 0 ? overwrite_check(&r->run) : err;
}

static int begin(struct steerer *s, struct vm *vm)
{
	struct replay *r = (struct replay *)((char *)s - offsetof(struct replay, steerer));
	int err = replayer_begin(&r->replayer, vm);

	if (err == 0 && r->is_twice)
		twice_begin(&r->twice, &r->replayer);
	return err;
}

static int run_debugged(struct replay *r, struct vm_config *config)
{
	int status;

	if (!r->run.gdb)
		return run_guests(r->program, &r->run, config);
	if (debugger_open(&r->debugger, r->run.gdb, &r->replayer) < 0)
		return EXIT_BAD;
	r->debugger.scavenged = r->run.scavenged;
	config->debug = &r->debugger.debug;
	status = run_guests(r->program, &r->run, config);
	debugger_close(&r->debugger);
	return status;
}

static int run_replayed(struct replay *r, const struct image_reader *reader)
{
	const struct manifest *m = &reader->sn.machine;
	struct disk disks[DISK_MAX];
	struct vm_config config = {.steerer = &r->steerer, .disks = disks, .disk_count = m->disk_count, .solo5_absent = true};
	struct restore restore;
	int status;

	if (restore_open(&restore, reader, &r->run.solo5, false) < 0)
		return EXIT_BAD;
	for (uint32_t i = 0; i < m->disk_count; i++)
		disk_make_absent(&disks[i], m->disk[i].path, m->disk[i].use);
	restore_configure(&restore, &config);
	r->run.mem = config.mem;
	status = run_debugged(r, &config);
	restore_close(&restore);
	return status;
}

static int check_start(const struct replay *r, const struct image_reader *reader, struct reason *why)
{
	if (!memcmp(r->replayer.events.header.start, reader->sn.id.byte, LOG_ID_BYTES))
		return 0;
	return reason_give(why, EINVAL, "%s: this log belongs to another snapshot than %s", r->replayer.name, reader->path);
}

static int run_from_start(struct replay *r, struct reason *why)
{
	struct image_reader reader;
	char path[PATH_MAX];
	int status = EXIT_BAD;

	if (recording_file(path, r->run.image, RECORDING_START, why) < 0 || image_reader_open(&reader, path, why) < 0)
		return EXIT_BAD;
	if (check_start(r, &reader, why) == 0)
		status = run_replayed(r, &reader);
	image_reader_close(&reader);
	return status;
}

static int run_log(struct replay *r, int fd, const char *name, struct reason *why)
{
	int status = EXIT_BAD;

	if (replayer_open(&r->replayer, r->program, fd, name, r->replayer.until, why) < 0)
		return EXIT_BAD;
	r->replayer.probe = r->probe;
	status = run_from_start(r, why);
	replayer_close(&r->replayer);
	return status;
}

static int run_recording(struct replay *r)
{
	struct reason why = {0};
	char name[PATH_MAX];
	int status = EXIT_BAD, fd;
	bool partial;

	if (!recording_is_at(r->run.image))
		return log_bad(EINVAL, "%s: not a recording; `penumbra run --record DIR` makes them", r->run.image) < 0 ? EXIT_BAD : 0;
	fd = recording_open_log(r->run.image, name, &partial, &why);
	if (fd >= 0) {
		status = run_log(r, fd, name, &why);
		close(fd);
	}
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	return status;
}

static int run_probed(void *arg, struct probe *p, const struct mmu_ops *mmu, uint64_t until)
{
	struct replay *r = arg;

	r->run.mmu = mmu;
	r->run.console = RUN_CONSOLE_NONE;
	r->replayer.until = until;
	r->probe = p;
	return run_recording(r);
}

int cmd_replay(const struct program *p, int argc, char **argv)
{
	struct replay r = {.program = p, .steerer.begin = begin, .replayer.until = REPLAYER_TO_THE_END};
	int status = EXIT_BAD;

	run_options_init(&r.run, p, "replay");
	if (parse(&r, argc, argv) == 0)
		status = r.bisect ? bisect(p, r.run.mmu, run_probed, &r) : run_recording(&r);
	run_options_free(&r.run);
	return status;
}
