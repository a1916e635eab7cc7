/*
 * A VM from a snapshot: the same machine is made again, and goes on at the instruction at which it was saved, in any MMU mode.
 */
#pragma once

#include <stdbool.h>

#include "snapshot/image_reader.h"
#include "vmm/image.h"
#include "vmm/solo5_options.h"
#include "vmm/vm.h"

struct lazy_ram;
struct shared_ram;

struct restore {
	struct vm_origin origin;
	const struct image_reader *reader;
	const struct shared_ram *shared; /* RAM that is mapped, NULL = none */
	struct lazy_ram *lazy;		 /* or RAM that comes when it is touched; neither: it is read */
	bool clones;			 /* guests get identities of their own */
	bool clock_now; /* the wall clock jumps to the host's time; else it goes on where it was */
	struct image image; /* of the copy in the snapshot */
	struct solo5_options solo5; 
	char *solo5_text;	    /* what they point into */
};

/*
 * What a VM of the reader's snapshot needs, which must outlive it: opens the guest image, and joins the Solo5 devices that the
 * guest had with those that are given now. Returns 0 or a logged -errno.
 */
int restore_open(struct restore *r, const struct image_reader *reader, const struct solo5_options *given, bool clock_now);
void restore_close(struct restore *r);

/* From here on guests have this RAM, which must outlive them. Clones share it, and have identities of their own. */
void restore_share(struct restore *r, const struct shared_ram *shared, bool clones);

/* The same for the one guest whose RAM comes when it is touched. */
void restore_lazily(struct restore *r, struct lazy_ram *lazy);

/* Has the configuration make the snapshot's machine. Disks, console and MMU mode are the caller's to say. */
void restore_configure(const struct restore *r, struct vm_config *config);
