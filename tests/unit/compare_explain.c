/*
 * What is said of made-up numbers, where the winner and the cause are known.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "compare/cause.h"
#include "compare/column.h"
#include "compare/dearness.h"
#include "compare/explain.h"
#include "compare/versus.h"
#include "tests/unit/compare_sample.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define ROUNDS 5

/* Sentences, freed by the caller. */
static char *say(const struct comparison *c)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(f);
	explain(c, f);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static char *say_cell(const struct comparison *c, const struct row *r, unsigned int dear, unsigned int cheap)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(f);
	explain_cell(f, c, r, dear, cheap);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

/* Two columns, and a row in which column 0 is dearer for a known reason. */
static const struct story {
	const char *dear_mode, *cheap_mode;
	bool nested_dear, nested_cheap, interpreted;
	double dear_us, cheap_us, dear_exits, cheap_exits, bare_us;
	unsigned int dear_walk, cheap_walk;
	enum dearness why;
	const char *words;
} stories[] = {
	/* Two exits of 10 are a good part of 90. */
	{"shadow", "ept", true, true, false, 100, 10, 2, 0, 10, 24, 24, DEAR_EXITS, "2.00 exits an operation, 0 in cheap"},
	/* One in a thousand is not, even though it is one more. */
	{"shadow", "ept", true, true, false, 100, 10, 0.001, 0, 10, 24, 24, DEAR_UNKNOWN, "nothing that was counted"},
	/* A few in a hundred are, where the operation is short. */
	{"shadow", "ept", true, true, false, 4, 0.5, 0.03, 0, 30, 24, 24, DEAR_EXITS, "0.03 exits"},
	/* Without a floor only their number is left. */
	{"shadow", "ept", true, true, false, 100, 10, 2, 0, 0, 24, 24, DEAR_EXITS, "2.00 exits"},
	{"shadow", "ept", true, true, false, 100, 10, 0.04, 0, 0, 24, 24, DEAR_UNKNOWN, "nothing"},
	{"shadow", "ept", true, true, false, 40, 10, 1, 1, 10, 24, 24, DEAR_PRICE, "both leave the guest"},
	{"ept", "ept", true, false, false, 2, 1, 0, 0, 10, 24, 4, DEAR_WALK, "up to 24 references, in cheap 4"},
	{"shadow", "ept", true, false, false, 2, 1, 0, 0, 10, 19, 4, DEAR_WALK, "up to 19 references"},
	/* The shorter walk is no reason to be dearer, and one that is not known is none. */
	{"shadow", "ept", false, true, false, 2, 1, 0, 0, 10, 4, 24, DEAR_UNKNOWN, "nothing"},
	{"shadow", "ept", true, true, false, 2, 1, 0, 0, 10, 24, 0, DEAR_UNKNOWN, "nothing"},
	{"ept", "shadow", false, false, true, 50, 1, 0, 0.01, 10, 4, 4, DEAR_INTERPRETED, "interprets"},
	{"ept", "ept", false, true, false, 50, 1, 0, 0, 10, 4, 24, DEAR_IN_KERNEL, "inside the kernel"},
	/* Exits are looked at first, wherever they are. */
	{"ept", "shadow", false, false, true, 50, 1, 2, 0, 10, 4, 4, DEAR_EXITS, "2.00 exits"},
	{"ept", "shadow", true, true, false, 50, 1, 0, 0, 10, 24, 24, DEAR_UNKNOWN, "nothing"},
};

START_TEST(causes)
{
	const struct story *s = &stories[_i];
	struct comparison c;
	struct row *r;
	char *text;

	comparison_init(&c);
	sample_column(&c, "dear", s->dear_mode, "x", s->nested_dear)->ring0_interpreted = s->interpreted;
	sample_column(&c, "cheap", s->cheap_mode, "y", s->nested_cheap);
	c.column[0].bare_exit_us = s->bare_us;
	r = sample_row(&c, "row", "group");
	sample_cell(&r->cell[0], ROUNDS, s->dear_us, 0.01, s->dear_exits);
	sample_cell(&r->cell[1], ROUNDS, s->cheap_us, 0.01, s->cheap_exits);
	r->cell[0].walk.references = s->dear_walk;
	r->cell[1].walk.references = s->cheap_walk;
	ck_assert_int_eq(dearness_of(&c, r, 0, 1), s->why);
	text = say_cell(&c, r, 0, 1);
	ck_assert_msg(strstr(text, s->words), "\"%s\" is not in: %s", s->words, text);
	free(text);
	comparison_free(&c);
}
END_TEST

/* The share of the time that bare exits would be, and what one comes to, are arithmetic. */
START_TEST(arithmetic)
{
	struct comparison c;
	struct row *r;
	char *text;

	comparison_init(&c);
	sample_column(&c, "shadow", "shadow", "npt", true)->bare_exit_us = 10;
	sample_column(&c, "nested", "ept", "npt", true);
	r = sample_row(&c, "fork", "group");
	sample_cell(&r->cell[0], ROUNDS, 200, 0, 5);
	sample_cell(&r->cell[1], ROUNDS, 20, 0, 0);
	sample_cause(&r->cell[0], CAUSE_EXIT "io", 5);
	sample_cause(&r->cell[0], "table_stores", 3);
	sample_cause(&r->cell[0], "fills", 7);
	sample_cause(&r->cell[0], "system_calls", 1.5);
	sample_cause(&r->cell[0], "invlpgs", 0.5);
	text = say_cell(&c, r, 0, 1);
	ck_assert_str_eq(text, "5.00 exits an operation, 0 in nested: 3.00 page-table writes, 1.50 system calls and 0.50 INVLPGs; "
			       "bare exits, 10.0 us each, would be 25 % of its 200 us: with what goes with it an exit costs as much as "
			       "4.00 of them");
	free(text);
	comparison_free(&c);
}
END_TEST

/* An exit in 256 operations, after which a table that was out of sync is compared. */
START_TEST(out_of_sync)
{
	struct comparison c;
	struct row *r;
	char *text;

	comparison_init(&c);
	sample_column(&c, "shadow", "shadow", "npt", true)->bare_exit_us = 4;
	sample_column(&c, "nested", "ept", "npt", true);
	r = sample_row(&c, "pte-batch", "group");
	sample_cell(&r->cell[0], ROUNDS, 1, 0, 1.0 / 256);
	sample_cell(&r->cell[1], ROUNDS, 0.01, 0, 0);
	ck_assert_int_eq(dearness_of(&c, r, 0, 1), DEAR_UNKNOWN);
	sample_cause(&r->cell[0], "unsynced", 1.0 / 512);
	ck_assert_int_eq(dearness_of(&c, r, 0, 1), DEAR_TABLES);
	text = say_cell(&c, r, 0, 1);
	ck_assert_ptr_nonnull(strstr(text, "an exit costs as much as 64.0 of them"));
	free(text);
	r->cell[0].exits = 1.0 / 1024;
	ck_assert_int_eq(dearness_of(&c, r, 0, 1), DEAR_UNKNOWN);
	comparison_free(&c);
}
END_TEST

START_TEST(exits_add_up)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];
	struct cell cell = {.kind = CELL_MEASURED, .exits = 10};

	sample_cause(&cell, CAUSE_EXIT "io", 10);
	ck_assert_uint_eq(exit_causes(&cell, list), 1);
	ck_assert_int_eq(list[0].class, CAUSE_DEVICE);
	sample_cause(&cell, "system_calls", 2);
	sample_cause(&cell, "hidden_faults", 7);
	sample_cause(&cell, "prefetched", 100);
	ck_assert_uint_eq(exit_causes(&cell, list), 3);
	ck_assert_int_eq(list[0].class, CAUSE_HIDDEN);
	ck_assert_int_eq(list[1].class, CAUSE_CALL);
	ck_assert_int_eq(list[2].class, CAUSE_OTHER);
	ck_assert_double_eq(list[2].per_operation, 1);
	cell.exits = 0;
	cell.causes = 0;
	ck_assert_uint_eq(exit_causes(&cell, list), 0);
	for (unsigned int i = 0; i < CELL_MAX_CAUSES; i++)
		sample_cause(&cell, "system_calls", 1);
	cell.exits = 100;
	ck_assert_uint_eq(exit_causes(&cell, list), CELL_MAX_CAUSES + 1);
}
END_TEST

/* Which of two rows is worse, said anew: a ratio above 1 that stands beats everything; then, without times, more exits. */
static double badness(const struct comparison *c, const struct row *r)
{
	struct verdict v = versus(c, r, 0, 1);

	if (v.kind == VERDICT_DIFFERS)
		return v.ratio > 1 ? 1e9 * v.ratio : 0;
	if (v.kind == VERDICT_NONE && r->cell[0].exits - r->cell[1].exits > 0.05)
		return r->cell[0].exits - r->cell[1].exits;
	return 0;
}

static void make_random(struct comparison *c, struct random *random)
{
	comparison_init(c);
	c->rounds = ROUNDS;
	sample_column(c, "shadow", "shadow", "npt", true)->emulated = true;
	sample_column(c, "nested", "ept", "npt", true)->emulated = true;
	for (unsigned int i = 0; i < 30; i++) {
		struct row *r;
		char name[16];

		snprintf(name, sizeof(name), "row%u", i);
		r = sample_row(c, name, "group");
		for (unsigned int j = 0; j < 2; j++)
			sample_cell(&r->cell[j], ROUNDS, 1 + (double)random_below(random, 100), random_below(random, 5) ? 0.02 : 0.5,
				    (double)random_below(random, 10));
	}
}

START_TEST(worst)
{
	struct random random = random_start("worst");

	for (unsigned int n = 0; n < 300; n++) {
		const struct row *rows[7];
		struct comparison c;
		size_t room = 1 + random_below(&random, 7), got, bad = 0;

		make_random(&c, &random);
		got = explain_worst(&c, 0, 1, rows, room);
		for (size_t i = 0; i < c.rows; i++)
			bad += badness(&c, &c.row[i]) > 0;
		ck_assert_uint_eq(got, bad < room ? bad : room);
		for (size_t i = 0; i < got; i++) {
			size_t worse = 0;

			for (size_t j = 0; j < c.rows; j++)
				worse += badness(&c, &c.row[j]) > badness(&c, rows[i]);
			ck_assert_uint_le(worse, i);
			for (size_t j = 0; j < i; j++)
				ck_assert_ptr_ne(rows[j], rows[i]);
		}
		comparison_free(&c);
	}
}
END_TEST

/* Rows won, lost, equal and lost in the noise, counted one by one. */
START_TEST(tally)
{
	struct random random = random_start("tally");

	for (unsigned int n = 0; n < 100; n++) {
		unsigned int count[4] = {0}, wins = 0;
		struct comparison c;
		char expected[128];
		char *text;

		make_random(&c, &random);
		for (size_t i = 0; i < c.rows; i++) {
			struct verdict v = versus(&c, &c.row[i], 0, 1);

			count[v.kind]++;
			wins += v.kind == VERDICT_DIFFERS && v.ratio < 1;
		}
		text = say(&c);
		snprintf(expected, sizeof(expected), "Of %u row%s with times of both, shadow is cheaper in %u",
			 count[VERDICT_NOISE] + count[VERDICT_SAME] + count[VERDICT_DIFFERS], "s", wins);
		ck_assert_msg(strstr(text, expected), "%s\nis not in: %s", expected, text);
		snprintf(expected, sizeof(expected), "It is dearer in %u", count[VERDICT_DIFFERS] - wins);
		ck_assert_ptr_nonnull(strstr(text, expected));
		snprintf(expected, sizeof(expected), "Of %u the noise", count[VERDICT_NOISE]);
		ck_assert_int_eq(strstr(text, expected) != NULL, count[VERDICT_NOISE] > 0);
		free(text);
		comparison_free(&c);
	}
}
END_TEST

/* The columns of a comparison in another order. */
static void rotate(struct comparison *c)
{
	struct column first = c->column[0];

	for (unsigned int i = 0; i + 1 < c->columns; i++)
		c->column[i] = c->column[i + 1];
	c->column[c->columns - 1] = first;
	for (size_t r = 0; r < c->rows; r++) {
		struct cell cell = c->row[r].cell[0];

		for (unsigned int i = 0; i + 1 < c->columns; i++)
			c->row[r].cell[i] = c->row[r].cell[i + 1];
		c->row[r].cell[c->columns - 1] = cell;
	}
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t sorted_lines(char *text, char **lines, size_t room)
{
	size_t n = 0;
	char *line;

	/* But for the list of columns, which has their order. */
	while ((line = strsep(&text, "\n")) && n < room)
		if (strncmp(line, "The processor of", strlen("The processor of")))
			lines[n++] = line;
	qsort(lines, n, sizeof(*lines), compare_lines);
	return n;
}

START_TEST(order_changes_nothing)
{
	for (unsigned int kind = 0; kind < SAMPLES; kind++) {
		struct comparison c;
		char *before[200], *after[200], *one, *other;
		size_t n;

		sample_make(&c, kind);
		if (kind == SAMPLE_NOTHING || kind == SAMPLE_HOSTILE) {
			comparison_free(&c);
			continue;
		}
		one = say(&c);
		rotate(&c);
		other = say(&c);
		n = sorted_lines(one, before, 200);
		ck_assert_uint_eq(n, sorted_lines(other, after, 200));
		for (size_t i = 0; i < n; i++)
			ck_assert_str_eq(before[i], after[i]);
		free(one);
		free(other);
		comparison_free(&c);
	}
}
END_TEST

static char *say_sample(enum sample kind)
{
	struct comparison c;
	char *text;

	sample_make(&c, kind);
	text = say(&c);
	comparison_free(&c);
	return text;
}

/* Emulated hosts that count instructions say what that leaves out. */
START_TEST(clock_of_instructions)
{
	struct comparison c;
	char *text;

	sample_make(&c, SAMPLE_LAB);
	strcpy(c.column[0].clocksource, "tsc, " COLUMN_CLOCK_OF_INSTRUCTIONS);
	text = say(&c);
	ck_assert_ptr_nonnull(strstr(text, "page walks are free"));
	free(text);
	comparison_free(&c);
}
END_TEST

START_TEST(hosts)
{
	char *interpreted = say_sample(SAMPLE_INTERPRETED), *lab = say_sample(SAMPLE_LAB), *partial = say_sample(SAMPLE_PARTIAL);

	ck_assert_ptr_nonnull(strstr(interpreted, "\"ept\" is --mmu=ept, but that is not nested paging there"));
	ck_assert_ptr_nonnull(strstr(interpreted, "scripts/compare-lab"));
	ck_assert_ptr_null(strstr(interpreted, "emulated: times"));
	ck_assert_ptr_null(strstr(interpreted, "partial"));
	ck_assert_ptr_null(strstr(lab, "scripts/compare-lab"));
	ck_assert_ptr_null(strstr(lab, "\"nested (npt)\" is --mmu=ept, but"));
	ck_assert_ptr_nonnull(strstr(lab, "\"kvm shadow\" is --mmu=ept, but that is not nested paging there"));
	ck_assert_ptr_nonnull(strstr(lab, "is emulated: times"));
	ck_assert_ptr_null(strstr(lab, "page walks are free"));
	ck_assert_ptr_nonnull(strstr(lab, "# shadow beside nested (npt)\n"));
	ck_assert_ptr_nonnull(strstr(lab, "# shadow beside kvm shadow\n"));
	ck_assert_ptr_nonnull(strstr(lab, "- kvm shadow: 4 (4 levels, one dimension)"));
	ck_assert_ptr_nonnull(strstr(lab, "- shadow: 24 (4 levels of our shadow by 4 of the host's)"));
	ck_assert_ptr_nonnull(strstr(partial, "is partial"));
	free(interpreted);
	free(lab);
	free(partial);
}
END_TEST

/* Three rows, named with their causes. */
START_TEST(three_worst)
{
	char *text = say_sample(SAMPLE_INTERPRETED), *at = strstr(text, "# Worst rows of shadow beside ept\n");
	static const char *const lines[] = {
		"- cr-write (x40", "control-register accesses", "- switch-32 (x2", "hidden faults", "- ad-fault (x1", "hidden faults",
	};

	ck_assert_ptr_nonnull(at);
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		at = strstr(at, lines[i]);
		ck_assert_msg(at, "%s is missing in: %s", lines[i], text);
	}
	free(text);
}
END_TEST

/* Nothing of a name can make a line of its own. */
START_TEST(hostile_names)
{
	char *text = say_sample(SAMPLE_HOSTILE);

	for (const char *c = text; *c; c++)
		ck_assert((unsigned char)*c >= ' ' || *c == '\n');
	ck_assert_ptr_null(strchr(text, 0x7f));
	free(text);
}
END_TEST

/* The base of every column, by the rule's words. */
START_TEST(bases)
{
	struct comparison c;

	sample_make(&c, SAMPLE_LAB);
	ck_assert_uint_eq(versus_base(&c, 0), 1);
	ck_assert_uint_eq(versus_base(&c, 1), NO_COLUMN);
	ck_assert_uint_eq(versus_base(&c, 2), 1);
	snprintf(c.column[1].cpu, sizeof(c.column[1].cpu), "another processor");
	ck_assert_uint_eq(versus_base(&c, 0), 2);
	ck_assert_uint_eq(versus_base(&c, 1), NO_COLUMN);
	ck_assert_uint_eq(versus_base(&c, 2), NO_COLUMN);
	ck_assert_int_eq(versus(&c, &c.row[0], 0, 1).kind, VERDICT_NONE);
	ck_assert_int_ne(versus(&c, &c.row[0], 0, 2).kind, VERDICT_NONE);
	snprintf(c.column[2].kernel, sizeof(c.column[2].kernel), "another kernel");
	ck_assert_uint_eq(versus_base(&c, 0), NO_COLUMN);
	ck_assert_int_eq(versus(&c, &c.row[0], 0, 2).kind, VERDICT_NONE);
	comparison_free(&c);
	sample_make(&c, SAMPLE_ONE);
	ck_assert_uint_eq(versus_base(&c, 0), NO_COLUMN);
	comparison_free(&c);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		arithmetic, out_of_sync, exits_add_up, worst, tally, order_changes_nothing, hosts, clock_of_instructions, three_worst,
		hostile_names, bases,
	};
	TCase *tcase = tcase_create("compare_explain");

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, causes, 0, sizeof(stories) / sizeof(*stories));
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	return run_case("compare_explain", tcase);
}
