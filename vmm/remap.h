/*
 * Reading a disk that does not change without reading it: the file's pages are mapped, copy-on-write, in place of guest
 * pages. A page that the guest only looks at stays the host's page cache, shared with every other guest; one that it writes
 * becomes its own.
 *
 * Every piece is a mapping of its own, of which a process may have only so many (vm.max_map_count); so they are counted, and
 * when the guest's share is used up the caller reads as usual. Pages that were remapped stay so: exchanging one for another is
 * free. What is remapped is no longer registered with a userfaultfd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct disk;
struct mem;
struct virtqueue_chain;

#define REMAP_MAX_PIECES 8192u

struct remap {
	struct mem *mem;
	const struct disk *disk;
	unsigned int pieces; /* mappings made where none was before */
	uint64_t *pages;     /* one bit a page of RAM , regions one after the other: remapped; allocated at the first use */
};

void remap_init(struct remap *r, struct mem *m, const struct disk *d);
void remap_destroy(struct remap *r);

/*
 * Has the first `bytes` writable bytes of the chain show the disk's from byte `at` on, which are on it. Returns false, and the
 * caller has to read them, unless all that is whole pages of both sides, none of them pinned, and the host does it.
 */
bool remap_read(struct remap *r, const struct virtqueue_chain *c, uint64_t bytes, uint64_t at);
