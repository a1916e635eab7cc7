/*
 * Comparisons put beside each other. The oracle joins in its own way: it keeps all runs of every cell and makes the means at
 * the end.
 */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/join.h"
#include "tests/unit/capture.h"
#include "tests/unit/compare_random.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

struct host {
	const char *mmu, *host_mmu, *cpu;
	bool nested;
};

static void add_column(struct comparison *c, const struct host *h)
{
	struct column *column = comparison_add_column(c);

	snprintf(column->name, sizeof(column->name), "%s", h->mmu);
	snprintf(column->mmu, sizeof(column->mmu), "%s", h->mmu);
	snprintf(column->host_mmu, sizeof(column->host_mmu), "%s", h->host_mmu);
	snprintf(column->cpu, sizeof(column->cpu), "%s", h->cpu ? h->cpu : "cpu");
	column->nested = h->nested;
}

static struct row *add_row(struct comparison *c, const char *name, const char *group)
{
	struct row *row = comparison_add_row(c);

	snprintf(row->name, sizeof(row->name), "%s", name);
	snprintf(row->group, sizeof(row->group), "%s", group);
	row->operations = 10;
	return row;
}

static const struct host npt = {"ept", "npt", NULL, true}, kvm_shadow = {"ept", "kvm-shadow", NULL, false};
static const struct host ours = {"shadow", "npt", NULL, true}, ours_twice = {"shadow", "kvm-shadow", NULL, false};

static void expect_names(const struct host *const *hosts, const char *const *names, unsigned int count)
{
	struct comparison into;

	comparison_init(&into);
	for (unsigned int i = 0; i < count; i++) {
		struct comparison one;

		comparison_init(&one);
		add_column(&one, hosts[i]);
		ck_assert_int_eq(join(&into, &one, "one"), 0);
		comparison_free(&one);
	}
	join_name_columns(&into);
	ck_assert_uint_eq(into.columns, count);
	for (unsigned int i = 0; i < count; i++)
		ck_assert_str_eq(into.column[i].name, names[i]);
	comparison_free(&into);
}

START_TEST(test_names)
{
	static const struct host other_cpu = {"ept", "npt", "other", true}, third_cpu = {"ept", "npt", "third", true};
	static const struct host long_name = {"ept", "a-name-of-31-bytes-0123456789abc", NULL, false};
	static const struct host long_too = {"ept", "a-name-of-31-bytes-0123456789abc", "other", false};

	expect_names((const struct host *[]){&npt, &ours}, (const char *[]){"ept", "shadow"}, 2);
	expect_names((const struct host *[]){&ours, &npt, &kvm_shadow},
		     (const char *[]){"shadow", "nested (npt)", "kvm shadow"}, 3);
	expect_names((const struct host *[]){&npt, &ours, &kvm_shadow, &ours_twice},
		     (const char *[]){"nested (npt)", "shadow (npt)", "kvm shadow", "shadow (kvm shadow)"}, 4);
	expect_names((const struct host *[]){&npt, &other_cpu, &third_cpu},
		     (const char *[]){"nested (npt)", "nested (npt) 2", "nested (npt) 3"}, 3);
	expect_names((const struct host *[]){&long_name, &long_too},
		     (const char *[]){"a name of 31 bytes 012345678", "a name of 31 bytes 012345678 2"}, 2);
}
END_TEST

/* All runs of a cell, as the oracle keeps them. */
struct runs {
	unsigned int n;
	double us[200], exits[200], cause[200][3];
};

static void add_runs(struct runs *all, const struct cell *cell)
{
	for (unsigned int i = 0; i < cell->us.n; i++, all->n++) {
		all->us[all->n] = cell->us.value[i];
		all->exits[all->n] = cell->exits;
		for (unsigned int j = 0; j < cell->causes; j++)
			all->cause[all->n][cell->cause[j].name[0] - 'a'] = cell->cause[j].per_operation;
	}
}

static void random_runs(struct random *r, struct cell *cell)
{
	cell->kind = CELL_MEASURED;
	cell->exits = (double)random_below(r, 100);
	for (unsigned int n = 1 + (unsigned int)random_below(r, 6); n; n--)
		ck_assert_int_eq(samples_add(&cell->us, 1 + (double)random_below(r, 1000)), 0);
	for (char name = 'a'; name < 'd'; name++)
		if (random_below(r, 2))
			cell->cause[cell->causes++] = (struct cause){{name, '\0'}, 1 + (double)random_below(r, 50)};
}

static bool close_to(double a, double b)
{
	return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static void expect_mean(const struct cell *cell, const struct runs *all)
{
	double exits = 0, cause[3] = {0};

	expect_eq(cell->us.n, all->n);
	for (unsigned int i = 0; i < all->n; i++) {
		expect(cell->us.value[i] == all->us[i]);
		exits += all->exits[i] / all->n;
		for (int j = 0; j < 3; j++)
			cause[j] += all->cause[i][j] / all->n;
	}
	expect_msg(all->n == 0 || close_to(cell->exits, exits), "%g exits, not %g", cell->exits, exits);
	for (unsigned int i = 0; i < cell->causes; i++) {
		expect(close_to(cell->cause[i].per_operation, cause[cell->cause[i].name[0] - 'a']));
		cause[cell->cause[i].name[0] - 'a'] = 0;
	}
	expect(cause[0] == 0 && cause[1] == 0 && cause[2] == 0);
}

/* Two columns in files of one or both of them, in any order, with any rows. */
START_TEST(test_samples_come_together)
{
	static const struct host *const hosts[] = {&npt, &kvm_shadow};
	static const char *const names[] = {"x", "y", "z"};
	struct random r = random_start("join");

	for (int i = 0; i < 300; i++) {
		struct runs all[2][3] = {0};
		struct comparison into;

		comparison_init(&into);
		for (uint64_t file = 1 + random_below(&r, 6); file; file--) {
			unsigned int first = (unsigned int)random_below(&r, 2), columns = 1 + (unsigned int)random_below(&r, 2);
			struct comparison one;

			comparison_init(&one);
			for (unsigned int j = 0; j < columns; j++)
				add_column(&one, hosts[(first + j) % 2]);
			for (unsigned int k = 0; k < 3; k++) {
				struct row *row = random_below(&r, 3) ? add_row(&one, names[k], "group") : NULL;

				for (unsigned int j = 0; row && j < columns; j++) {
					random_runs(&r, &row->cell[j]);
					add_runs(&all[(first + j) % 2][k], &row->cell[j]);
				}
			}
			expect_eq(join(&into, &one, "one"), 0);
			comparison_free(&one);
		}
		for (unsigned int j = 0; j < into.columns; j++)
			for (unsigned int k = 0; k < 3; k++) {
				const struct row *row = comparison_find_row(&into, names[k]);

				if (row)
					expect_mean(&row->cell[j], &all[into.column[j].nested ? 0 : 1][k]);
			}
		comparison_free(&into);
	}
}
END_TEST

START_TEST(test_groups_stay_together)
{
	struct comparison into, one, other;
	const char *const order[] = {"a1", "a2", "a3", "b1", "c1"};

	comparison_init(&into);
	comparison_init(&one);
	comparison_init(&other);
	add_column(&one, &npt);
	add_column(&other, &npt);
	add_row(&one, "a1", "a");
	add_row(&one, "a2", "a");
	add_row(&one, "b1", "b");
	add_row(&other, "c1", "c");
	add_row(&other, "a3", "a");
	ck_assert_int_eq(join(&into, &one, "one") | join(&into, &other, "other"), 0);
	ck_assert_uint_eq(into.rows, 5);
	for (size_t i = 0; i < 5; i++)
		ck_assert_str_eq(into.row[i].name, order[i]);
	comparison_free(&into);
	comparison_free(&one);
	comparison_free(&other);
}
END_TEST

START_TEST(test_what_cannot_stays_so)
{
	struct comparison into, can, cannot;
	struct random r = random_start("join cannot");

	for (int order = 0; order < 2; order++) {
		comparison_init(&into);
		comparison_init(&can);
		comparison_init(&cannot);
		add_column(&can, &npt);
		add_column(&cannot, &npt);
		random_runs(&r, &add_row(&can, "x", "g")->cell[0]);
		add_row(&cannot, "x", "g")->cell[0] = (struct cell){.kind = CELL_CANNOT, .why = "because"};
		cannot.partial = true;
		ck_assert_int_eq(join(&into, order ? &can : &cannot, "one") | join(&into, order ? &cannot : &can, "other"), 0);
		ck_assert_int_eq(into.row->cell[0].kind, CELL_CANNOT);
		ck_assert_str_eq(into.row->cell[0].why, "because");
		ck_assert(into.partial);
		comparison_free(&into);
		comparison_free(&can);
		comparison_free(&cannot);
	}
}
END_TEST

START_TEST(test_refused)
{
	struct comparison into, one, other;
	struct capture said;
	int r;

	comparison_init(&into);
	comparison_init(&one);
	comparison_init(&other);
	add_column(&one, &npt);
	add_column(&other, &npt);
	add_row(&one, "x", "g");
	add_row(&other, "x", "g")->operations = 11;
	ck_assert_int_eq(join(&into, &one, "one.json"), 0);
	capture_begin(&said);
	r = join(&into, &other, "other.json");
	assert_one_line(capture_end(&said), "other.json: x: 11 operations, not 10");
	ck_assert_int_eq(r, -EINVAL);
	comparison_free(&into);
	comparison_free(&one);
	comparison_free(&other);
}
END_TEST

START_TEST(test_too_many_columns)
{
	struct comparison into;
	struct capture said;
	int r = 0;

	comparison_init(&into);
	capture_begin(&said);
	for (char cpu = 'a'; cpu < 'a' + COMPARISON_MAX_COLUMNS + 1; cpu++) {
		struct comparison one;

		ck_assert_int_eq(r, 0);
		comparison_init(&one);
		add_column(&one, &(struct host){"ept", "npt", (char[]){cpu, '\0'}, true});
		r = join(&into, &one, "one");
		comparison_free(&one);
	}
	assert_one_line(capture_end(&said), "more than 8 columns");
	ck_assert_int_eq(r, -E2BIG);
	comparison_free(&into);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_names, test_samples_come_together, test_groups_stay_together,
				      test_what_cannot_stays_so, test_refused, test_too_many_columns};

	return RUN_TESTS("compare-join", tests);
}
