/* shell: an interactive prompt that runs the other programs; see user/shell.c. */
#include "guest/images/image.h"

const struct program programs[] = {
	PROGRAM(shell), PROGRAM(child),  PROGRAM(clock), PROGRAM(compute), PROGRAM(echo),
	PROGRAM(hello), PROGRAM(memory), PROGRAM(procs), PROGRAMS_END,
};

int image_main(const char *args)
{
	process_run("shell", args, TIMER_HZ);
}
