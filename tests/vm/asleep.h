/* What a child is doing, by its threads' states: an event to wait for where otherwise a test would have to guess a time. */
#pragma once

#include "tests/vm/spawn.h"

/*
 * Waits until no thread of the child has run for a moment: it stands still and waits for somebody. A thread that waits for
 * a processor is not asleep, however long that takes on a loaded host.
 */
void await_asleep(const struct child *c);

/* Waits until the child has become the program and takes care of this signal itself. */
void await_signal_ready(const struct child *c, int signal);
