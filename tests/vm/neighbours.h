/*
 * Guests that run at the same time in one process, the test's own: bad ones among good ones. Each must end as if it were
 * alone.
 */
#pragma once

#include <stddef.h>

#include "vmm/vm.h"

struct neighbour {
	const char *words;     /* image and arguments */
	enum vm_end_kind kind; /* VM_TIMED_OUT: it never ends, and is ended when all others have */
	const char *text;      /* what it prints, or a part of the reason for which it ended */
	int code;	       /* exit code */
	/* Looks at all it has printed, instead of text and code. */
	void (*check)(const char *words, const char *out, int code);
};

void check_neighbours(const struct neighbour *n, size_t count);
