/*
 * Guest images in ELF64: the checks of image.h that are about the file's contents, on libelf.
 * Layout: System V ABI, "Object Files" and "Program Loading"; the machine's number is in the
 * x86-64 supplement.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct image;
struct image_reason;

/*
 * Reads headers, notes and segments from im->fd, a file of file_size bytes that begins with
 * head[0, head_size), and fills in everything but path and fd. Returns 0, or -ENOEXEC and a reason.
 */
int elf_image_read(struct image *im, uint64_t file_size, const void *head, size_t head_size,
		   struct image_reason *why);
