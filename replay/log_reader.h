/*
 * Reads a log, block by block, in bounded memory. The file is hostile until its checksums and its events have been looked at; what comes
 * behind the last whole block, as of a program that was killed, is not used, and how much it is can be asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/event.h"
#include "replay/log_file.h"

struct reason;

struct log_reader {
	int fd; /* the owner's */
	const char *name;
	struct log_header header;
	uint64_t size;	   /* of the file */
	uint64_t at;	   /* where the next block begins */
	uint64_t position; /* of the last event */
	uint64_t checksum; /* the last that was read */
	uint64_t seed;	   /* the one before it: of `block` */
	uint32_t used, next, events; /* bytes in `block`; where the next event is; how many are left */
	bool ended;	   /* its last event was there */
	uint8_t *block;
};

/* Where a reader stands: it without its block, which is read again. */
struct log_mark {
	uint64_t at, position, checksum, seed;
	uint32_t used, next, events;
	bool ended;
};

/* `name` is for people. Returns 0, or -errno with the reason, and there is nothing to be closed: -ENOTSUP for another version. */
int log_reader_open(struct log_reader *r, int fd, const char *name, struct reason *why);

/*
 * The next event; its bytes are there until the next call. Returns 1; or 0: there is no more that can be used; or -errno with the reason:
 * what is in a block makes no sense, or it cannot be read.
 */
int log_reader_next(struct log_reader *r, struct event *e, struct reason *why);

/*
 * Where it stands, and back to there: pointers into the block that stood there are good again. Returns 0, or -errno with the reason: the
 * file is not any more what it was.
 */
void log_reader_mark(const struct log_reader *r, struct log_mark *m);
int log_reader_return(struct log_reader *r, const struct log_mark *m, struct reason *why);

/* After a 0: bytes at the end that are no whole block. */
uint64_t log_reader_left(const struct log_reader *r);

/* After a 0: the guest's end is in it, and nothing behind. */
static inline bool log_reader_is_whole(const struct log_reader *r)
{
	return r->ended && !log_reader_left(r);
}

void log_reader_close(struct log_reader *r);
