/* Where the kernel starts every program: splits its line into words and calls its main function. */
#include "guest/lib/parse.h"
#include "guest/user/user.h"

#define ARGS_MAX 32

noreturn void start(int (*main)(int argc, char **argv), char *line);

noreturn void start(int (*main)(int argc, char **argv), char *line)
{
	char *argv[ARGS_MAX + 1] = { NULL };
	int argc = parse_words(line, argv, ARGS_MAX);

	exit(main(argc, argv));
}
