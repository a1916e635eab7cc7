/*
 * Writes a log, block by block, in bounded memory: what was written up to the last whole block stays good whatever happens then.
 * One thread.
 */
#pragma once

#include <stdint.h>

#include "replay/event.h"
#include "replay/log_file.h"

struct log_writer {
	int fd;		   /* the owner's */
	uint64_t at;	   /* end of the last whole block */
	uint64_t position; /* of the last event */
	uint64_t from;	   /* and of the last one before the block that is being filled */
	uint64_t checksum; /* the last in the file */
	uint32_t used, events; /* in `block` */
	uint64_t all_events;
	int error;	   /* the first -errno; from then on nothing is taken */
	uint8_t *room;	/* for a block with its head */
	uint8_t *block; /* its events */
};

/* Begins an empty file. `position` is where the log begins. Returns 0 or -errno (not logged), and there is nothing to be closed. */
int log_writer_open(struct log_writer *w, int fd, const uint8_t id[LOG_ID_BYTES], const uint8_t start[LOG_ID_BYTES], uint64_t position);

/*
 * Takes an event that is not before the last one. Returns 0, or -errno (not logged): the file cannot be written any more, and ends with
 * its last whole block.
 */
int log_writer_put(struct log_writer *w, const struct event *e);

/* Everything that was taken becomes a block. Returns as log_writer_put(). */
int log_writer_flush(struct log_writer *w);

/* What was not flushed is gone. */
void log_writer_close(struct log_writer *w);
