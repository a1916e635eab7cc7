/* What Linux says of this host's processor. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* By the flag's name in /proc/cpuinfo. */
static inline bool cpu_has_flag(const char *flag)
{
	char line[100];

	snprintf(line, sizeof(line), "grep -qw %s /proc/cpuinfo", flag);
	return system(line) == 0;
}
