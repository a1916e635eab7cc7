/*
 * The page that a look is taken at. Inside look_*.c only.
 */
#pragma once

#include <stdint.h>

struct ward;

/*
 * Where the page's bytes are, which the guest may be writing; NULL: it is absent. Only the scavenging thread makes pages absent, so one
 * that is not stays there while it looks, and reading it raises no fault.
 */
const void *look_page(const struct ward *w, uint64_t page);
