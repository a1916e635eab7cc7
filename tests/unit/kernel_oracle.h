/*
 * What kernels of a PC are, said a second time and naively: from the specifications of bzImage, multiboot 1 and PVH, over the
 * bytes of the whole file, in 128-bit arithmetic, with no code of the loader.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef unsigned __int128 kernel_wide;

#define KERNEL_GIB ((kernel_wide)1 << 30)

enum kernel_format { KERNEL_NONE, KERNEL_LINUX, KERNEL_FLAT, KERNEL_ELF_MULTIBOOT, KERNEL_ELF_PVH };

struct kernel_oracle {
	const uint8_t *file;
	uint64_t size;
	/* Answers. */
	kernel_wide entry, low, top;
	bool enters_32;
};

static inline uint64_t kernel_get(const struct kernel_oracle *o, kernel_wide at, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		if (at + i < o->size)
			value |= (uint64_t)o->file[at + i] << 8 * i;
	return value;
}

static inline bool kernel_linux(struct kernel_oracle *o)
{
	uint64_t sectors = kernel_get(o, 0x1f1, 1), code = kernel_get(o, 0x1f4, 4) * 16, version = kernel_get(o, 0x206, 2);
	uint64_t place = kernel_get(o, 0x258, 8), memory = kernel_get(o, 0x260, 4);
	uint64_t setup = 512 + 512 * (sectors ? sectors : 4);

	if (o->size < 0x264 || kernel_get(o, 0x1fe, 2) != 0xaa55 || version < 0x20a || !(kernel_get(o, 0x211, 1) & 1))
		return false;
	if (kernel_get(o, 0x201, 1) < 0x264 - 0x202)
		return false;
	/* A last paragraph may be short. */
	if (o->size > setup && setup + code > o->size && setup + code - o->size < 16)
		code = o->size - setup;
	if (setup + code > o->size || code <= 0x200)
		return false;
	if (place < 1 << 20 || place % 16 || memory < code || (kernel_wide)place + memory > KERNEL_GIB)
		return false;
	o->enters_32 = version < 0x20c || !(kernel_get(o, 0x236, 2) & 1);
	o->entry = place + (o->enters_32 ? 0 : 0x200);
	o->low = place;
	o->top = place + memory;
	return true;
}

/* Offset of the multiboot header, or -1. */
static inline int kernel_multiboot_header(const struct kernel_oracle *o)
{
	for (unsigned int at = 0; at + 12 <= 8192 && at + 12 <= o->size; at += 4)
		if (kernel_get(o, at, 4) == 0x1badb002 &&
		    (uint32_t)(kernel_get(o, at, 4) + kernel_get(o, at + 4, 4) + kernel_get(o, at + 8, 4)) == 0)
			return (int)at;
	return -1;
}

static inline bool kernel_flat(struct kernel_oracle *o, unsigned int at)
{
	kernel_wide header = kernel_get(o, at + 12, 4), load = kernel_get(o, at + 16, 4), end = kernel_get(o, at + 20, 4);
	kernel_wide bss = kernel_get(o, at + 24, 4), entry = kernel_get(o, at + 28, 4), first;

	if (at + 32 > (o->size < 8192 ? o->size : 8192)) {
		/* Cut off: what is missing counts as zero, whatever follows in the file beyond the part that is searched. */
		if (at + 32 > 8192 && o->size > 8192)
			return false;
	}
	if ((kernel_get(o, at + 4, 4) & 0xfff8) || header < load || header - load > at || load < 0x10000)
		return false;
	first = at - (header - load);
	end = end ? end : load + (o->size - first);
	if (end <= load || first + (end - load) > o->size)
		return false;
	o->entry = entry;
	o->low = load;
	o->top = bss > end ? bss : end;
	o->enters_32 = true;
	return o->top <= 3 * KERNEL_GIB && entry >= load && entry < end;
}

struct kernel_segment {
	uint64_t type;
	kernel_wide offset, vaddr, paddr, filesz, memsz;
	uint64_t align;
};

static inline bool kernel_narrow(const struct kernel_oracle *o)
{
	return kernel_get(o, 4, 1) == 1;
}

static inline struct kernel_segment kernel_segment(const struct kernel_oracle *o, uint64_t n)
{
	if (kernel_narrow(o)) {
		kernel_wide at = kernel_get(o, 28, 4) + n * 32;

		return (struct kernel_segment){kernel_get(o, at, 4), kernel_get(o, at + 4, 4), kernel_get(o, at + 8, 4),
					       kernel_get(o, at + 12, 4), kernel_get(o, at + 16, 4), kernel_get(o, at + 20, 4),
					       kernel_get(o, at + 28, 4)};
	} else {
		kernel_wide at = (kernel_wide)kernel_get(o, 32, 8) + n * 56;

		return (struct kernel_segment){kernel_get(o, at, 4), kernel_get(o, at + 8, 8), kernel_get(o, at + 16, 8),
					       kernel_get(o, at + 24, 8), kernel_get(o, at + 32, 8), kernel_get(o, at + 40, 8),
					       kernel_get(o, at + 48, 8)};
	}
}

static inline uint64_t kernel_segments(const struct kernel_oracle *o)
{
	return kernel_get(o, kernel_narrow(o) ? 44 : 56, 2);
}

static inline bool kernel_elf_header(const struct kernel_oracle *o)
{
	bool narrow = kernel_narrow(o);
	uint64_t count = kernel_segments(o), table = narrow ? kernel_get(o, 28, 4) : kernel_get(o, 32, 8);
	uint64_t size = narrow ? 32 : 56, sections = narrow ? kernel_get(o, 32, 4) : kernel_get(o, 40, 8);

	return o->size >= (narrow ? 52u : 64u) && !memcmp(o->file, "\177ELF", 4) && (narrow || kernel_get(o, 4, 1) == 2) &&
	       kernel_get(o, 5, 2) == 0x0101 && kernel_get(o, 16, 2) == 2 && kernel_get(o, 18, 2) == (narrow ? 3 : 62) &&
	       kernel_get(o, 20, 4) == 1 && kernel_get(o, narrow ? 42 : 54, 2) == size && count && count != 0xffff && table &&
	       (kernel_wide)table + count * size <= o->size && (!sections || kernel_get(o, narrow ? 48 : 60, 2));
}

/* How many PVH notes there are; 100 for one that is not right. *entry is the last one's. */
static inline unsigned int kernel_pvh_notes(const struct kernel_oracle *o, kernel_wide *entry)
{
	unsigned int found = 0;

	for (uint64_t i = 0; i < kernel_segments(o); i++) {
		struct kernel_segment s = kernel_segment(o, i);
		unsigned int align = s.align == 8 ? 8 : 4;
		kernel_wide at = 0;

		if (s.type != 4 || !s.filesz)
			continue;
		if (s.offset + s.filesz > o->size || s.filesz > 65536)
			return 100;
		while (at + 12 <= s.filesz) {
			kernel_wide here = s.offset + at;
			uint64_t name = kernel_get(o, here, 4), text = kernel_get(o, here + 4, 4);
			kernel_wide descriptor = (at + 12 + name + align - 1) / align * align;

			at = descriptor + ((kernel_wide)text + align - 1) / align * align;
			if (at > s.filesz)
				break;
			if (name != 4 || memcmp(o->file + here + 12, "Xen", 4) || kernel_get(o, here + 8, 4) != 18)
				continue;
			found += text == 4 || text == 8 ? 1 : 100;
			*entry = kernel_get(o, s.offset + descriptor, text == 8 ? 8 : 4);
		}
	}
	return found;
}

static inline bool kernel_segment_good(const struct kernel_oracle *o, uint64_t n)
{
	struct kernel_segment s = kernel_segment(o, n);
	kernel_wide end = s.paddr + s.memsz;

	if (s.filesz > s.memsz || s.offset + s.filesz > o->size || s.vaddr + s.memsz > (kernel_wide)1 << 64)
		return false;
	if (s.paddr < 0x10000 || end > 513 * KERNEL_GIB || (end > 3 * KERNEL_GIB && s.paddr < 4 * KERNEL_GIB))
		return false;
	for (uint64_t i = 0; i < n; i++) {
		struct kernel_segment other = kernel_segment(o, i);

		if (other.type == 1 && (other.memsz || other.filesz) && other.paddr < end && s.paddr < other.paddr + other.memsz)
			return false;
	}
	return true;
}

/* A multiboot kernel's entry is looked for by virtual address first, in an executable segment rather than in another. */
static inline kernel_wide kernel_physical(const struct kernel_oracle *o, kernel_wide entry)
{
	kernel_wide found = entry;
	bool seen = false;

	for (uint64_t i = 0; i < kernel_segments(o); i++) {
		struct kernel_segment s = kernel_segment(o, i);
		bool executable = kernel_get(o, kernel_narrow(o) ? kernel_get(o, 28, 4) + i * 32 + 24
								: (kernel_wide)kernel_get(o, 32, 8) + i * 56 + 4, 4) & 1;

		if (s.type != 1 || entry < s.vaddr || entry >= s.vaddr + s.memsz)
			continue;
		found = s.paddr + (entry - s.vaddr);
		seen = true;
		if (executable)
			break;
	}
	return seen ? found : entry;
}

static inline bool kernel_elf(struct kernel_oracle *o, bool pvh, kernel_wide entry)
{
	bool inside = false;
	unsigned int count = 0;

	o->low = (kernel_wide)1 << 64;
	o->top = 0;
	o->entry = pvh ? entry : kernel_physical(o, kernel_get(o, 24, kernel_narrow(o) ? 4 : 8));
	o->enters_32 = true;
	for (uint64_t i = 0; i < kernel_segments(o); i++) {
		struct kernel_segment s = kernel_segment(o, i);

		if (s.type != 1 || (!s.memsz && !s.filesz))
			continue;
		if (!kernel_segment_good(o, i) || ++count > 32)
			return false;
		o->low = s.paddr < o->low ? s.paddr : o->low;
		o->top = s.paddr + s.memsz > o->top ? s.paddr + s.memsz : o->top;
		inside |= o->entry >= s.paddr && o->entry < s.paddr + s.memsz;
	}
	return inside && o->entry < 3 * KERNEL_GIB;
}

/*
 * What the file is. It is no kernel if it is a Penumbra image or a Solo5 unikernel, of which this knows nothing. KERNEL_NONE: none, or
 * one that cannot boot.
 */
static inline enum kernel_format kernel_format_of(struct kernel_oracle *o)
{
	int header = kernel_multiboot_header(o);
	kernel_wide entry = 0;
	unsigned int notes;

	if (header >= 0 && kernel_get(o, (unsigned int)header + 4, 4) >> 16 & 1)
		return kernel_flat(o, (unsigned int)header) ? KERNEL_FLAT : KERNEL_NONE;
	if (o->size >= 0x206 && memcmp(o->file, "\177ELF", 4) && !memcmp(o->file + 0x202, "HdrS", 4))
		return kernel_linux(o) ? KERNEL_LINUX : KERNEL_NONE;
	if (!kernel_elf_header(o))
		return KERNEL_NONE;
	notes = kernel_pvh_notes(o, &entry);
	if (notes > 1)
		return KERNEL_NONE;
	if (notes == 1)
		return kernel_elf(o, true, entry) ? KERNEL_ELF_PVH : KERNEL_NONE;
	if (header < 0 || (kernel_get(o, (unsigned int)header + 4, 4) & 0xfff8))
		return KERNEL_NONE;
	return kernel_elf(o, false, 0) ? KERNEL_ELF_MULTIBOOT : KERNEL_NONE;
}
