#include "replay/show_access.h"

#include <inttypes.h>
#include <stdio.h>

const char *show_access(char text[SHOW_ACCESS_ROOM], const struct access *a)
{
	static const char *const names[] = {
		[ACCESS_PORT_READ] = "port read", [ACCESS_PORT_WRITE] = "port write", [ACCESS_MMIO_READ] = "MMIO read",
		[ACCESS_MMIO_WRITE] = "MMIO write", [ACCESS_HLT] = "HLT",
	};

	if (a->kind == ACCESS_HLT)
		snprintf(text, SHOW_ACCESS_ROOM, "%s", names[a->kind]);
	else
		snprintf(text, SHOW_ACCESS_ROOM, "%s of %u bytes at 0x%" PRIx64 ": 0x%" PRIx64, names[a->kind], a->size, a->addr, a->value);
	return text;
}
