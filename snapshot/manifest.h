/*
 * What a snapshot says of the machine it was taken of: enough to make the same machine again (docs/snapshot-format.md). One
 * visitor for both directions; what it has loaded is checked, and all its texts are there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/checksum.h"
#include "vmm/cpu_model.h"
#include "vmm/disk.h"
#include "vmm/solo5_abi.h"

struct state;

struct manifest_disk {
	char *path;
	uint8_t use; /* enum disk_use */
};

/* A device of a Solo5 unikernel. */
struct manifest_unit {
	char *name, *where;
	bool block;
	uint16_t sector; /* of a block device */
	uint8_t mac[6];	 /* of a network device */
};

struct manifest {
	char *program;	     /* version of what took it */
	char *mmu;	     /* mode the guest was in: for people, it may go on in any */
	uint64_t taken_ns;   /* since 1970 UTC */
	uint64_t ram;	     /* bytes */
	uint64_t position;   /* accesses completed */
	char *image;	     /* the name it was launched by: for people, the snapshot has a copy */
	uint64_t image_size; /* of the copy */
	struct checksum128 image_checksum;
	uint32_t feature_count;
	char *feature[CPU_MODEL_MAX_FEATURES];
	uint32_t disk_count;
	struct manifest_disk disk[DISK_MAX];
	bool virtio_console;
	bool balloon;
	uint32_t unit_count;
	struct manifest_unit unit[SOLO5_MAX_ENTRIES];
};

/* A load starts from one that is all zero, and so does who fills it; free after a failed load, too. */
void manifest_visit(struct manifest *m, struct state *s);
void manifest_free(struct manifest *m);

/* A text of at most TEXT_MAX bytes. Loading: *text is the caller's to free, NULL where the state is bad. */
#define TEXT_MAX 4096u
void visit_text(char **text, struct state *s);
