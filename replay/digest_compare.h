/*
 * A digest event beside what is found: what differs, and where.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/boundary.h"
#include "replay/event.h"

struct state_digest;

#define DIGEST_TEXT_ROOM 200u

enum digest_verdict { DIGEST_SAME, DIGEST_REGISTERS_DIFFER, DIGEST_RAM_DIFFERS, DIGEST_NONSENSE /* names pages that are no RAM */ };

struct digest_difference {
	char what[DIGEST_TEXT_ROOM], expected[DIGEST_TEXT_ROOM], found[DIGEST_TEXT_ROOM];
};

/*
 * `at` = NULL: registers are not compared; `ram` = NULL: RAM is not, else it was just taken. `follows`: the time before, it was taken at the
 * event before this one, so what became another since is what the guest wrote since. *d is filled in where there is a difference.
 */
enum digest_verdict digest_compare(const struct event *e, const struct boundary *at, const struct state_digest *ram, bool follows,
				   struct digest_difference *d);
