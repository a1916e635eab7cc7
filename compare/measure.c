#include "compare/measure.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compare/benchmark_guest.h"
#include "compare/column.h"
#include "compare/cost.h"
#include "compare/floor.h"
#include "compare/marks.h"
#include "compare/walk_length.h"
#include "compare/workload.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/printable.h"

#define EIGHTHS 8
#define MEM_OF_IMAGE (64ull << 20) /* as `penumbra run` gives it */
#define MEM_OF_WORKLOAD (34ull << 20) /* besides what it reaches for; see workload.h */
#define MEM_STEP (2ull << 20)

struct measuring {
	const struct measure_plan *plan;
	struct comparison *c;
	const struct image *image;
	uint64_t tlb_reach, mem;
	unsigned int done, all; /* runs */
	bool cut;		/* a run was stopped */
	/* Of this row, for each column: */
	int status[COMPARISON_MAX_COLUMNS];	/* the image's */
	double mark_ns[COMPARISON_MAX_COLUMNS]; /* the least that a mark took */
};

/* What one row is made of. */
struct task {
	const struct workload *workload; /* NULL: the image as a whole */
	const char *arguments;
	size_t row;
};

static bool stopped(const struct measuring *m)
{
	return m->plan->stop && atomic_load(m->plan->stop);
}

static struct row *row_of(const struct measuring *m, const struct task *t)
{
	return &m->c->row[t->row];
}

static void say_cannot(struct cell *cell, const char *why)
{
	cell->kind = CELL_CANNOT;
	snprintf(cell->why, sizeof(cell->why), "%s", why);
}

/* What a run that went to its end has cost. */
static int evaluate(const struct task *t, const struct marks *marks, struct cost *cost)
{
	if (t->workload)
		return cost_of_marks(marks, cost);
	*cost = cost_between(&marks->start, &marks->end);
	return 0;
}

/* An image may end with any status of its own; the benchmark guest says by 0 that its work was right. */
static bool ended_well(const struct task *t, const struct marks *marks, int status)
{
	return status == 0 || (!t->workload && marks->ended == VM_EXITED);
}

/* A run to warm up is thrown away, unless it says that the mode cannot; but what a mark took in it is as good as any. */
static int add_run(struct measuring *m, const struct task *t, unsigned int column, const struct marks *marks, int status,
		   bool warm_up)
{
	struct row *row = row_of(m, t);
	struct cell *cell = &row->cell[column];
	struct cost cost;

	if (!ended_well(t, marks, status)) {
		say_cannot(cell, marks->why);
		return 0;
	}
	if (evaluate(t, marks, &cost) < 0) {
		say_cannot(cell, "the guest has not said where its work began and ended");
		return 0;
	}
	m->status[column] = status;
	if (marks->host_page)
		m->c->column[column].host_page = marks->host_page;
	m->mark_ns[column] = fmin(m->mark_ns[column], cost.mark_ns);
	return warm_up ? 0 : cost_add_to_cell(&cost, row->operations, cell);
}

static void show_progress(struct measuring *m, const struct task *t)
{
	if (m->plan->progress)
		m->plan->progress(m->plan->progress_arg, row_of(m, t)->name, m->done, m->all);
	m->done++;
}

static int run_once(struct measuring *m, const struct task *t, unsigned int column, bool warm_up)
{
	const struct marks_config config = {
		.kvm = m->plan->kvm, .mmu = m->plan->mmu[column], .image = m->image, .arguments = t->arguments, .mem = m->mem,
		.huge = m->plan->huge, .cpu = m->plan->cpu, .timeout_ms = m->plan->timeout_ms, .stop = m->plan->stop,
	};
	struct marks marks;
	int status;

	show_progress(m, t);
	if (row_of(m, t)->cell[column].kind == CELL_CANNOT)
		return 0;
	status = marks_run(&config, &marks);
	m->cut = stopped(m);
	return m->cut ? 0 : add_run(m, t, column, &marks, status, warm_up);
}

static int measure_rounds(struct measuring *m, const struct task *t)
{
	int r = 0;

	for (unsigned int column = 0; column < m->plan->modes; column++)
		m->mark_ns[column] = HUGE_VAL;
	for (unsigned int round = 0; round <= m->plan->rounds; round++)
		for (unsigned int column = 0; column < m->plan->modes; column++) {
			if (r == 0 && !stopped(m))
				r = run_once(m, t, column, round == 0);
		}
	for (unsigned int column = 0; column < m->plan->modes; column++)
		cost_take_mark(m->mark_ns[column], row_of(m, t)->operations, &row_of(m, t)->cell[column]);
	return r;
}

/* Ends that differ are of different work. */
static void compare_status(struct measuring *m, const struct task *t)
{
	struct row *row = row_of(m, t);
	unsigned int first = 0;
	char why[sizeof(row->cell->why)];
	bool differ = false;

	while (first < m->plan->modes && row->cell[first].kind != CELL_MEASURED)
		first++;
	for (unsigned int i = first + 1; i < m->plan->modes; i++)
		differ |= row->cell[i].kind == CELL_MEASURED && m->status[i] != m->status[first];
	for (unsigned int i = first; differ && i < m->plan->modes; i++) {
		if (row->cell[i].kind != CELL_MEASURED)
			continue;
		snprintf(why, sizeof(why), "the guest ends with status %d here, but not with the same in every mode: that is not the same work",
			 m->status[i]);
		say_cannot(&row->cell[i], why);
	}
}

static void describe_workload(struct row *row, const struct workload *w)
{
	snprintf(row->name, sizeof(row->name), "%s", w->name);
	snprintf(row->group, sizeof(row->group), "%s", workload_group_name(w->group));
	snprintf(row->what, sizeof(row->what), "%s", w->what);
	row->operations = w->count;
}

static void describe_image(struct row *row, const struct measure_plan *plan)
{
	const char *slash = strrchr(plan->image, '/'), *name = slash ? slash + 1 : plan->image;
	char text[sizeof(row->what)];

	snprintf(text, sizeof(text), "%s%s%s", name, *plan->arguments ? " " : "", plan->arguments);
	printable(row->name, sizeof(row->name), text, strlen(text));
	snprintf(row->group, sizeof(row->group), "whole image");
	snprintf(row->what, sizeof(row->what), "from the guest's first instruction to its end");
	row->operations = 1;
}

/* Not before its guests have run: how long a walk is depends on the pages that the host gave them. */
static void add_walks(struct measuring *m, const struct task *t)
{
	struct cell *cell = row_of(m, t)->cell;

	for (unsigned int i = 0; i < m->plan->modes; i++)
		if (cell[i].kind == CELL_MEASURED)
			cell[i].walk = walk_length_of(&m->c->column[i], t->workload->pages);
}

static bool is_empty(const struct row *row)
{
	for (unsigned int i = 0; i < COMPARISON_MAX_COLUMNS; i++)
		if (row->cell[i].kind != CELL_EMPTY)
			return false;
	return true;
}

static int measure_row(struct measuring *m, struct task *t)
{
	struct row *row = comparison_add_row(m->c);
	int r;

	if (!row)
		return -ENOMEM;
	t->row = (size_t)(row - m->c->row);
	if (t->workload)
		describe_workload(row, t->workload);
	else
		describe_image(row, m->plan);
	r = measure_rounds(m, t);
	if (t->workload)
		add_walks(m, t);
	else
		compare_status(m, t);
	if (is_empty(row))
		m->c->rows--;
	return r;
}

/* mmucost OPERATION N [PAGES] */
static void command_line(const struct measuring *m, const struct workload *w, char *line, size_t room)
{
	uint64_t pages = m->tlb_reach / EIGHTHS * w->reach / PAGE_SIZE;

	if (w->reach)
		snprintf(line, room, "%s %u %" PRIu64, w->operation, w->count, pages);
	else
		snprintf(line, room, "%s %u", w->operation, w->count);
}

static int measure_workloads(struct measuring *m)
{
	int r = 0;

	for (size_t i = 0; i < m->plan->workloads && r == 0 && !stopped(m); i++) {
		char line[128];
		struct task t = {.workload = m->plan->workload[i], .arguments = line};

		command_line(m, t.workload, line, sizeof(line));
		r = measure_row(m, &t);
	}
	return r;
}

static int add_columns(struct measuring *m)
{
	double exit_us, loop_ns = floor_loop_ns();
	int r = floor_exit_us(m->plan->kvm, &exit_us);

	for (unsigned int i = 0; i < m->plan->modes && r == 0; i++) {
		struct column *column = comparison_add_column(m->c);

		if (!column)
			return -E2BIG;
		column_describe(column, m->plan->mmu[i], m->plan->program, "");
		snprintf(column->name, sizeof(column->name), "%s", m->plan->mmu[i]->name);
		column->bare_exit_us = exit_us;
		column->bare_loop_ns = loop_ns;
	}
	return r;
}

static unsigned int most_reach(const struct measure_plan *plan)
{
	unsigned int most = 0;

	for (size_t i = 0; i < plan->workloads; i++)
		most = plan->workload[i]->reach > most ? plan->workload[i]->reach : most;
	return most;
}

/* The same for all workloads: what a guest has to map and clear is then no difference between them. */
static uint64_t mem_needed(const struct measuring *m)
{
	uint64_t reach = m->tlb_reach / EIGHTHS * most_reach(m->plan);

	if (m->plan->mem)
		return m->plan->mem;
	return m->plan->image ? MEM_OF_IMAGE : (MEM_OF_WORKLOAD + reach + MEM_STEP - 1) / MEM_STEP * MEM_STEP;
}

static int measure_image(struct measuring *m, const char *path)
{
	struct image image;
	struct task whole = {.arguments = m->plan->arguments};
	int r = image_open(&image, path);

	if (r < 0)
		return r;
	m->image = &image;
	r = add_columns(m);
	if (r == 0)
		r = m->plan->image ? measure_row(m, &whole) : measure_workloads(m);
	image_close(&image);
	return r;
}

int measure(struct comparison *c, const struct measure_plan *plan)
{
	size_t rows = plan->image ? 1 : plan->workloads;
	const char *where;
	struct measuring m = {.plan = plan, .c = c, .tlb_reach = column_tlb_reach(&where)};
	struct benchmark_guest guest;
	int r;

	m.all = (unsigned int)rows * plan->modes * (plan->rounds + 1);
	m.mem = mem_needed(&m);
	c->rounds = plan->rounds;
	if (plan->image) {
		r = measure_image(&m, plan->image);
	} else {
		r = benchmark_guest_open(&guest);
		if (r < 0)
			return r;
		r = measure_image(&m, guest.path);
		benchmark_guest_close(&guest);
	}
	c->partial = m.cut || m.done < m.all;
	return r;
}
