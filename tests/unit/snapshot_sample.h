/*
 * A capture as a guest might give it, with random contents, for tests of what becomes of it on disk.
 */
#pragma once

#include "snapshot/capture.h"
#include "tests/unit/random.h"

#define SAMPLE_RAM (8ull << 20)

/* Pages that are touched, some of them zero; free with capture_free(). */
void sample_make(struct capture *c, struct random *r);

/* A directory of its own, whose name the caller frees; and its end, with all that is in it. */
char *sample_directory(void);
void sample_remove(char *directory);

/* Whether the two say the same. */
bool sample_same(const struct snapshot *a, const struct snapshot *b);
