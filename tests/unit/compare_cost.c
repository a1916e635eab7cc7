/*
 * What lies between marks, and its way into means. Marks are made up by the test, which knows what it has put where.
 */
#include <check.h>
#include <errno.h>
#include <linux/kvm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/cost.h"
#include "compare/marks.h"
#include "guest/lib/mmucost.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define COUNTERS 3
#define RUNS 12

static const char *const counter_names[COUNTERS] = {"hidden_faults", "returns", "fills"};

/* What happens between two marks. */
struct part {
	uint64_t ns, io, hlt, intr, counter[COUNTERS];
};

static void advance(struct mark *m, const struct part *p, uint32_t value)
{
	m->value = value;
	m->ns = m->done_ns + p->ns;
	m->done_ns = m->ns + 5; /* the reading takes time, which is nobody's */
	m->exits[KVM_EXIT_IO] += p->io;
	m->exits[KVM_EXIT_HLT] += p->hlt;
	m->exits[KVM_EXIT_INTR] += p->intr;
	m->stats.count = COUNTERS;
	for (int i = 0; i < COUNTERS; i++) {
		m->stats.counter[i].name = counter_names[i];
		m->stats.counter[i].value += p->counter[i];
	}
}

static struct part random_part(struct random *r)
{
	struct part p = {1 + random_below(r, 1000000), random_below(r, 9), random_below(r, 2), random_below(r, 50), {0}};

	for (int i = 0; i < COUNTERS; i++)
		p.counter[i] = random_below(r, 2) ? random_below(r, 100) : 0;
	return p;
}

/* Work that takes `work` besides what each of the two marks around it takes. */
static struct marks run_of(const struct part *boot, const struct part *mark, const struct part *work)
{
	struct marks marks = {.count = 3};
	struct part both = *work;

	both.ns += mark->ns;
	both.io += mark->io;
	both.hlt += mark->hlt;
	for (int i = 0; i < COUNTERS; i++)
		both.counter[i] += mark->counter[i];
	advance(&marks.mark[0], boot, MMUCOST_WARM);
	marks.mark[1] = marks.mark[0];
	advance(&marks.mark[1], mark, MMUCOST_BEGIN);
	marks.mark[2] = marks.mark[1];
	advance(&marks.mark[2], &both, MMUCOST_END);
	return marks;
}

static double cause_of(const struct cause *list, unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return list[i].per_operation;
	return 0;
}

static bool close_to(double a, double b)
{
	return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static void expect_counts(const struct part *sum, double operations, const struct cause *list, unsigned int count, double exits)
{
	expect(close_to(exits, (double)(sum->io + sum->hlt) / operations));
	expect(close_to(cause_of(list, count, "exit:io"), (double)sum->io / operations));
	expect(close_to(cause_of(list, count, "exit:hlt"), (double)sum->hlt / operations));
	expect(cause_of(list, count, "exit:intr") == 0);
	for (int i = 0; i < COUNTERS; i++)
		expect(close_to(cause_of(list, count, counter_names[i]), (double)sum->counter[i] / operations));
}

START_TEST(test_marks)
{
	struct random r = random_start("cost of marks");

	for (int i = 0; i < 1000; i++) {
		struct part boot = random_part(&r), mark = random_part(&r), work = random_part(&r);
		struct marks marks = run_of(&boot, &mark, &work);
		struct cost c;

		expect_eq(cost_of_marks(&marks, &c), 0);
		expect(c.ns == (double)(work.ns + mark.ns) && c.mark_ns == (double)mark.ns);
		expect_counts(&work, 1, c.cause, c.causes, c.exits);
	}
}
END_TEST

/* A mark that costs more than all the work does not leave less than nothing. */
START_TEST(test_nothing_below_zero)
{
	const struct part boot = {.ns = 1}, mark = {.ns = 9, .io = 5, .counter = {7, 0, 1}}, little = {.ns = 1, .io = 1, .counter = {1}};
	struct marks marks = run_of(&boot, &mark, &little);
	struct cost c;

	marks.mark[2] = marks.mark[1];
	advance(&marks.mark[2], &little, MMUCOST_END);
	ck_assert_int_eq(cost_of_marks(&marks, &c), 0);
	ck_assert(c.exits == 0 && c.ns == 1);
	ck_assert(cause_of(c.cause, c.causes, "exit:io") == 0 && cause_of(c.cause, c.causes, "hidden_faults") == 0);
}
END_TEST

START_TEST(test_marks_missing)
{
	const struct part some = {.ns = 10};
	struct marks marks = run_of(&some, &some, &some);
	struct cost c;

	for (unsigned int i = 0; i < 3; i++) {
		struct marks lacks = marks;

		lacks.mark[i].value = 0x99;
		ck_assert_int_eq(cost_of_marks(&lacks, &c), -ENOENT);
	}
	marks.mark[0].value = MMUCOST_END;
	marks.mark[2].value = MMUCOST_WARM;
	ck_assert_int_eq(cost_of_marks(&marks, &c), -ENOENT);
	marks.count = 0;
	ck_assert_int_eq(cost_of_marks(&marks, &c), -ENOENT);
}
END_TEST

static void add(struct part *sum, const struct part *p)
{
	sum->io += p->io;
	sum->hlt += p->hlt;
	for (int i = 0; i < COUNTERS; i++)
		sum->counter[i] += p->counter[i];
}

/* Means over runs of which not each has every cause; and times without the least that a mark took. */
START_TEST(test_cell)
{
	struct random r = random_start("cost of cells");

	for (int i = 0; i < 300; i++) {
		uint64_t operations = 1 + random_below(&r, 1000), least = UINT64_MAX, ns[RUNS];
		unsigned int runs = 1 + (unsigned int)random_below(&r, RUNS);
		struct cell cell = {.kind = CELL_EMPTY};
		struct part sum = {0};

		for (unsigned int j = 0; j < runs; j++) {
			struct part boot = random_part(&r), mark = random_part(&r), work = random_part(&r);
			struct marks marks = run_of(&boot, &mark, &work);
			struct cost c;

			expect_eq(cost_of_marks(&marks, &c), 0);
			expect_eq(cost_add_to_cell(&c, operations, &cell), 0);
			least = mark.ns < least ? mark.ns : least;
			ns[j] = work.ns + mark.ns;
			add(&sum, &work);
		}
		cost_take_mark((double)least, operations, &cell);
		expect(cell.kind == CELL_MEASURED && cell.us.n == runs);
		for (unsigned int j = 0; j < runs; j++)
			expect(close_to(cell.us.value[j], (double)(ns[j] - least) / 1000 / (double)operations));
		expect_counts(&sum, (double)operations * runs, cell.cause, cell.causes, cell.exits);
		for (unsigned int j = 1; j < cell.causes; j++)
			expect(cell.cause[j - 1].per_operation >= cell.cause[j].per_operation);
		free(cell.us.value);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_marks, test_nothing_below_zero, test_marks_missing, test_cell};

	return RUN_TESTS("compare-cost", tests);
}
