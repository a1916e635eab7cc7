/*
 * Kernels with a multiboot header of version 1: what it asks for.
 * Source: "Multiboot Specification", version 0.6.96, section 3.1.
 *
 * The header lies in the first 8 KiB of a file. Either it says where the file goes, or the file is an ELF file, of 32 or 64 bit,
 * which says that itself; the kernel is entered in 32-bit protected mode in either case.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct image_reason;

#define MULTIBOOT_SEARCH 8192u /* bytes of a file's beginning */

struct multiboot_header {
	uint32_t at; /* offset in the file */
	uint32_t flags;
	/* Valid with multiboot_has_addresses(): physical addresses. */
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* Looks through head[0, size), at most MULTIBOOT_SEARCH bytes. */
bool multiboot_find(const void *head, size_t size, struct multiboot_header *h);

static inline bool multiboot_has_addresses(const struct multiboot_header *h)
{
	return h->flags >> 16 & 1;
}

/* 0, or -ENOEXEC and a reason: the header wants what nobody here can give. */
int multiboot_check(const struct multiboot_header *h, struct image_reason *why);

/* Fills in all of an image whose header has addresses, of a file of file_size bytes. Returns 0 or -ENOEXEC and a reason. */
int multiboot_image_read(struct image *im, const struct multiboot_header *h, uint64_t file_size, struct image_reason *why);
