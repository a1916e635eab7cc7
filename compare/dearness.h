/*
 * Why one column is dearer than another in a row. Everything is derived from the cells; nothing is known
 * beforehand but what an exit, a page walk and an interpreted instruction are.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "compare/comparison.h"

enum dearness {
	DEAR_EXITS,	  /* it leaves the guest more often */
	DEAR_TABLES,	  /* it leaves the guest seldom, but looks through whole tables then */
	DEAR_PRICE,	  /* it leaves the guest as often, and an exit costs it more */
	DEAR_WALK,	  /* a TLB miss costs more references */
	DEAR_INTERPRETED, /* KVM interprets the guest's ring 0 there */
	DEAR_IN_KERNEL,	  /* KVM keeps shadow tables itself: work inside the kernel, which no exit to this program shows */
	DEAR_UNKNOWN,	  /* nothing that was counted explains it */
	DEAR_KINDS
};

/*
 * Exits are the cause if at the price of bare ones those that the dear column has more make up a twentieth
 * of the difference: what comes with an exit (the way through ring 3, decoding, editing tables) is several
 * times its floor. Where tables of the guest were let out of sync (the mode counts it), a two-hundredth
 * will do: all entries are compared at the next exit. The price of an exit is, if both leave the guest
 * equally often. The longer walk is, if neither leaves it once in twenty operations. The other causes are
 * what the host does, where it does it.
 */
enum dearness dearness_of(const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap);

/* One sentence on that, without a newline. */
void explain_cell(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap);

/*
 * The rows in which a column of shadow mode does worst beside `cheap`, worst first: by the ratio of times,
 * and behind them, where times say nothing, by exits more. At most `room` are put into rows[]; returns how
 * many.
 */
size_t explain_worst(const struct comparison *c, unsigned int shadow, unsigned int cheap, const struct row **rows,
		     size_t room);
