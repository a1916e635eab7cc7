/* compute [sse] [N]: work for ring 3 alone: no timer, no input; see user/compute.c. */
#include "guest/images/image.h"

const struct program programs[] = { PROGRAM(compute), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("compute", args, 0);
}
