/*
 * The pager of cold pages: how they come back to their guest, the one way there is.
 */
#pragma once

struct ward;

#define COLD_AHEAD 16u /* pages at a time, at most, to a guest that reads on where it was */

void cold_ram_init(struct ward *w);
