/* Solo5's notes as a linker leaves them, written byte by byte. */
#pragma once

#include <stdint.h>
#include <string.h>

#define SOLO5_NOTES_MAX 8192u

struct solo5_notes {
	uint8_t bytes[SOLO5_NOTES_MAX];
	size_t size;
};

static inline void solo5_put32(struct solo5_notes *n, uint32_t value)
{
	memcpy(n->bytes + n->size, &value, sizeof(value));
	n->size += sizeof(value);
}

static inline void solo5_put_note(struct solo5_notes *n, const char *name, uint32_t descriptor, uint32_t type)
{
	size_t length = strlen(name) + 1;

	solo5_put32(n, (uint32_t)length);
	solo5_put32(n, descriptor);
	solo5_put32(n, type);
	memset(n->bytes + n->size, 0, 12);
	memcpy(n->bytes + n->size, name, length);
	n->size += (length + 3) / 4 * 4;
}

static inline void solo5_put_abi(struct solo5_notes *n, uint32_t target, uint32_t version)
{
	solo5_put_note(n, "Solo5", 16, 0x31494241);
	solo5_put32(n, target);
	solo5_put32(n, version);
	solo5_put32(n, 0);
	solo5_put32(n, 0);
}

/* `count` entries with the first one: "d1", "d2", ..., block and network devices by turns. */
static inline void solo5_put_manifest(struct solo5_notes *n, unsigned int count)
{
	solo5_put_note(n, "Solo5", 12 + count * 104, 0x3154464d);
	solo5_put32(n, 0); /* to a multiple of 8 */
	solo5_put32(n, 1);
	solo5_put32(n, count);
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *e = n->bytes + n->size;
		uint32_t type = i ? 1 + i % 2 : 0x40000000;

		memset(e, 0, 104);
		if (i) {
			e[0] = 'd';
			e[1] = (uint8_t)('0' + i / 10);
			e[2] = (uint8_t)('0' + i % 10);
		}
		memcpy(e + 68, &type, sizeof(type));
		n->size += 104;
	}
}
