#include "compare/dearness.h"

#include <string.h>

#include "compare/amount.h"
#include "compare/cause.h"
#include "compare/label.h"
#include "compare/versus.h"

#define EXIT_SHARE 0.05
#define TABLES_SHARE 0.005
#define HARDLY_AN_EXIT 0.05 /* exits an operation */
#define AN_EXIT 0.5
#define NAMED_CAUSES 3
#define RARE 0.1 /* a cause that is less of the exits is not named */

static double median_us(const struct row *r, unsigned int column)
{
	return spread_of(&r->cell[column].us).median;
}

/* Exits that the dear column has more: do they make up that share of the difference, at the price of bare ones? */
static bool exits_explain(const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap, double share)
{
	double more = r->cell[dear].exits - r->cell[cheap].exits, bare = c->column[dear].bare_exit_us;

	if (bare <= 0 || !cell_has_time(c, r, dear) || !cell_has_time(c, r, cheap))
		return more >= HARDLY_AN_EXIT;
	return more > 0 && more * bare >= share * (median_us(r, dear) - median_us(r, cheap));
}

static bool lets_out_of_sync(const struct cell *cell)
{
	for (unsigned int i = 0; i < cell->causes; i++)
		if (!strcmp(cell->cause[i].name, "unsynced"))
			return cell->cause[i].per_operation > 0;
	return false;
}

static bool price_explains(const struct row *r, unsigned int dear, unsigned int cheap)
{
	double exits = r->cell[dear].exits, others = r->cell[cheap].exits;

	return others >= AN_EXIT && exits >= others * (1 - EXIT_SHARE) && exits <= others * (1 + EXIT_SHARE);
}

static bool walk_explains(const struct row *r, unsigned int dear, unsigned int cheap)
{
	const struct cell *d = &r->cell[dear], *e = &r->cell[cheap];

	return d->exits < HARDLY_AN_EXIT && e->exits < HARDLY_AN_EXIT && e->walk.references &&
	       d->walk.references > e->walk.references;
}

enum dearness dearness_of(const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap)
{
	const struct column *column = &c->column[dear];

	if (exits_explain(c, r, dear, cheap, EXIT_SHARE))
		return DEAR_EXITS;
	if (lets_out_of_sync(&r->cell[dear]) && exits_explain(c, r, dear, cheap, TABLES_SHARE))
		return DEAR_TABLES;
	if (price_explains(r, dear, cheap))
		return DEAR_PRICE;
	if (walk_explains(r, dear, cheap))
		return DEAR_WALK;
	if (column_is_shadow(column))
		return DEAR_UNKNOWN;
	if (column->ring0_interpreted)
		return DEAR_INTERPRETED;
	return column->nested ? DEAR_UNKNOWN : DEAR_IN_KERNEL;
}

/* ": 1.00 system calls and 1.00 returns from the kernel" */
static void print_causes(FILE *out, const struct cell *cell)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];
	unsigned int n = exit_causes(cell, list), last = 0;
	char count[AMOUNT_ROOM];

	while (last < n && last < NAMED_CAUSES && list[last].per_operation >= RARE * cell->exits)
		last++;
	for (unsigned int i = 0; i < last; i++)
		fprintf(out, "%s%s %s", i == 0 ? ": " : i + 1 == last ? " and " : ", ",
			amount_count(count, list[i].per_operation), list[i].words);
}

/* What bare exits alone would cost, beside the time. */
static void print_price(FILE *out, const struct comparison *c, const struct row *r, unsigned int column)
{
	double exits = r->cell[column].exits, bare = c->column[column].bare_exit_us, us = median_us(r, column);
	char price[AMOUNT_ROOM], time[AMOUNT_ROOM], share[AMOUNT_ROOM], times[AMOUNT_ROOM];

	if (bare <= 0 || us <= 0 || !cell_has_time(c, r, column))
		return;
	fprintf(out, "; bare exits, %s each, would be %s of its %s: with what goes with it an exit costs as much as %s of them",
		amount_time(price, bare), amount_share(share, exits * bare / us), amount_time(time, us),
		amount_count(times, us / exits / bare));
}

static void explain_exits(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap)
{
	char count[AMOUNT_ROOM], other[AMOUNT_ROOM], name[LABEL_ROOM];

	fprintf(out, "%s exits an operation, %s in %s", amount_count(count, r->cell[dear].exits),
		amount_count(other, r->cell[cheap].exits), label(name, c->column[cheap].name));
	print_causes(out, &r->cell[dear]);
	print_price(out, c, r, dear);
}

static void explain_tables(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear)
{
	char count[AMOUNT_ROOM];

	fprintf(out, "only %s exits an operation, but each has whole tables to look through that were let out of sync",
		amount_count(count, r->cell[dear].exits));
	print_price(out, c, r, dear);
}

static void explain_price(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear)
{
	char count[AMOUNT_ROOM];

	fprintf(out, "both leave the guest, with %s exits an operation here", amount_count(count, r->cell[dear].exits));
	print_causes(out, &r->cell[dear]);
	print_price(out, c, r, dear);
}

static void explain_walk(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap)
{
	char name[LABEL_ROOM];

	fprintf(out, "a TLB miss takes up to %u references, in %s %u, and neither leaves the guest",
		r->cell[dear].walk.references, label(name, c->column[cheap].name), r->cell[cheap].walk.references);
}

static void explain_rest(FILE *out, const struct row *r, unsigned int dear, const char *why)
{
	char count[AMOUNT_ROOM];

	fprintf(out, "%s (%s exits an operation)", why, amount_count(count, r->cell[dear].exits));
}

void explain_cell(FILE *out, const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap)
{
	switch (dearness_of(c, r, dear, cheap)) {
	case DEAR_EXITS:
		explain_exits(out, c, r, dear, cheap);
		return;
	case DEAR_TABLES:
		explain_tables(out, c, r, dear);
		return;
	case DEAR_PRICE:
		explain_price(out, c, r, dear);
		return;
	case DEAR_WALK:
		explain_walk(out, c, r, dear, cheap);
		return;
	case DEAR_INTERPRETED:
		explain_rest(out, r, dear, "exits do not explain it: KVM interprets each instruction of the guest's ring 0");
		return;
	case DEAR_IN_KERNEL:
		explain_rest(out, r, dear, "exits do not explain it: KVM keeps shadow tables inside the kernel");
		return;
	default:
		explain_rest(out, r, dear, "nothing that was counted explains it");
	}
}

/* Two scales, one after the other: a ratio that is said always comes first. */
struct badness {
	double ratio, exits;
};

static struct badness badness_of(const struct comparison *c, const struct row *r, unsigned int shadow, unsigned int cheap)
{
	struct verdict v = versus(c, r, shadow, cheap);
	const struct cell *a = &r->cell[shadow], *b = &r->cell[cheap];

	if (v.kind == VERDICT_DIFFERS)
		return (struct badness){.ratio = v.ratio > 1 ? v.ratio : 0};
	if (v.kind != VERDICT_NONE || a->kind != CELL_MEASURED || b->kind != CELL_MEASURED)
		return (struct badness){0};
	return (struct badness){.exits = a->exits - b->exits};
}

static bool is_worse(struct badness a, struct badness b)
{
	return a.ratio != b.ratio ? a.ratio > b.ratio : a.exits > b.exits;
}

size_t explain_worst(const struct comparison *c, unsigned int shadow, unsigned int cheap, const struct row **rows,
		     size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < c->rows; i++) {
		struct badness b = badness_of(c, &c->row[i], shadow, cheap);
		size_t at = n;

		if (b.ratio <= 0 && b.exits <= HARDLY_AN_EXIT)
			continue;
		while (at > 0 && is_worse(b, badness_of(c, rows[at - 1], shadow, cheap)))
			at--;
		if (at == room)
			continue;
		n += n < room;
		for (size_t j = n - 1; j > at; j--)
			rows[j] = rows[j - 1];
		rows[at] = &c->row[i];
	}
	return n;
}
