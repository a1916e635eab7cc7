/*
 * The copy of a page that a look is taken from. Inside look_*.c only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ward;

/*
 * Copies a page as it is at the moment; the guest may be writing it. False: it is absent. Only the scavenging thread makes pages
 * absent, so a page that is not stays there while it looks, and reading it raises no fault.
 */
bool look_copy(const struct ward *w, uint64_t page, void *copy);
