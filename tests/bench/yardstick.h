/*
 * The mix of memory that scavengers are compared by: in each of two guests a quarter of the pages is zero, a quarter the same as
 * in the other one, a quarter similar (16 to a base, a few words changed), and a quarter random.
 */
#pragma once

#include <stdint.h>

#define YARDSTICK_GUESTS 2u
#define YARDSTICK_GROUP 16u
#define YARDSTICK_SEED 42u

/* Pages of a quarter of a guest with so much RAM; its kernel and its page tables have the rest. */
uint64_t yardstick_quarter(unsigned int mib);

/* The arguments of guest/memory that make it. Only `hot` more pages are written, in every round; so many rounds make a line. */
const char *yardstick_words(unsigned int mib, unsigned int hot, unsigned int report, char words[160]);

/* What such a guest's pages hold, put into memory of this process: 4 quarters. */
void yardstick_fill(uint8_t *bytes, unsigned int mib, unsigned int guest);
