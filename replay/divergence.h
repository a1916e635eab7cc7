/*
 * The first thing that was not as it was recorded, and how it is told.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/event.h"
#include "vmm/access.h"

struct program;
struct vm;

#define DIVERGENCE_LAST 8u /* things that are shown which went as they did */
#define DIVERGENCE_TEXT_ROOM 200u

enum divergence_kind {
	DIVERGED_ACCESS,    /* the guest made another access, or a device answered otherwise */
	DIVERGED_ARRIVAL,   /* what came to the guest there cannot come */
	DIVERGED_REGISTERS,
	DIVERGED_RAM,
	DIVERGED_END,
	DIVERGED_KINDS
};

/* Something that happened as it was recorded. */
struct passed {
	uint64_t position;
	bool is_event;
	union {
		struct access access;
		struct event event; /* its bytes are gone */
	};
};

struct passed_ring {
	uint64_t count;
	struct passed last[DIVERGENCE_LAST]; /* by count, modulo */
};

void passed_access(struct passed_ring *p, uint64_t position, const struct access *a);
void passed_event(struct passed_ring *p, const struct event *e);

struct divergence {
	enum divergence_kind kind;
	uint64_t position;    /* the last one of which nothing is known to be wrong */
	uint64_t right;	      /* of the last digest that was right; UINT64_MAX: there was none */
	char what[DIVERGENCE_TEXT_ROOM];
	char expected[DIVERGENCE_TEXT_ROOM], found[DIVERGENCE_TEXT_ROOM]; /* may be empty */
	bool has_access;
	struct access access; /* that was found where another was */
};

/* What the log says next, in words: it was to come, or came. Returns `text`. */
const char *divergence_event(char text[DIVERGENCE_TEXT_ROOM], const struct event *e);

/* Says all but the divergence itself: what went before, what was expected and found, and what the cause may be. */
void divergence_say(const struct divergence *d, const struct passed_ring *before, const struct program *p, const struct vm *vm);

/* What the cause may be. Returns `text`, 512 bytes. */
const char *divergence_cause(char *text, enum divergence_kind kind, const struct program *p, const struct vm *vm);
