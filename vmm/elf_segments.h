/*
 * The PT_LOAD segments of an ELF file, 32 or 64 bit, as segments of an image.
 * Layout: System V ABI, "Program Loading".
 */
#pragma once

#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>

struct image;
struct image_reason;

#define ELF_RANGE "0x%" PRIx64 " + 0x%" PRIx64

/*
 * Fills in im->segment, segment_count, low and top from the `count` program headers of an ELF file of file_size bytes. What image.h
 * says of segments is checked. `seen` is told of each in the file's order, after its checks; a segment of no bytes is passed
 * over. Returns 0 or -ENOEXEC (another errno where libelf failed for lack of something) and a reason.
 */
int elf_segments_read(struct image *im, Elf *elf, unsigned int count, uint64_t file_size,
		      void (*seen)(void *arg, const GElf_Phdr *ph), void *arg, struct image_reason *why);

/* Whether [offset, offset + size) is part of a file of so many bytes. */
bool elf_inside_file(uint64_t offset, uint64_t size, uint64_t file_size);

/* What libelf refuses is the file's fault, unless memory or the disk gave out under it; errno was 0 before. */
int elf_refuse(struct image_reason *why, const char *what);
