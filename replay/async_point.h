/*
 * An asynchronous point that a guest under a debugger is to walk to, executing what it executed when it was recorded, instead of being put
 * there: what the log says of it, gathered until the guest has got there, or has to be put there after all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replay/event.h"
#include "vmm/cpu_state.h"

struct mem;

struct async_page {
	uint64_t number; /* gpa / PAGE_SIZE */
	uint32_t size;
	uint8_t *bytes; /* packed (packed.h) */
};

struct async_point {
	bool whole; /* the state has come, too */
	struct cpu_state cpu;
	struct async_page *page;
	size_t count;
};

/* Returns 0, or -ENOMEM, or -EBADMSG: there can be no such page, or no such state. */
int async_point_add_page(struct async_point *p, const struct event *e, const struct mem *m);
int async_point_add_state(struct async_point *p, const struct event *e);

/*
 * Whether the guest stands there: the registers are those of the point, and all that was written up to there is in RAM, but for what modes
 * and hosts do in ways of their own (boundary.h; marks in page tables). The second takes longer, and wants the guest's RAM as it is.
 */
bool async_point_has_registers(const struct async_point *p, const struct cpu_state *cs);
bool async_point_has_pages(const struct async_point *p, struct mem *m);

/* Whether the page was written before the point, since the one before it. */
bool async_point_has_page(const struct async_point *p, uint64_t number);

/* Writes the pages. */
void async_point_put(const struct async_point *p, struct mem *m);

/* Nothing is gathered any more. */
void async_point_forget(struct async_point *p);
