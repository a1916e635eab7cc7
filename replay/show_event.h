/*
 * Events for people and programs.
 */
#pragma once

#include <jansson.h>

#include "replay/event.h"

extern const char *const event_kind_names[EVENT_KINDS];

/* One line, to standard output. */
void show_event(const struct event *e);

/* The same as a JSON object; the caller's. NULL: no memory. */
json_t *show_event_json(const struct event *e);
