/*
 * The kernel's account of this process's own mappings: /proc/self/smaps (proc(5)).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smaps_field {
	const char *name; /* "Rss", ... */
	uint64_t kib;
};

/*
 * Sums each of the fields over those mappings [start, end) that are `chosen`. The kernel may merge neighbouring mappings, so
 * overlap should decide and not equality. Returns 0 or -errno, not logged.
 */
int smaps_sum(bool (*chosen)(const void *arg, uint64_t start, uint64_t end), const void *arg, struct smaps_field *fields,
	      size_t count);
