/*
 * What going back needs of going on. Internal to travel.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "replay/travel.h"

/* That set of points, and no others. Returns 0 or a logged -errno. */
int travel_use_points(struct travel *t, size_t points);

/* To the place, with none of the user's points. Returns 0 or -errno: -ESRCH, not logged: the guest ended, or was interrupted, on the way. */
int travel_go(struct travel *t, const struct place *p);

/* There, with the user's points: `end`, or TRAVEL_OVER. */
enum travel_end travel_stand_at(struct travel *t, const struct place *p, enum travel_end end);

/*
 * The guest has ended: whether that is because it was led past the asynchronous point that it walked to, executing something else than it did
 * then. In that case it is put there from now on, and stands `here` again, which is the point itself if it was on the way to it.
 */
bool travel_puts_instead(struct travel *t);
