/*
 * A guest from launch to end through several processes: interrupted at random moments, saved, and brought back in another MMU
 * mode, in each of the ways there are (round_trip.c has the table). Its output and its status are to be those of a guest left
 * alone.
 */
#pragma once

#include <stdint.h>

#include "tests/unit/random.h"
#include "tests/vm/spawn.h"

enum trip_modes {
	EVERY_MODE,
	NOT_INTERPRETED, /* its ring 0 has SSE: in direct mode only where that is not interpreted */
	NESTED,		 /* in direct mode only where the CPU translates: KVM's own shadows cannot do what it does */
	DIRECT_MODE,
};

/* What prints the same whenever it runs. */
struct trip_guest {
	const char *words; /* options, image and arguments of `run` */
	const char *input; /* NULL: none */
	const char *options; /* NULL, or further ones of every process, with a blank behind */
	enum trip_modes modes;
	int status;
};

/* The guest left alone. *us: how long it took. */
struct outcome trip_whole(const struct trip_guest *g, uint64_t *us, struct random *r);

/*
 * Up to `stops` interruptions, each within about `us`. Fails the test unless the guest says and ends as `whole` did. Returns
 * how many there were: fewer if the guest was faster.
 */
unsigned int trip(const struct trip_guest *g, const struct outcome *whole, unsigned int stops, uint64_t us, struct random *r);

/* The words of `restore` for a snapshot that must be refused: of one of the ways that check all of it before the guest runs. */
const char *trip_restore_words(struct random *r);
