/*
 * What an asynchronous point brings, as bytes of an event: pages of RAM and the state of the vCPU, compressed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replay/event.h"
#include "vmm/cpu_state.h"

/* Zeros take no bytes. Returns how many the page takes, at most PAGE_SIZE: that many are as they are. */
uint32_t packed_page(const void *page, void *to);

/* Returns false where the bytes are no page. */
bool packed_page_out(const void *bytes, uint32_t size, void *page);

/* Into EVENT_PACKED_MOST bytes. Returns how many it takes, or -ENOMEM (not logged). */
int64_t packed_state(const struct cpu_state *cs, void *to);

/* Returns false where the bytes are no state. */
bool packed_state_out(const void *bytes, uint32_t size, struct cpu_state *cs);
