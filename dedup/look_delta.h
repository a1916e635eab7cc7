/*
 * What a cold page resembles, and what differs: a slot of the pool, or a resident page that would become one. Inside look_*.c only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dedup/codec.h"

struct group;
struct look;
struct ward;

struct delta {
	unsigned int size; /* of bytes; 0 = nothing was found */
	uint8_t bytes[CODEC_MOST];
	uint32_t slot;	   /* what it is against, needed; or, with a ward, still to be made */
	struct ward *ward; /* whose page the reference is; its bytes are in l->reference */
	uint64_t page;
};

/* For page i of the look, of which there is a copy and a sketch. */
void look_for_delta(struct look *l, struct ward *w, uint64_t page, unsigned int i, struct delta *d);

/* It is not wanted: what it needs is released. */
void delta_forget(struct group *g, const struct delta *d);

/*
 * Sees to it that there is a slot: the page that the delta is against goes cold itself, as what it was. False: there is no room for
 * one, and nothing is needed any more.
 */
bool delta_make_reference(struct look *l, struct delta *d);
