/*
 * What a guest cannot work out again by itself: one thing that came to it from outside, and where it came. And its bytes in the log
 * (docs/recording-format.md).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/access.h"

enum event_kind {
	EVENT_EXTERNAL,	 /* bytes that a device brought */
	EVENT_CLOCK,	 /* the virtual clock was moved on */
	EVENT_INTERRUPT, /* an interrupt was taken */
	EVENT_CHECKS,	 /* of the accesses before this position: what replay compares */
	EVENT_PAGE,	 /* contents of a page of RAM, for the EVENT_STATE that follows */
	EVENT_STATE,	 /* the guest goes on from there: an asynchronous point */
	EVENT_END,	 /* the last one: the guest has ended */
	EVENT_DIGEST,	 /* registers and RAM as they are here: what replay compares */
	EVENT_MARK,	 /* a place that a guest may be brought back to, or must get to (enum event_mark) */
	EVENT_KINDS
};

/* What is told of where the guest is. */
enum event_mark {
	MARK_BEGUN,  /* nothing comes before the next access, of which something is seen outside before it is complete */
	MARK_SAVED,  /* it was saved as it is here */
	MARK_COPIED, /* what was saved so was written anew, under another identity */
	EVENT_MARKS
};

#define EVENT_ID_BYTES 16u /* of a snapshot's identity */
#define EVENT_EXTERNAL_MOST 32768u /* bytes; more are several events */
#define EVENT_PACKED_MOST 32768u   /* the same */
#define EVENT_CHECKS_MOST 255u
#define EVENT_HOW_MOST 6u /* ways to end; VM_STOPPED */
#define EVENT_PAGING_MOST 31u
#define EVENT_HEAD_MOST 48u /* bytes of an event beside those it brings */
#define EVENT_DIGEST_ROWS_MOST 64u
#define EVENT_DIGEST_REGISTERS 19u /* boundary.h */

/* Of pages that the guest wrote since the digest before, and those between them; by mem_page_number(), ascending. As in the log. */
struct event_row {
	uint32_t page, pages; /* the first one, and how many */
	uint32_t sum;	      /* the lower half of the sum of their digests (ram_digest.h) */
};

struct event {
	enum event_kind kind;
	uint64_t position; /* accesses that were complete */
	union {
		struct {
			enum access_source source;
			uint32_t size;
			const void *bytes; /* whose: see who gives the event */
		} external;
		uint64_t ns; /* that the clock was moved by */
		struct {
			uint8_t vector;
			uint32_t registers; /* a check of them (boundary.h) */
		} interrupt;
		struct {
			uint8_t count; /* not 0; of the accesses up to this position (access_check.h) */
			const uint8_t *bytes; /* one each; whose: see who gives the event */
		} checks;
		struct {
			uint64_t page; /* gpa / PAGE_SIZE; of a state 0 */
			uint32_t size;
			const void *bytes; /* packed (packed.h); whose: see who gives the event */
		} packed;
		struct {
			uint8_t how;  /* enum vm_end_kind, 1 to EVENT_HOW_MOST */
			uint8_t code; /* the guest's own */
			uint64_t ram; /* ram_digest.h */
			uint8_t size;
			const char *paging; /* where that holds (paging_name.h), `size` bytes, none = nowhere; whose: see who gives the event */
		} end;
		struct {
			uint8_t registers; /* EVENT_DIGEST_REGISTERS of 8 bytes; or none: the guest has ended here */
			uint8_t rows;
			uint8_t size;	   /* of `paging`; none: there is no digest of RAM, and no row */
			uint64_t ram;
			const void *register_bytes, *row_bytes; /* whose: see who gives the event */
			const char *paging;			/* as of the end */
		} digest;
		struct {
			enum event_mark what;
			uint8_t id[EVENT_ID_BYTES]; /* of the snapshot; MARK_BEGUN: none */
			uint64_t digest;	    /* MARK_SAVED: of all accesses before (access_check.h) */
			uint8_t of[EVENT_ID_BYTES]; /* MARK_COPIED: the snapshot that it is a copy of */
		} mark;
	};
};

/* A row, and a register, of an EVENT_DIGEST. */
struct event_row event_row(const struct event *e, unsigned int i);
uint64_t event_register(const struct event *e, unsigned int i);

/* At most so many bytes in the log. */
size_t event_room(const struct event *e);

/* Writes the event, which is not before position `from`, to `to`, which has room for it: event_room(). Returns how many bytes. */
size_t event_encode(const struct event *e, uint64_t from, uint8_t *to);

/*
 * Reads the event that `bytes` begin with, which came after position `from`; bytes of it are left where they are. Returns how many
 * there were, or 0: they are no event.
 */
size_t event_decode(struct event *e, uint64_t from, const uint8_t *bytes, size_t size);
