/*
 * State visitor: one function per device or CPU part describes its state field by field, and runs in both directions,
 * so that saving and loading cannot drift apart:
 *
 *	void uart_visit(struct uart *u, struct state *s)
 *	{
 *		state_begin(s, "uart", 1);
 *		state_u8(s, &u->ier);
 *		state_check(s, !(u->ier & 0xf0), "uart: reserved interrupt enables");
 *		state_end(s);
 *	}
 *
 * Bytes: a section is its name (8 bytes, zero padded), version (u32), payload length (u32), payload; fields are little
 * endian, unpadded; sections nest. Everything read is hostile: the first error sticks, later reads give zeros, and the
 * caller asks once at the end with state_error().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_direction { STATE_SAVE, STATE_LOAD };

#define STATE_MAX_DEPTH 4

struct state {
	enum state_direction direction;
	uint8_t *bytes;	 /* save: owned by the state, grows; load: the caller's, not written */
	size_t size;	 /* bytes used (save) or available (load) */
	size_t capacity; /* save only */
	size_t at;	 /* load: next byte to read */
	int depth;
	size_t section[STATE_MAX_DEPTH]; /* save: offset of each open section's header; load: offset of its end */
	const char *error;		 /* first thing that went wrong, a constant string; NULL = nothing */
};

/* A state to save into. Free with state_free(). */
void state_save_init(struct state *s);

/* A state that reads from bytes[0, size), which must outlive it. */
void state_load_init(struct state *s, const void *bytes, size_t size);

void state_free(struct state *s);

/* True while loading: for fields that are recomputed instead of stored. */
bool state_loading(const struct state *s);

/*
 * Opens section `name` (at most 8 characters), saving as `version`. Loading accepts versions 1..version and returns the
 * one found (0 on error), so that a visitor can skip fields an older version did not have.
 */
uint32_t state_begin(struct state *s, const char *name, uint32_t version);

/* Closes the innermost section. Loading: bytes of it left unread are an error. */
void state_end(struct state *s);

void state_u8(struct state *s, uint8_t *v);
void state_u16(struct state *s, uint16_t *v);
void state_u32(struct state *s, uint32_t *v);
void state_u64(struct state *s, uint64_t *v);
void state_bool(struct state *s, bool *v); /* any byte but 0 and 1 is an error */
void state_bytes(struct state *s, void *v, size_t size);

/* Loading: unless ok, the state is bad for the reason `why` (a constant string). Saving: ok must hold (our bug). */
void state_check(struct state *s, bool ok, const char *why);

/* NULL, or what was wrong first. A load is whole only if everything was read: depth 0 and no byte left over. */
const char *state_error(struct state *s);
