/*
 * From a directory back: its files are opened once and checked, all of what they hold before a guest runs from it. What is
 * checked is what is used: a file that is changed in between is found out, or has no effect any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/image_files.h"
#include "snapshot/snapshot.h"
#include "vmm/progress.h"

struct block_reader;
struct reason;

struct image_reader {
	struct snapshot sn;
	char *path;
	int fd[IMAGE_FILES]; /* FILE_STATE's is closed, and there is no image with an increment: -1 */
	struct block_reader *blocks; /* of a compressed memory file; NULL: it is plain */
	struct image_reader *parent; /* of an increment; owned */
	bool quiet; /* set by the caller: no progress on a terminal, which is a guest's */
};

#define CHAIN_MAX 256u /* snapshots in a chain */

/*
 * Opens `path`, reads and checks its state file, and the guest image against it; so for its parents, which are beside it, up to
 * the one that has all. A parent that is missing, another one, or was made anew is a reason. Returns 0 or -errno with the reason, which
 * names the file, and nothing open.
 */
int image_reader_open(struct image_reader *r, const char *path, struct reason *why);
void image_reader_close(struct image_reader *r);

/* The same without its parents: for who wants to know what it says, and not its RAM. */
int image_reader_open_alone(struct image_reader *r, const char *path, struct reason *why);

/* The one that has all of RAM and the guest image. */
const struct image_reader *image_reader_root(const struct image_reader *r);

/*
 * Any thread: reads [gpa, gpa + size), pages that this part has itself in one run, and checks them against these checksums of its
 * page map. Returns 0 or -errno with the reason.
 */
int image_reader_pages(const struct image_reader *r, uint64_t gpa, uint64_t size, const uint64_t *checksum, void *to,
		       struct reason *why);

/* Where [gpa, gpa + size), whole pages of RAM of one region, is to go. */
struct image_sink {
	uint8_t *(*place)(struct image_sink *sink, uint64_t gpa, uint64_t size);
	struct progress progress; /* the load's own */
};

/*
 * Reads all pages that are not zero to where the sink wants them, and checks them there; and that everything else in the file is
 * zero. The places are all zero before. Returns 0 or -errno with the reason.
 */
int image_reader_load(const struct image_reader *r, struct image_sink *sink, struct reason *why);

/* The same for nobody: only checks. */
int image_reader_check(const struct image_reader *r, struct reason *why);
