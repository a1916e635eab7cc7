/*
 * The file of events (docs/recording-format.md): a header, and blocks of events. Each block's checksum goes on from the one before it,
 * so that none can be left out, exchanged or come from elsewhere unnoticed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#define LOG_VERSION 2u
#define LOG_MAGIC_BYTES 8u
#define LOG_ID_BYTES 16u
#define LOG_BLOCK_MOST 65536u /* bytes of a block's events */

extern const uint8_t log_magic[LOG_MAGIC_BYTES];

/* As they are in the file. */
struct log_header {
	uint8_t magic[LOG_MAGIC_BYTES];
	uint32_t version, flags;
	uint8_t id[LOG_ID_BYTES];    /* random: of this recording alone */
	uint8_t start[LOG_ID_BYTES]; /* identity of the snapshot that it begins with */
	uint64_t position;	     /* at which it begins */
	uint64_t checksum;	     /* of all before it */
};

struct log_block {
	uint32_t bytes, events; /* neither is 0 */
	uint64_t from;		/* position of the event before the first; of the header for the first block */
	uint64_t checksum;	/* of this before it, and the events; its seed is the one before it in the file */
};

_Static_assert(sizeof(struct log_header) == 64 && sizeof(struct log_block) == 24, "as documented");

/* What the checksum of a header is. */
static inline uint64_t log_header_checksum(const struct log_header *h)
{
	return XXH3_64bits(h, offsetof(struct log_header, checksum));
}

/* What the checksum of a block is that follows the checksum `before`. */
uint64_t log_block_checksum(const struct log_block *b, const void *events, uint64_t before);
