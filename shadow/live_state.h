/*
 * Parts of cs that live in the real CPU while the guest runs, and need not be fetched whenever it stops: SSE registers, MSRs,
 * debug registers. Both functions return 0 or a logged -errno.
 */
#pragma once

struct shadow_vm;

/* Reads them for an export. */
int live_state_get(struct shadow_vm *s);

/* Writes them after an import. */
int live_state_set(struct shadow_vm *s);
