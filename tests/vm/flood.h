/* hostile console-flood, a guest that prints without end, and readers that do not keep up with it. */
#pragma once

#include <stddef.h>

#include "tests/vm/spawn.h"

/* Makes the pipe that the child prints into as small as can be, so that it is soon full. */
void flood_small_pipe(const struct child *c);

/* Until the child has filled the pipe that nobody reads, and stands still. */
void flood_await_full(const struct child *c);

/* What the guest prints: the same line of 64 bytes, cut at the end. */
void flood_assert(const struct bytes *out, size_t size);
