/* memory [OPTION=NUMBER...]: RAM filled with pages of chosen kinds; see user/memory.c. */
#include "guest/images/image.h"

const struct program programs[] = { PROGRAM(memory), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("memory", args, TIMER_HZ);
}
