/*
 * What the notes of a Solo5 unikernel say (solo5_abi.h): for which interface it was built, and its manifest of devices.
 *
 * Notes are read as Solo5's own launcher does: names and descriptors are padded to 4 bytes whatever the segment's alignment
 * says, which is where general ELF libraries read them differently.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/solo5_abi.h"

struct image_reason;

struct solo5_device_wanted {
	char name[SOLO5_NAME_MAX + 1]; /* letters and digits */
	enum solo5_type type;	       /* SOLO5_BLOCK or SOLO5_NET */
};

struct solo5_manifest {
	bool has_abi, has_manifest;
	uint32_t target, version; /* of the interface */
	unsigned int count;	  /* entries, with the nameless first one */
	struct solo5_device_wanted wanted[SOLO5_MAX_ENTRIES];
};

/*
 * Reads the Solo5 notes among the notes bytes[0, size) of one PT_NOTE whose alignment is `align`; may be called once for each
 * such segment. Others' notes are passed over. Returns 0, or -ENOEXEC and a reason: notes that do not fit their place, a
 * manifest that lies, or what is there twice.
 */
int solo5_notes_read(struct solo5_manifest *m, const void *bytes, size_t size, uint64_t align, struct image_reason *why);

/* After all notes: whether they make a unikernel that we can run. Returns 0, or -ENOEXEC and a reason. */
int solo5_manifest_check(const struct solo5_manifest *m, struct image_reason *why);

/* Handle of the device of that name, 0 = none. */
unsigned int solo5_manifest_find(const struct solo5_manifest *m, const char *name);

/* "block" or "net". */
const char *solo5_type_name(enum solo5_type type);

/* Whether a name is one that a manifest may have: 1 to SOLO5_NAME_MAX letters and digits. */
bool solo5_name_is_good(const char *name, size_t length);
