/*
 * A snapshot written anew, compressed or plain: the same guest at the same instant, whole even if it was a part of a chain.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/image_writer.h"
#include "snapshot/snapshot.h"

struct image_reader;
struct reason;

/* What is to become of it, and became. */
struct packed {
	struct snapshot_id id; /* that it is to have: snapshot_id_make() */
	struct checksum128 checksum;
	struct image_written written;
};

/*
 * Checks all of it, and writes it to `path`, which does not exist yet, with the identity p->id. What it says moves out of the
 * reader, which can only be closed afterwards. Returns 0, or -errno with the reason and nothing left behind.
 */
int pack_write(struct image_reader *r, const char *path, bool compress, struct packed *p, struct reason *why);
