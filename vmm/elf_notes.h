/*
 * The notes of an ELF file: what it says of itself that it is, a guest image, a kernel, a unikernel, or a program of some
 * system.
 * Layout: System V ABI, "Note Section".
 */
#pragma once

#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/image.h"

struct elf_notes {
	bool ours;	     /* Penumbra's note; its version is the image's abi_version */
	bool pvh;	     /* the note with PVH's entry */
	uint64_t pvh_entry;  /* physical */
	const char *foreign; /* what the file is instead, if a note or an interpreter says so */
	int solo5_error;     /* -errno of notes of Solo5 that are not right, for solo5_why: it matters in a unikernel */
	struct image_reason solo5_why;
};

/*
 * Reads the notes that the `count` program headers of an ELF file of file_size bytes lead to, and fills in im->abi_version and
 * im->solo5. Returns 0 or -ENOEXEC (another errno where libelf failed for lack of something) and a reason.
 */
int elf_notes_read(struct elf_notes *notes, struct image *im, Elf *elf, unsigned int count, uint64_t file_size,
		   struct image_reason *why);
