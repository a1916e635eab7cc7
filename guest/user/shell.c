#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define LINE_MAX 128
#define NO_EXIT (-1)

static void help(void)
{
	print("help               this text\n"
	      "exit [CODE]        end the guest (so does ^D)\n"
	      "stats              pages in use, faults served\n"
	      "time               milliseconds since boot\n");
	print("hello, echo, clock, procs, memory, compute: run that program in a process of its own;\n"
	      "PROGRAM -h shows its arguments\n");
}

static void show_stats(void)
{
	struct syscall_stats now = stats();

	print("%lu pages in use, %lu faults, %lu zero pages, %lu copies, %lu ticks\n", now.pages_in_use, now.faults,
	      now.zeroed, now.copied, ticks_now());
}

static void run(const char *line)
{
	int status;

	if (spawn(line) < 0) {
		print("cannot run: %s\n", line);
		return;
	}
	while (wait(&status) > 0)
		;
	if (status >= STATUS_KILLED)
		print("killed by exception %d\n", status - STATUS_KILLED);
	else if (status > 0)
		print("exit code %d\n", status);
}

/* The exit code asked for, or NO_EXIT. */
static int execute(char *line)
{
	uint64_t code = 0;

	if (memcmp(line, "exit", 4) == 0 && (line[4] == '\0' || line[4] == ' ')) {
		if (line[4] == '\0' || (parse_number(line + 5, &code) && code <= 255))
			return (int)code;
		print("usage: exit [CODE], CODE 0 to 255\n");
	} else if (strcmp(line, "help") == 0) {
		help();
	} else if (strcmp(line, "stats") == 0) {
		show_stats();
	} else if (strcmp(line, "time") == 0) {
		print("%lu ms\n", clock_ns() / 1000000);
	} else if (line[0] != '\0') {
		run(line);
	}
	return NO_EXIT;
}

/* shell: reads commands from the console and runs them, until exit or ^D. */
int shell_main(int argc, char **argv)
{
	char line[LINE_MAX];
	int code = NO_EXIT;

	if (argc != 1)
		usage("shell, with commands on the console; help lists them");
	print("Penumbra guest shell; help lists the commands\n");
	while (code == NO_EXIT) {
		print("> ");
		if (!read_line(line, sizeof(line), true))
			return 0;
		code = execute(line);
	}
	return code;
}
