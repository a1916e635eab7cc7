/*
 * Logs of recordings that somebody has changed: with right checksums, and something else in them. Failures are the test's.
 */
#pragma once

#include "replay/event.h"

enum verdict { KEEP, DROP };

/* How many events of this kind the log has. */
unsigned int logged(const char *path, enum event_kind kind);

/* Writes the log at `from`, which is whole, to `to`; `edit` may change each event, or have it left out. */
void edit_log(const char *from, const char *to, enum verdict (*edit)(void *arg, struct event *e), void *arg);
