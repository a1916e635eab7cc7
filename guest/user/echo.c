#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define LINE_MAX 256

/* The code of a line "exit N", or -1. */
static int exit_code(char *line)
{
	uint64_t code;

	if (memcmp(line, "exit ", 5) != 0 || !parse_number(line + 5, &code) || code > 255)
		return -1;
	return (int)code;
}

/*
 * echo [PROMPT]: says every line of input again, until ^D (exit code 0) or a line "exit N" (exit code N). Before each it
 * says PROMPT.
 */
int echo_main(int argc, char **argv)
{
	char line[LINE_MAX];
	int code;

	if (argc > 2)
		usage("echo [PROMPT], with lines on the console; ^D or \"exit N\" ends it");
	for (;;) {
		if (argc == 2)
			print("%s", argv[1]);
		if (!read_line(line, sizeof(line), false))
			return 0;
		code = exit_code(line);
		if (code >= 0)
			return code;
		print("%s\n", line);
	}
}
