#include "compare/explain.h"

#include <stdlib.h>
#include <string.h>

#include "compare/amount.h"
#include "compare/column.h"
#include "compare/dearness.h"
#include "compare/label.h"
#include "compare/versus.h"

#define WORST 3
#define EXAMPLES 3 /* rows named for a cause */
#define AN_EXIT 0.5 /* exits an operation from which a row tells the price of one */

/* Rows in which one column is dearer than the other for one reason. */
struct reason {
	unsigned int rows, examples;
	const struct row *example[EXAMPLES]; /* the farthest from equal, farthest first */
	double far[EXAMPLES];
};

/* What a pair of columns comes to. */
struct outcome {
	unsigned int rows, same, noise;
	struct reason loses[DEAR_KINDS], wins[DEAR_KINDS];
};

static const char *plural(unsigned int n)
{
	return n == 1 ? "" : "s";
}

static void add_example(struct reason *reason, const struct row *r, double far)
{
	unsigned int at = reason->examples;

	reason->rows++;
	while (at > 0 && far > reason->far[at - 1])
		at--;
	if (at == EXAMPLES)
		return;
	reason->examples += reason->examples < EXAMPLES;
	for (unsigned int i = reason->examples - 1; i > at; i--) {
		reason->example[i] = reason->example[i - 1];
		reason->far[i] = reason->far[i - 1];
	}
	reason->example[at] = r;
	reason->far[at] = far;
}

static struct outcome outcome_of(const struct comparison *c, unsigned int a, unsigned int b)
{
	struct outcome o = {0};

	for (size_t i = 0; i < c->rows; i++) {
		const struct row *r = &c->row[i];
		struct verdict v = versus(c, r, a, b);

		o.rows += v.kind != VERDICT_NONE;
		o.same += v.kind == VERDICT_SAME;
		o.noise += v.kind == VERDICT_NOISE;
		if (v.kind == VERDICT_DIFFERS && v.ratio > 1)
			add_example(&o.loses[dearness_of(c, r, a, b)], r, v.ratio);
		else if (v.kind == VERDICT_DIFFERS)
			add_example(&o.wins[dearness_of(c, r, b, a)], r, 1 / v.ratio);
	}
	return o;
}

static unsigned int rows_of(const struct reason *reasons)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < DEAR_KINDS; i++)
		n += reasons[i].rows;
	return n;
}

/* "because NAME leaves the guest more often" */
static void print_why(FILE *out, enum dearness why, const char *name)
{
	static const char *const words[] = {
		[DEAR_EXITS] = "leaves the guest more often",
		[DEAR_TABLES] = "leaves the guest seldom, but looks through whole tables then",
		[DEAR_PRICE] = "leaves the guest as often, but pays more for each exit",
		[DEAR_WALK] = "has the longer page walk",
		[DEAR_INTERPRETED] = "has the guest's ring 0 interpreted by KVM",
		[DEAR_IN_KERNEL] = "has KVM keep shadow tables inside the kernel",
	};

	if (why == DEAR_UNKNOWN)
		fprintf(out, "for no reason that was counted");
	else
		fprintf(out, "because %s %s", name, words[why]);
}

/* How many times as dear `dear` is; inverted they are the other column's ratio. */
static void print_examples(FILE *out, const struct reason *reason, bool invert)
{
	char ratio[AMOUNT_ROOM], name[LABEL_ROOM];

	for (unsigned int e = 0; e < reason->examples; e++) {
		struct verdict v = {.kind = VERDICT_DIFFERS, .ratio = invert ? 1 / reason->far[e] : reason->far[e]};

		fprintf(out, "%s%s %s", e ? ", " : " (", label(name, reason->example[e]->name), amount_verdict(ratio, &v));
	}
	fprintf(out, "%s)", reason->rows > reason->examples ? ", ..." : "");
}

static void print_reasons(FILE *out, const struct reason *reasons, const char *dear, bool invert)
{
	unsigned int rows = rows_of(reasons);
	const char *separator = ":";

	for (unsigned int i = 0; i < DEAR_KINDS; i++) {
		if (!reasons[i].rows)
			continue;
		if (reasons[i].rows == rows)
			fprintf(out, ", ");
		else
			fprintf(out, "%s in %u ", separator, reasons[i].rows);
		separator = ";";
		print_why(out, i, dear);
		print_examples(out, &reasons[i], invert);
	}
}

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median, over the rows with exits, of a column's time for each; 0 if there are none. */
static double exit_price(const struct comparison *c, unsigned int column)
{
	double price[COMPARISON_MAX_ROWS];
	size_t n = 0;

	for (size_t i = 0; i < c->rows && n < COMPARISON_MAX_ROWS; i++) {
		const struct cell *cell = &c->row[i].cell[column];

		if (cell_has_time(c, &c->row[i], column) && cell->exits >= AN_EXIT)
			price[n++] = spread_of(&cell->us).median / cell->exits;
	}
	if (!n)
		return 0;
	qsort(price, n, sizeof(*price), compare_values);
	return price[n / 2];
}

static void print_price(FILE *out, const struct comparison *c, unsigned int column)
{
	double price = exit_price(c, column), bare = c->column[column].bare_exit_us;
	char time[AMOUNT_ROOM], floor_time[AMOUNT_ROOM], times[AMOUNT_ROOM], name[LABEL_ROOM];

	if (price <= 0 || bare <= 0)
		return;
	fprintf(out, " Where %s leaves the guest at all, an operation takes %s for each exit (median of those rows), %s times the "
		"%s of a bare one.", label(name, c->column[column].name), amount_time(time, price), amount_count(times, price / bare),
		amount_time(floor_time, bare));
}

static void explain_pair(FILE *out, const struct comparison *c, unsigned int a, unsigned int b)
{
	struct outcome o = outcome_of(c, a, b);
	char one[LABEL_ROOM], other[LABEL_ROOM];
	unsigned int loses = rows_of(o.loses), wins = rows_of(o.wins);

	fprintf(out, "# %s beside %s\n", label(one, c->column[a].name), label(other, c->column[b].name));
	if (!o.rows) {
		fprintf(out, "No row has times of both to compare.\n");
		return;
	}
	fprintf(out, "Of %u row%s with times of both, %s is cheaper in %u", o.rows, plural(o.rows), one, wins);
	print_reasons(out, o.wins, other, true);
	fprintf(out, ". It is dearer in %u", loses);
	print_reasons(out, o.loses, one, false);
	fputc('.', out);
	if (o.same)
		fprintf(out, " %u cost%s the same.", o.same, o.same == 1 ? "s" : "");
	if (o.noise)
		fprintf(out, " Of %u the noise lets nothing be said.", o.noise);
	print_price(out, c, a);
	fputc('\n', out);
}

static void explain_worst_rows(FILE *out, const struct comparison *c, unsigned int shadow, unsigned int cheap)
{
	const struct row *rows[WORST];
	size_t n = explain_worst(c, shadow, cheap, rows, WORST);
	char ratio[AMOUNT_ROOM], one[LABEL_ROOM], other[LABEL_ROOM];

	if (!n)
		return;
	fprintf(out, "# Worst row%s of %s beside %s\n", n == 1 ? "" : "s", label(one, c->column[shadow].name),
		label(other, c->column[cheap].name));
	for (size_t i = 0; i < n; i++) {
		struct verdict v = versus(c, rows[i], shadow, cheap);

		fprintf(out, "- %s (%s): ", label(one, rows[i]->name), v.kind == VERDICT_DIFFERS ? amount_verdict(ratio, &v) : "counts only");
		explain_cell(out, c, rows[i], shadow, cheap);
		fprintf(out, ".\n");
	}
}

static bool explain_direct(FILE *out, const struct column *column)
{
	char name[LABEL_ROOM], words[LABEL_ROOM];

	if (column_is_shadow(column) || column->nested)
		return false;
	fprintf(out, "\"%s\" is --mmu=ept, but that is not nested paging there: %s. Its numbers say nothing about EPT or NPT.\n",
		label(name, column->name), label(words, column->host_words));
	return true;
}

static void explain_emulated(FILE *out, const struct comparison *c)
{
	const char *separator = "";
	bool counted = false;
	char name[LABEL_ROOM];

	for (unsigned int i = 0; i < c->columns; i++) {
		if (!c->column[i].emulated)
			continue;
		fprintf(out, "%s\"%s\"", *separator ? separator : "The processor of ", label(name, c->column[i].name));
		separator = ", ";
		counted |= strstr(c->column[i].clocksource, COLUMN_CLOCK_OF_INSTRUCTIONS) != NULL;
	}
	if (*separator)
		fprintf(out, " is emulated: times taken there can be set against each other, and say nothing about real processors; "
			"counts of exits are exact.\n");
	if (counted)
		fprintf(out, "Where the clock is \"" COLUMN_CLOCK_OF_INSTRUCTIONS "\", a time is the number of instructions that guest, "
			"KVM and program executed, at every repetition the same. What a processor does by itself takes no time: page "
			"walks are free, which flatters nested paging, and so is the hardware's part of an exit, which flatters "
			"shadow tables.\n");
}

static bool any_nested(const struct comparison *c)
{
	for (unsigned int i = 0; i < c->columns; i++)
		if (c->column[i].nested && !column_is_shadow(&c->column[i]))
			return true;
	return false;
}

static void explain_hosts(FILE *out, const struct comparison *c)
{
	bool lab = false;

	for (unsigned int i = 0; i < c->columns; i++)
		lab |= explain_direct(out, &c->column[i]);
	if (lab && !any_nested(c))
		fprintf(out, "For nested paging run scripts/compare-lab: it boots an emulated machine that has it, and sets shadow mode "
			"beside nested paging and beside KVM's own shadow tables.\n");
	explain_emulated(out, c);
	if (c->partial)
		fprintf(out, "This comparison is partial: it was stopped before all rounds were measured.\n");
}

/* The first cell of the column whose walk has so many levels in the guest. */
static const struct walk_length *walk_with(const struct comparison *c, unsigned int column, unsigned int levels)
{
	for (size_t i = 0; i < c->rows; i++) {
		const struct walk_length *w = &c->row[i].cell[column].walk;

		if (w->references && w->guest_levels == levels)
			return w;
	}
	return NULL;
}

static void explain_walk(FILE *out, const struct comparison *c, unsigned int column)
{
	const char *separator = "";
	char name[LABEL_ROOM];

	for (unsigned int levels = 4; levels >= 2; levels--) {
		const struct walk_length *w = walk_with(c, column, levels);

		if (!w)
			continue;
		if (!*separator)
			fprintf(out, "- %s: ", label(name, c->column[column].name));
		fprintf(out, "%s%u (%u level%s", separator, w->references, levels, plural(levels));
		if (w->host_levels)
			fprintf(out, " of %s by %u of the host's", column_is_shadow(&c->column[column]) ? "our shadow" : "the guest's",
				w->host_levels);
		else
			fprintf(out, ", one dimension");
		fprintf(out, ")");
		separator = "; ";
	}
	if (*separator)
		fprintf(out, ".\n");
}

static bool any_walk(const struct comparison *c)
{
	for (unsigned int i = 0; i < c->columns; i++)
		for (unsigned int levels = 2; levels <= 4; levels++)
			if (walk_with(c, i, levels))
				return true;
	return false;
}

static void explain_walks(FILE *out, const struct comparison *c)
{
	if (!any_walk(c))
		return;
	fprintf(out, "# Length of a page walk\n"
		"References to memory that a TLB miss can cost with nothing cached, from the levels of the tables. Shadow mode "
		"shortens a walk only where no second dimension lies below it: on nested paging our tables are still the first of "
		"two.\n");
	for (unsigned int i = 0; i < c->columns; i++)
		explain_walk(out, c, i);
}

/* Shadow mode is set against direct mode below the same KVM, and where it has nested paging below it, against all. */
static bool is_pair(const struct comparison *c, unsigned int a, unsigned int b)
{
	const struct column *one = &c->column[a], *other = &c->column[b];

	if (!column_is_shadow(one) || column_is_shadow(other) || !column_same_machine(one, other))
		return false;
	return one->nested || !strcmp(one->host_mmu, other->host_mmu);
}

static void explain_pairs(FILE *out, const struct comparison *c)
{
	for (unsigned int a = 0; a < c->columns; a++)
		for (unsigned int b = 0; b < c->columns; b++)
			if (is_pair(c, a, b))
				explain_pair(out, c, a, b);
	for (unsigned int a = 0; a < c->columns; a++)
		for (unsigned int b = 0; b < c->columns; b++)
			if (is_pair(c, a, b))
				explain_worst_rows(out, c, a, b);
}

void explain(const struct comparison *c, FILE *out)
{
	explain_hosts(out, c);
	explain_pairs(out, c);
	explain_walks(out, c);
}
