/*
 * An unmodified Linux kernel and its initrd, for tests: PENUMBRA_LINUX names a directory as tests/lab/linux-guest makes it.
 * Without it, and where KVM interprets ring 0, there is nothing to test.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "tests/vm/spawn.h"

#define LINUX_SKIPPED 77
#define LINUX_PROMPT "guest# "

/* The directory, or NULL after a line that says why there is none: then main()'s status is LINUX_SKIPPED. */
static inline const char *linux_guest(void)
{
	const char *directory = getenv("PENUMBRA_LINUX");

	if (!directory)
		printf("linux: no guest: tests/lab/selftest-linux has one\n");
	else if (host_mmu_detect("").ring0_interpreted)
		printf("linux: this host's KVM interprets ring 0: a kernel would take hours\n");
	else
		return directory;
	return NULL;
}

/* Gives the shell a command. */
static inline void linux_type(struct child *c, const char *command)
{
	child_send(c, command, strlen(command));
	child_send(c, "\n", 1);
}
