/* echo: console input by interrupt; see user/echo.c. */
#include "guest/images/image.h"

const struct program programs[] = { PROGRAM(echo), PROGRAMS_END };

int image_main(const char *args)
{
	process_run("echo", args, 0);
}
