/* bank [DEPOSITS]: a guest with a race, to be found by going back; see user/bank.c and docs/debugging.md. */
#include "guest/images/image.h"
#include "guest/kernel/timer.h"

const struct program programs[] = { PROGRAM(bank), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("bank", args, TIMER_MAX_HZ);
}
