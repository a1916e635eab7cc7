/*
 * Penumbra's table of contents: the commands, and the features they are given.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compare/cmd_compare.h"
#include "dedup/scavenger.h"
#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "replay/cmd_replay.h"
#include "replay/debugger.h"
#include "replay/inspect.h"
#include "replay/record_request.h"
#include "replay/recording.h"
#include "replay/recovery.h"
#include "shadow/shadow.h"
#include "snapshot/checkpointer.h"
#include "snapshot/cmd_pack.h"
#include "snapshot/cmd_restore.h"
#include "snapshot/inspect.h"
#include "snapshot/request.h"
#include "vmm/log.h"
#include "vmm/program.h"

static const struct {
	const char *name, *what;
	int (*run)(const struct program *p, int argc, char **argv);
} commands[] = {
	{"run", "launch a guest image", cmd_run},
	{"restore", "have a saved guest go on", cmd_restore},
	{"clone", "make many guests of a saved one", cmd_clone},
	{"replay", "have a recorded guest do the same again", cmd_replay},
	{"pack", "write a saved guest anew, compressed", cmd_pack},
	{"compare", "say what each MMU mode costs, by the same work in all of them", cmd_compare},
	{"ctl", "steer a running guest", cmd_ctl},
	{"inspect", "say what an image, snapshot or recording is, and whether it is whole", cmd_inspect},
	{"doctor", "say what this host can do, what is missing, and what to do about it", cmd_doctor},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static const struct mmu_ops *const mmus[] = {&ept_mmu, &shadow_mmu, NULL};

static const struct control_feature *const requests[] = {&record_request, &snapshot_request, NULL};

static const struct inspector snapshot_inspector = {.knows = snapshot_inspect_knows, .inspect = snapshot_inspect,
							 .hint = "a saved guest; `penumbra restore` has it go on"};
static const struct inspector recording_inspector = {.knows = recording_inspect_knows, .inspect = recording_inspect,
							  .events = recording_inspect_events,
							  .hint = "a recording; `penumbra replay` has its guest do the same again"};
static const struct inspector *const inspectors[] = {&recording_inspector, &snapshot_inspector, NULL};

static void print_help(void)
{
	puts("Usage: penumbra COMMAND [OPTION…]\n\n"
	     "A minimal hypervisor on Linux KVM for small guest images.\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-8s  %s\n", commands[i].name, commands[i].what);
	puts("\n`penumbra COMMAND --help` tells more. To see it work: penumbra run build/guest/hello");
}

static int run_command(int argc, char **argv)
{
	char name[64]; /* what argp calls the program in help and errors */
	struct host_mmu host = host_mmu_detect("");
	struct program p = {.mmus = mmus, .host_mmu = host.name, .host_mmu_words = host.words,
			    .host_mmu_nested = host.nested, .host_ring0_interpreted = host.ring0_interpreted,
			    .requests = requests, .inspectors = inspectors, .checkpointer = &checkpointer, .recording = &recording_feature,
			    .recovery = &recovery_feature, .debugging = &debugging_feature, .scavenging = &scavenging};

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(commands[i].name, argv[0])) {
			snprintf(name, sizeof(name), "penumbra %s", commands[i].name);
			argv[0] = name;
			return commands[i].run(&p, argc, argv);
		}
	log_print(LOG_ERROR, "%s: no such command; try `penumbra --help`", argv[0]);
	return EXIT_BAD;
}

/*
 * What is opened first must not land on a closed 0, 1 or 2 and be taken for the console. The stand-ins fail at use like
 * closed ones: input that can only be written, output that can only be read.
 */
static void occupy_standard_fds(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Who started us may block signals for purposes of its own. Blocked kicks and timers would never get a guest to stop. */
static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
	occupy_standard_fds();
	unblock_signals();
	argp_err_exit_status = EXIT_BAD;
	if (argc < 2) {
		log_print(LOG_ERROR, "no command; try `penumbra --help`");
		return EXIT_BAD;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help();
		return program_flush_output() < 0 ? EXIT_BAD : 0;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("penumbra " PENUMBRA_VERSION);
		return program_flush_output() < 0 ? EXIT_BAD : 0;
	}
	return run_command(argc - 1, argv + 1);
}
