/*
 * Linux kernels as bzImage files: what their setup header says.
 * Source: Linux documentation, "The Linux/x86 Boot Protocol" (arch/x86/boot.rst), version 2.10 and later.
 *
 * File: boot sector and setup code, then the protected-mode part, of which all goes to guest RAM as it is. The header begins at
 * 0x1f1. Kernels of 64 bits are entered in 64-bit mode, 0x200 bytes into that part, others in 32-bit mode at its beginning.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;
struct image_reason;

#define LINUX_HEADER 0x1f1u	/* offset in the file and in the zero page */
#define LINUX_HEADER_MAX 0x100u /* it ends before 0x2f1 at most: at 0x202 + the byte at 0x201 */

/* Does a file that begins with head[0, size) say that it is a Linux kernel? */
bool linux_image_is(const void *head, size_t size);

/*
 * Checks the header of im->fd, a file of file_size bytes that begins with head[0, size), and fills in everything but path and
 * fd: one segment, which is the protected-mode part with the memory that it says it needs to unpack. Returns 0 or -ENOEXEC and a
 * reason.
 */
int linux_image_read(struct image *im, uint64_t file_size, const void *head, size_t size, struct image_reason *why);
