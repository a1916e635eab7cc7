/*
 * Frames that the guest may not touch unseen, for a debugger: their sptes lack rights that the guest's tables give. An access that
 * lacks one opens the guard of its frame for one instruction. tables_guard() and tables_close_guards() of tables.h are here. Internal
 * to the tables.
 */
#pragma once

#include "shadow/shadow_page.h"

/* `rights` of a 4 KiB spte that leads to the frame, as far as its guard lets them through: 0 if none is to be present. */
uint64_t guard_rights(const struct tables *t, uint64_t gfn, uint64_t rights);

/* Whether a frame of the 2 MiB page at gpa has a guard. */
bool guard_in_large(const struct tables *t, uint64_t gpa);

/* An access (enum mmu_access) is about to happen: opens the frame's guard if it stands against it. Returns whether it did. */
bool guard_open(struct tables *t, uint64_t gfn, unsigned int access);
