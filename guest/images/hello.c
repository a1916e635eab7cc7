/*
 * hello [CODE]: says hello and ends with exit code CODE. The shortest way through a guest: no interrupts, no memory, no
 * processes, so what it costs is what launching costs.
 */
#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"

int image_main(const char *args)
{
	static const char greeting[] = "hello, world\n";
	uint64_t code;

	if (args[0] == '\0') {
		console_write(greeting, sizeof(greeting) - 1);
		return 0;
	}
	if (!parse_number(args, &code) || code > 255)
		machine_usage("hello [CODE], where CODE is 0 to 255");
	kprintf("hello, world: %s\n", args);
	return (int)code;
}
