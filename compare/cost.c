#include "compare/cost.h"

#include <errno.h>
#include <linux/kvm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/marks.h"
#include "guest/lib/mmucost.h"
#include "vmm/exit.h"

/* The clock's own grain: no run takes less, and a ratio of 0 is none. */
#define LEAST_NS 1.0

static void add_cause(struct cost *c, const char *kind, const char *name, uint64_t times)
{
	struct cause *cause = &c->cause[c->causes];

	if (!times || c->causes == CELL_MAX_CAUSES)
		return;
	snprintf(cause->name, sizeof(cause->name), "%s%s", kind, name);
	cause->per_operation = (double)times;
	c->causes++;
}

struct cost cost_between(const struct mark *from, const struct mark *to)
{
	struct cost c = {.ns = (double)mark_ns_between(from, to), .exits = (double)mark_exits_between(from, to)};

	for (unsigned int i = 0; i < VCPU_EXIT_KINDS; i++)
		if (i != KVM_EXIT_INTR && exit_name(i))
			add_cause(&c, CAUSE_EXIT, exit_name(i), to->exits[i] - from->exits[i]);
	for (unsigned int i = 0; i < to->stats.count; i++) {
		const struct mmu_counter *counter = &to->stats.counter[i];

		add_cause(&c, "", counter->name, counter->value - mark_counter(from, counter->name));
	}
	return c;
}

static struct cause *find_cause(struct cause *list, unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	return NULL;
}

static void subtract_counts(struct cost *c, const struct cost *part)
{
	c->exits = fmax(c->exits - part->exits, 0);
	for (unsigned int i = 0; i < part->causes; i++) {
		struct cause *cause = find_cause(c->cause, c->causes, part->cause[i].name);

		if (cause)
			cause->per_operation = fmax(cause->per_operation - part->cause[i].per_operation, 0);
	}
}

int cost_of_marks(const struct marks *marks, struct cost *c)
{
	const struct mark *warm = marks_find(marks, MMUCOST_WARM), *begin = marks_find(marks, MMUCOST_BEGIN);
	const struct mark *end = marks_find(marks, MMUCOST_END);
	struct cost mark;

	if (!warm || !begin || !end || warm > begin || begin > end)
		return -ENOENT;
	mark = cost_between(warm, begin);
	*c = cost_between(begin, end);
	subtract_counts(c, &mark);
	c->mark_ns = mark.ns;
	return 0;
}

static void move_mean(double *mean, double value, unsigned int n)
{
	*mean += (value - *mean) / n;
}

static int by_frequency(const void *a, const void *b)
{
	const struct cause *x = a, *y = b;

	if (x->per_operation != y->per_operation)
		return x->per_operation < y->per_operation ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* A cause that a run has not had counts as 0 in it, as has one that earlier runs had not. */
static void move_causes(struct cell *cell, const struct cost *c, double operations)
{
	struct cost left = *c;

	for (unsigned int i = 0; i < cell->causes; i++) {
		struct cause *now = find_cause(left.cause, left.causes, cell->cause[i].name);

		move_mean(&cell->cause[i].per_operation, now ? now->per_operation / operations : 0, cell->us.n);
		if (now)
			now->per_operation = 0;
	}
	for (unsigned int i = 0; i < left.causes && cell->causes < CELL_MAX_CAUSES; i++)
		if (left.cause[i].per_operation > 0) {
			struct cause *new = &cell->cause[cell->causes++];

			*new = left.cause[i];
			new->per_operation /= operations * cell->us.n;
		}
	qsort(cell->cause, cell->causes, sizeof(*cell->cause), by_frequency);
}

int cost_add_to_cell(const struct cost *c, uint64_t operations, struct cell *cell)
{
	double n = (double)operations;
	int r = samples_add(&cell->us, c->ns / 1000 / n);

	if (r < 0)
		return r;
	cell->kind = CELL_MEASURED;
	move_mean(&cell->exits, c->exits / n, cell->us.n);
	move_causes(cell, c, n);
	return 0;
}

void cost_take_mark(double mark_ns, uint64_t operations, struct cell *cell)
{
	double per_us = 1000 * (double)operations;

	for (unsigned int i = 0; i < cell->us.n; i++)
		cell->us.value[i] = fmax(cell->us.value[i] - mark_ns / per_us, LEAST_NS / per_us);
}
