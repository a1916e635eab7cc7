/*
 * Writes kernels of a PC, good ones and broken ones, byte by byte from the specifications; shares nothing with the loader.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define KERNEL_FILE_SIZE 0x4000u

struct kernel_file {
	uint8_t bytes[KERNEL_FILE_SIZE];
	uint64_t size;
};

static inline void kernel_put(struct kernel_file *f, uint64_t at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		f->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

static inline void kernel_fill(struct kernel_file *f)
{
	for (unsigned int i = 0; i < KERNEL_FILE_SIZE; i++)
		f->bytes[i] = (uint8_t)(i * 5 + i / 256 + 3);
	f->size = KERNEL_FILE_SIZE;
}

/* Two sectors, then 0x3c00 bytes of code for 1 MiB, which need 0x8000. */
static inline void kernel_write_linux(struct kernel_file *f)
{
	kernel_fill(f);
	memset(f->bytes + 0x1f1, 0, 0x80);
	kernel_put(f, 0x1f1, 1, 1);
	kernel_put(f, 0x1f4, 0x3c0, 4);
	kernel_put(f, 0x1fe, 0xaa55, 2);
	kernel_put(f, 0x200, 0x6aeb, 2);
	memcpy(f->bytes + 0x202, "HdrS", 4);
	kernel_put(f, 0x206, 0x20f, 2);
	kernel_put(f, 0x211, 1, 1);
	kernel_put(f, 0x22c, 0x7fffffff, 4);
	kernel_put(f, 0x236, 1, 2);
	kernel_put(f, 0x238, 2047, 4);
	kernel_put(f, 0x258, 0x100000, 8);
	kernel_put(f, 0x260, 0x8000, 4);
}

static inline void kernel_put_header(struct kernel_file *f, uint64_t at, uint32_t flags)
{
	kernel_put(f, at, 0x1badb002, 4);
	kernel_put(f, at + 4, flags, 4);
	kernel_put(f, at + 8, (uint32_t)-(0x1badb002 + flags), 4);
}

/* From byte 0x100 of the file on at 1 MiB, the header 0x40 further; 0x1000 bytes of the file, 0x2000 of memory. */
static inline void kernel_write_flat(struct kernel_file *f)
{
	kernel_fill(f);
	kernel_put_header(f, 0x140, 0x10003);
	kernel_put(f, 0x14c, 0x100040, 4);
	kernel_put(f, 0x150, 0x100000, 4);
	kernel_put(f, 0x154, 0x101000, 4);
	kernel_put(f, 0x158, 0x102000, 4);
	kernel_put(f, 0x15c, 0x100060, 4);
}

/* Two segments: bytes from 0x1000 at 1 MiB (linked at `base` above that), from 0x2000 at 2 MiB, with zeros behind; a note at 0x800. */
static inline void kernel_write_elf(struct kernel_file *f, int narrow, uint64_t base)
{
	const uint64_t segment[3][7] = {
		/* type, flags, offset, vaddr, paddr, filesz, memsz */
		{1, 5, 0x1000, base + 0x100000, 0x100000, 0x800, 0x800},
		{1, 6, 0x2000, base + 0x200000, 0x200000, 0x123, 0x3000},
		{4, 4, 0x800, 0, 0, 20, 20},
	};

	kernel_fill(f);
	memset(f->bytes, 0, 0x200);
	memcpy(f->bytes, narrow ? "\177ELF\1\1\1" : "\177ELF\2\1\1", 7);
	kernel_put(f, 16, 2, 2);
	kernel_put(f, 18, narrow ? 3 : 62, 2);
	kernel_put(f, 20, 1, 4);
	kernel_put(f, 24, base + 0x100010, narrow ? 4 : 8);
	kernel_put(f, narrow ? 28 : 32, 64, narrow ? 4 : 8);
	kernel_put(f, narrow ? 40 : 52, narrow ? 52 : 64, 2);
	kernel_put(f, narrow ? 42 : 54, narrow ? 32 : 56, 2);
	kernel_put(f, narrow ? 44 : 56, 3, 2);
	for (unsigned int i = 0; i < 3; i++) {
		const uint64_t *s = segment[i], at = 64 + i * (narrow ? 32 : 56);
		const uint64_t narrow_order[8] = {s[0], s[2], s[3], s[4], s[5], s[6], s[1], 4};
		const uint64_t wide_order[7] = {s[2], s[3], s[4], s[5], s[6], 4, 0};

		for (unsigned int n = 0; narrow && n < 8; n++)
			kernel_put(f, at + 4 * n, narrow_order[n], 4);
		if (narrow)
			continue;
		kernel_put(f, at, s[0], 4);
		kernel_put(f, at + 4, s[1], 4);
		for (unsigned int n = 0; n < 6; n++)
			kernel_put(f, at + 8 + 8 * n, wide_order[n], 8);
	}
	kernel_put(f, 0x800, 4, 4);
	kernel_put(f, 0x804, 4, 4);
	kernel_put(f, 0x808, 1, 4); /* not yet PVH's */
	memcpy(f->bytes + 0x80c, "Xen", 4);
	kernel_put(f, 0x810, 0x100020, 4);
}

static inline void kernel_write_multiboot(struct kernel_file *f, int narrow, uint64_t base)
{
	kernel_write_elf(f, narrow, base);
	kernel_put_header(f, 0x1004, 3);
}

static inline void kernel_write_pvh(struct kernel_file *f, int narrow, uint64_t base)
{
	kernel_write_elf(f, narrow, base);
	kernel_put(f, 0x808, 18, 4);
}
