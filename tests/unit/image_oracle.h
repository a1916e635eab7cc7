/*
 * What a bootable image is, said a second time and naively: from guest/abi.h's words and the System
 * V ABI, over the bytes of the whole file, in 128-bit arithmetic, with no code of the loader. It
 * says yes or no, where the entry is, and what RAM holds afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 oracle_wide;

#define ORACLE_GIB ((oracle_wide)1 << 30)

struct oracle {
	const uint8_t *file;
	uint64_t size;
	uint64_t entry, low, top; /* as physical addresses, when it is bootable */
};

static inline uint64_t oracle_get(const struct oracle *o, oracle_wide at, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		if (at + i < o->size)
			value |= (uint64_t)o->file[at + i] << 8 * i;
	}
	return value;
}

struct oracle_segment {
	uint64_t type, flags;
	oracle_wide offset, vaddr, paddr, filesz, memsz;
	uint64_t align;
};

static inline uint64_t oracle_count(const struct oracle *o)
{
	return oracle_get(o, 56, 2);
}

static inline struct oracle_segment oracle_segment(const struct oracle *o, uint64_t number)
{
	oracle_wide at = (oracle_wide)oracle_get(o, 32, 8) + number * 56;
	struct oracle_segment s = {
		oracle_get(o, at, 4), oracle_get(o, at + 4, 4), oracle_get(o, at + 8, 8),
		oracle_get(o, at + 16, 8), oracle_get(o, at + 24, 8), oracle_get(o, at + 32, 8),
		oracle_get(o, at + 40, 8), oracle_get(o, at + 48, 8),
	};

	return s;
}

static inline bool oracle_header_good(const struct oracle *o)
{
	uint64_t phoff = oracle_get(o, 32, 8), phnum = oracle_count(o);

	return o->size >= 64 && !memcmp(o->file, "\177ELF\2\1\1", 7) &&
	       oracle_get(o, 16, 2) == 2 && oracle_get(o, 18, 2) == 62 &&
	       oracle_get(o, 20, 4) == 1 && oracle_get(o, 54, 2) == 56 &&
	       phnum > 0 && phnum < 0xffff && phoff > 0 &&
	       (oracle_wide)phoff + phnum * 56 <= o->size &&
	       (oracle_get(o, 60, 2) || !oracle_get(o, 40, 8));
}

static inline oracle_wide oracle_up(oracle_wide value, unsigned int align)
{
	while (value % align)
		value++;
	return value;
}

/* Counts our notes in one segment; 100 stands for a bad one. Notes end where one does not fit. */
static inline int oracle_notes(const struct oracle *o, const struct oracle_segment *s)
{
	unsigned int align = s->align == 8 ? 8 : 4;
	oracle_wide at = 0;
	int found = 0;

	while (at + 12 <= s->filesz) {
		oracle_wide here = s->offset + at;
		uint64_t namesz = oracle_get(o, here, 4), descsz = oracle_get(o, here + 4, 4);
		oracle_wide desc = oracle_up(at + 12 + namesz, align);

		at = desc + oracle_up(descsz, align);
		if (at > s->filesz)
			break;
		if (namesz != 9 || memcmp(o->file + here + 12, "Penumbra", 9) ||
		    oracle_get(o, here + 8, 4) != 1)
			continue;
		found += descsz == 4 && oracle_get(o, s->offset + desc, 4) == 1 ? 1 : 100;
	}
	return found;
}

static inline bool oracle_notes_good(const struct oracle *o)
{
	int found = 0;

	for (uint64_t i = 0; i < oracle_count(o); i++) {
		struct oracle_segment s = oracle_segment(o, i);

		if (s.type != 4 || !s.filesz)
			continue;
		if (s.offset + s.filesz > o->size || s.filesz > 65536)
			return false;
		found += oracle_notes(o, &s);
		if (found > 1)
			return false;
	}
	return found == 1;
}

static inline bool oracle_loads(const struct oracle_segment *s)
{
	return s->type == 1 && (s->memsz || s->filesz);
}

static inline bool oracle_segment_good(const struct oracle *o, uint64_t number)
{
	struct oracle_segment s = oracle_segment(o, number);
	oracle_wide end = s.paddr + s.memsz;

	if (s.filesz > s.memsz || s.offset + s.filesz > o->size)
		return false;
	if (s.vaddr + s.memsz > (oracle_wide)1 << 64)
		return false;
	if (s.paddr < 0x10000 || end > 513 * ORACLE_GIB)
		return false;
	if (end > 3 * ORACLE_GIB && s.paddr < 4 * ORACLE_GIB)
		return false;
	for (uint64_t i = 0; i < number; i++) {
		struct oracle_segment other = oracle_segment(o, i);

		if (oracle_loads(&other) && other.paddr < end &&
		    s.paddr < other.paddr + other.memsz)
			return false;
	}
	return true;
}

static inline bool oracle_segments_good(struct oracle *o)
{
	oracle_wide low = (oracle_wide)1 << 64, top = 0;
	int count = 0;

	for (uint64_t i = 0; i < oracle_count(o); i++) {
		struct oracle_segment s = oracle_segment(o, i);

		if (!oracle_loads(&s))
			continue;
		if (!oracle_segment_good(o, i) || ++count > 32)
			return false;
		low = s.paddr < low ? s.paddr : low;
		top = s.paddr + s.memsz > top ? s.paddr + s.memsz : top;
	}
	o->low = (uint64_t)low;
	o->top = (uint64_t)top;
	return count > 0;
}

static inline bool oracle_entry_good(struct oracle *o)
{
	uint64_t entry = oracle_get(o, 24, 8);

	for (uint64_t i = 0; i < oracle_count(o); i++) {
		struct oracle_segment s = oracle_segment(o, i);

		if (oracle_loads(&s) && (s.flags & 1) && entry >= s.vaddr &&
		    entry < s.vaddr + s.memsz) {
			o->entry = (uint64_t)(s.paddr + entry - s.vaddr);
			return o->entry < ORACLE_GIB;
		}
	}
	return false;
}

static inline bool oracle_bootable(struct oracle *o)
{
	return oracle_header_good(o) && oracle_notes_good(o) && oracle_segments_good(o) &&
	       oracle_entry_good(o);
}

/* For a bootable image: whether it fits RAM of ram_size <= 3 GiB, and then what that holds. */
static inline bool oracle_load(const struct oracle *o, uint8_t *ram, uint64_t ram_size)
{
	for (uint64_t i = 0; i < oracle_count(o); i++) {
		struct oracle_segment s = oracle_segment(o, i);

		if (!oracle_loads(&s))
			continue;
		if (s.paddr + s.memsz > ram_size)
			return false;
		for (oracle_wide b = 0; b < s.filesz; b++)
			ram[s.paddr + b] = o->file[s.offset + b];
	}
	return true;
}
