/* procs [N]: processes and their memory; see user/procs.c. */
#include "guest/images/image.h"

const struct program programs[] = { PROGRAM(procs), PROGRAM(child), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("procs", args, TIMER_HZ);
}
