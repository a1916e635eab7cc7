/*
 * From a capture to a directory (docs/snapshot-format.md).
 */
#pragma once

#include <stdint.h>

struct capture;
struct reason;

/* What was written, and how long it took. */
struct image_written {
	uint64_t pages, zero_pages, bytes;
	uint64_t ns;
};

/*
 * Writes a snapshot to `path`, which does not exist yet, compressed if sn.compressed. The capture's page map, checksums and
 * blocks come to be on the way. Any thread.
 * Returns 0, or -errno with the reason and nothing left behind.
 */
int image_write(struct capture *c, const char *path, struct image_written *w, struct reason *why);
