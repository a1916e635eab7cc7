/*
 * An oracle for what a timeline says of the way from one checkpoint on to the next: RAM as it was at its beginning, page by page, and the
 * page that the guest was about to execute from.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct timeline;
struct vm;

struct way {
	uint64_t from;	  /* position */
	uint64_t code;	  /* gpa; UINT64_MAX: nobody knows */
	uint64_t *digest; /* by page; NULL: none has begun */
	unsigned int unwritten, unused; /* pages that the timeline has told so of, on all ways */
};

/* At a checkpoint; whether what comes next is executed, and not brought by a log. */
void way_begin(struct way *w, struct vm *vm, bool executes);

/* At a checkpoint further on: no page has changed of which it was said that it is not written, and what was executed was used. */
void way_end(struct way *w, struct vm *vm, const struct timeline *t);

void way_forget(struct way *w);
