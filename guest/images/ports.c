/* ports [N]: reads a port N times (default 1000): nothing but exits to the VMM, for measuring what one costs. */
#include "guest/images/image.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"

const struct program programs[] = { PROGRAMS_END };

int image_main(const char *args)
{
	uint64_t count = 1000;

	if (args[0] != '\0' && !parse_number(args, &count))
		machine_usage("ports [N]");
	while (count-- > 0)
		inl(ABI_PORT_SCRATCH);
	return 0;
}
