/* Where the image paging performs its cases: an address of its own, with a table for each level. */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/images/paging_cases.h"

/*
 * Call once: makes the tables and goes on with `run`, on a stack that traps of ring 3 leave alone. From now on the
 * kernel's pages are mapped without NX, which is a reserved bit while EFER.NXE is off.
 */
noreturn void paging_try_start(void (*run)(void));

/* Performs a case and tells its result (RESULT_*). */
uint32_t paging_try(const struct paging_case *c);
