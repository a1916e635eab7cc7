/*
 * Block devices of a Solo5 unikernel: a disk, written and read in whole sectors straight from and to guest RAM. The interface
 * has no flush: what is written is as safe as any program's write().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/disk.h"

struct solo5_block {
	struct disk disk; /* all of its bytes are whole sectors */
	uint16_t sector;  /* bytes, a power of two, DISK_SECTOR or more */
};

/*
 * Opens the file, whose name must outlive the device, to read and write: nobody else has it as a disk meanwhile. A sector of 0
 * bytes is DISK_SECTOR. Returns 0 or a logged -errno.
 */
int solo5_block_open(struct solo5_block *b, const char *path, uint16_t sector);
void solo5_block_close(struct solo5_block *b);

/* "4096" -> sector size. Returns 0 or -EINVAL (not logged). */
int solo5_block_parse_sector(const char *text, uint16_t *sector);

/* Whether [offset, offset + size) is some sectors of the device. */
bool solo5_block_has(const struct solo5_block *b, uint64_t offset, uint64_t size);

/* Moves all of these bytes. Returns 0 or -errno as disk.h says: some may have been moved then. */
int solo5_block_read(struct solo5_block *b, uint64_t offset, void *to, size_t size);
int solo5_block_write(struct solo5_block *b, uint64_t offset, void *from, size_t size);
