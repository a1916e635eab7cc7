/*
 * What Solo5's notes say, read a second time and naively: byte by byte in 128-bit arithmetic from Solo5's own description of them,
 * with no code and no structure of the program.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct solo5_oracle_device {
	char name[69];
	uint64_t type;
};

struct solo5_oracle {
	bool good, abi, manifest;
	uint64_t target, version, count; /* count: of entries with the first */
	struct solo5_oracle_device device[64];
};

static inline uint64_t solo5_oracle_get(const uint8_t *bytes, unsigned __int128 at)
{
	return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | (uint64_t)bytes[at + 3] << 24;
}

static inline bool solo5_oracle_name(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", name[i]))
			return false;
	return n >= 1 && n <= 67;
}

/* The entry of 104 bytes at `at`. */
static inline bool solo5_oracle_entry(struct solo5_oracle *o, const uint8_t *bytes, unsigned __int128 at, unsigned int i)
{
	struct solo5_oracle_device *d = &o->device[i];

	memcpy(d->name, bytes + at, 68);
	d->name[68] = '\0';
	d->type = solo5_oracle_get(bytes, at + 68);
	if (bytes[at + 96])
		return false;
	if (i == 0)
		return d->type == 0x40000000 && !d->name[0];
	for (unsigned int k = 1; k < i; k++)
		if (!strcmp(o->device[k].name, d->name))
			return false;
	return (d->type == 1 || d->type == 2) && solo5_oracle_name(d->name);
}

static inline bool solo5_oracle_manifest(struct solo5_oracle *o, const uint8_t *bytes, unsigned __int128 at, uint64_t size)
{
	if (o->manifest || size < 12)
		return false;
	o->manifest = true;
	o->count = solo5_oracle_get(bytes, at + 28);
	if (solo5_oracle_get(bytes, at + 24) != 1 || o->count < 1 || o->count > 64 || size != 4 + 8 + o->count * 104)
		return false;
	for (unsigned int i = 0; i < o->count; i++)
		if (!solo5_oracle_entry(o, bytes, at + 32 + i * 104, i))
			return false;
	return true;
}

static inline bool solo5_oracle_abi(struct solo5_oracle *o, const uint8_t *bytes, unsigned __int128 at, uint64_t size)
{
	if (o->abi || size != 16)
		return false;
	o->abi = true;
	o->target = solo5_oracle_get(bytes, at + 20);
	o->version = solo5_oracle_get(bytes, at + 24);
	return true;
}

static inline struct solo5_oracle solo5_oracle_read(const uint8_t *bytes, size_t size, uint64_t align)
{
	struct solo5_oracle o = {.good = true};
	unsigned __int128 at = 0;

	while (o.good && at + 12 <= size) {
		unsigned __int128 next = at + 12 + (unsigned __int128)(solo5_oracle_get(bytes, at) + 3) / 4 * 4;
		uint64_t descriptor = solo5_oracle_get(bytes, at + 4), type = solo5_oracle_get(bytes, at + 8);
		bool ours = at + 20 <= size && solo5_oracle_get(bytes, at) == 6 && !memcmp(bytes + at + 12, "Solo5", 6);

		next += descriptor;
		if (next > size) {
			o.good = !ours;
			break;
		}
		if (ours && type == 0x31494241)
			o.good = solo5_oracle_abi(&o, bytes, at, descriptor);
		if (ours && type == 0x3154464d)
			o.good = solo5_oracle_manifest(&o, bytes, at, descriptor);
		while (next % (align == 8 ? 8 : 4))
			next++;
		at = next;
	}
	return o;
}
