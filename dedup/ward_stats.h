/*
 * What the scavenger has done for a guest, as JSON; docs/stats.md names the fields.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct ward;

/* The caller's to json_decref(), NULL without memory. Not under the group's lock. */
json_t *ward_stats(const struct ward *w, bool on);
