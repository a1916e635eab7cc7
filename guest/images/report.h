/* report: what its parts share: a started balloon, a field of pages, and what each page holds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/virtio.h"

#define BALLOON_REPORTING (1ull << 5)
#define BALLOON_REPORTS 4u	   /* by the standard, */
#define BALLOON_REPORTS_COMPACT 2u /* and by Linux */

struct field {
	struct virtio balloon;
	unsigned int queue; /* of reports */
	uint64_t pages;
	uint8_t *page;	 /* the first one's */
	uint64_t *value; /* of each: 0 = all zero */
};

/* Finds the balloon, starts it, and has a field of zero pages; the guest ends if one of them is not to be had. */
void field_open(struct field *f, uint64_t pages);

/* Gives a page a value, but for 0 one that no other has. */
void field_write(struct field *f, uint64_t page, uint64_t value);

/* How many pages do not hold their values. */
uint64_t field_wrong(const struct field *f);

/* Reports bytes [at, at + size) of the field as buffer i of a chain, of which more come; flags as of a descriptor. */
void field_describe(struct field *f, unsigned int queue, unsigned int i, uint64_t at, uint64_t size, unsigned int flags);

/* The whole pages of [at, at + size) are zero from now on, as far as the field knows. */
void field_forget(struct field *f, uint64_t at, uint64_t size);

/* Gives the chain from buffer 0 on to the device; false if that needs a reset. */
bool field_send(struct field *f, unsigned int queue);

/* Says how many of the hostile cases did harm. */
int report_hostile(struct field *f);
