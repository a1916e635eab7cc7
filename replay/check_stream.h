/*
 * The checks of a log (access_check.h), one after the other: they are read ahead of the events, by a reader of their own, because those
 * of an access stand behind what happened after it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/log_reader.h"

struct check_stream {
	struct log_reader reader;
	const uint8_t *bytes;
	uint32_t left;
	bool over;
};

struct check_mark {
	struct log_mark reader;
	const uint8_t *bytes; /* in the reader's block */
	uint32_t left;
	bool over;
};

/* As log_reader_open(). */
int check_stream_open(struct check_stream *c, int fd, const char *name, struct reason *why);
void check_stream_close(struct check_stream *c);

/* The check of the next access. Returns false where the log has no more. */
bool check_stream_next(struct check_stream *c, uint8_t *check);

/* As log_reader_mark() and log_reader_return(). */
void check_stream_mark(const struct check_stream *c, struct check_mark *m);
int check_stream_return(struct check_stream *c, const struct check_mark *m, struct reason *why);
