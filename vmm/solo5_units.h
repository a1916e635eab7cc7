/*
 * The devices of one Solo5 unikernel: what its manifest wants, opened as the command line says. All of the manifest must be
 * given, and nothing else.
 */
#pragma once

#include <stdbool.h>

#include "vmm/solo5_abi.h"
#include "vmm/solo5_block.h"
#include "vmm/solo5_net.h"

struct image;
struct solo5_options;

struct solo5_unit {
	enum solo5_type type;
	bool open;
	bool absent; /* there is none: a recording knows what came of it */
	char *where; /* the file or interface, as it was named; owned */
	union {
		struct solo5_block block;
		struct solo5_net net;
	};
};

struct solo5_units {
	unsigned int count;			  /* handles; the first one is no device */
	struct solo5_unit unit[SOLO5_MAX_ENTRIES]; /* by handle */
};

/*
 * Opens the devices. Returns 0 or a logged -errno with nothing left open: -EINVAL where command line and manifest do not agree,
 * or where an image that is no unikernel is given such devices. `absent`: nothing is opened (access.h says what comes of it).
 */
int solo5_units_open(struct solo5_units *u, const struct image *im, const struct solo5_options *options, bool absent);
void solo5_units_close(struct solo5_units *u);

/* The device of a handle that the unikernel named, if it is one of that type, or NULL. */
struct solo5_unit *solo5_unit_of(struct solo5_units *u, uint64_t handle, enum solo5_type type);
