/*
 * solo5-hello [CODE]: says hello and ends with exit code CODE. No SSE, so that it runs where ring 0 is interpreted.
 */
#include "guest/lib/parse.h"
#include "guest/solo5/solo5.h"

SOLO5_MANIFEST(1);

int solo5_main(const struct hvt_boot_info *info)
{
	static const char greeting[] = "hello, world\n";
	uint64_t code;

	if (!info->cmdline[0]) {
		solo5_write(greeting, sizeof(greeting) - 1);
		return 0;
	}
	solo5_printf("hello, world: %s\n", info->cmdline);
	return parse_number(info->cmdline, &code) ? (int)code : 2;
}
