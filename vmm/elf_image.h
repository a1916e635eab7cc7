/*
 * Guest images in ELF files, Penumbra's, PVH's, multiboot's and Solo5's: the checks of image.h that are about the file's
 * contents, on libelf. Here is what kind of image a file is and where it is entered; its header, notes and segments are
 * elf_header.h's, elf_notes.h's and elf_segments.h's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct image;
struct image_reason;
struct multiboot_header;

/*
 * Reads headers, notes and segments from im->fd, a file of file_size bytes that begins with
 * head[0, head_size), and fills in everything but path and fd. `multiboot` is the header found in it, without addresses, or
 * NULL. An image may be of several kinds: then it is Penumbra's before PVH before multiboot. Returns 0, or -ENOEXEC and a reason.
 */
int elf_image_read(struct image *im, uint64_t file_size, const void *head, size_t head_size,
		   const struct multiboot_header *multiboot, struct image_reason *why);
