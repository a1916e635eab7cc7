/* clock [TICKS [HZ]]: timer interrupts and preemption; see user/clock.c. */
#include "guest/images/image.h"

const struct program programs[] = { PROGRAM(clock), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("clock", args, TIMER_HZ);
}
