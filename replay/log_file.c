#include "replay/log_file.h"

#include <stddef.h>

const uint8_t log_magic[LOG_MAGIC_BYTES] = {0x89, 'P', 'N', 'R', 'E', 'C', 0, '\n'};

uint64_t log_block_checksum(const struct log_block *b, const void *events, uint64_t before)
{
	uint64_t head = XXH3_64bits_withSeed(b, offsetof(struct log_block, checksum), before);

	return XXH3_64bits_withSeed(events, b->bytes, head);
}
