/*
 * What is known of a guest's pages before they are looked at. Those that its balloon reports are zero, and need no look. Those that its image
 * has brought are in other guests, too: they are looked at first.
 */
#pragma once

#include <stdint.h>

struct ward;

/* The vCPU's thread, once a ward is open; until hint_end(), when the guest's thread is gone. */
void hint_begin(struct ward *w);
void hint_end(struct ward *w);

/*
 * Scavenging thread: takes the next run of pages that the image has brought out of the queue of newly idle ones, at most `most`. Returns how
 * many, 0 = there are no more. A run stays in one region of RAM.
 */
unsigned int hint_next_loaded(struct ward *w, unsigned int most, uint64_t *page);
