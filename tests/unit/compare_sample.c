#include "tests/unit/compare_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
#define TRAP_US 36.0  /* of our shadow over an interpreted ring 0 */
#define LAB_US 110.0  /* of our shadow in the emulation */
#define SHARE_OF_LAST 0.3

/* What one operation is like on each host: direct and shadow times in us, exits of shadow, and the two commonest causes. */
static const struct like {
	const char *name, *group, *what;
	double interpreted, interpreted_shadow, nested, nested_shadow, kvm_shadow, exits;
	const char *cause[2];
	unsigned int levels;
} likes[] = {
	{"syscall", "nanobenchmarks", "a system call that does nothing", 28, 74, 4.1, 214, 5.3, 2, {"system_calls", "returns"}, 4},
	{"port-in", "nanobenchmarks", "a read of a port", 9.3, 37, 31, 128, 32, 1, {"ports", NULL}, 4},
	{"cr-write", "nanobenchmarks", "a write to CR0", 0.9, 36, 0.4, 109, 14, 1, {"control_registers", NULL}, 4},
	{"call-ret", "nanobenchmarks", "a call and a return in ring 0", 1.3, 0.0021, 0.011, 0.011, 0.011, 0, {NULL, NULL}, 4},
	{"page-fault", "nanobenchmarks", "a fault that the guest's kernel resolves", 41, 146, 9.7, 437, 58, 4, {"reflected", "returns"}, 4},
	{"divide-fault", "nanobenchmarks", "a division by zero, handled", 31, 74, 5.2, 225, 6.1, 2, {"reflected", "returns"}, 4},
	{"pte-modify", "nanobenchmarks", "a change of a present entry", 6.2, 37, 0.05, 118, 61, 1, {"table_stores", NULL}, 4},
	{"switch-2", "page tables and address spaces", "a CR3 load between two spaces", 5.1, 38, 0.9, 122, 13, 1, {"control_registers", NULL}, 4},
	{"switch-8", "page tables and address spaces", "a CR3 load between eight spaces", 5.2, 38.5, 1.0, 125, 41, 1, {"control_registers", NULL}, 4},
	{"switch-32", "page tables and address spaces", "a CR3 load between 32 spaces", 6.9, 171, 1.1, 491, 52, 4.2, {"hidden_faults", "control_registers"}, 4},
	{"invlpg", "page tables and address spaces", "INVLPG and a read", 3.1, 39, 1.2, 131, 27, 1, {"invlpgs", NULL}, 4},
	{"hidden-fault", "page tables and address spaces", "the first read of a page that is mapped", 2.0, 1.9, 0.5, 4.1, 22, 0.032, {"hidden_faults", NULL}, 4},
	{"ad-fault", "page tables and address spaces", "the first read of a page without A", 2.6, 38, 0.6, 117, 31, 1, {"hidden_faults", NULL}, 4},
	{"fork-exit-wait", "processes", "a child that ends at once", 1190, 1710, 320, 5210, 1450, 47, {"table_stores", "system_calls"}, 4},
	{"mmap-1", "processes", "map, touch and unmap a page", 139, 352, 31, 1090, 160, 9, {"system_calls", "table_stores"}, 4},
	{"mmap-1024", "processes", "map, touch and unmap 1024 pages", 61000, 84000, 15100, 232000, 98000, 2088, {"reflected", "returns"}, 4},
	{"demand-zero", "processes", "the first touch of a page of the heap", 66, 77, 14.8, 220, 88, 2.1, {"reflected", "returns"}, 4},
	{"chase-4k-half", "memory beyond the TLB", "a dependent load, half of the TLB's reach", 0.0123, 0.0124, 0.031, 0.031, 0.03, 0, {NULL, NULL}, 4},
	{"chase-4k-8x", "memory beyond the TLB", "a dependent load, eight times the TLB's reach", 0.0871, 0.0869, 0.184, 0.187, 0.121, 0, {NULL, NULL}, 4},
	{"chase-2m-8x", "memory beyond the TLB", "the same with pages of 2 MiB", 0.0712, 0.0719, 0.138, 0.139, 0.1, 0, {NULL, NULL}, 3},
	{"many-processes", "mixed loads", "64 short processes", 88000, 121000, 22000, 366000, 110000, 3310, {"table_stores", "system_calls"}, 4},
	{"compute", "mixed loads", "1000 steps of computing in ring 3", 0.251, 0.251, 1.9, 1.9, 1.9, 0, {NULL, NULL}, 4},
};

#define LIKES (sizeof(likes) / sizeof(*likes))

/* Between -1 and 1, always the same. */
static double wander(void)
{
	return drand48() * 2 - 1;
}

struct column *sample_column(struct comparison *c, const char *name, const char *mmu, const char *host_mmu, bool nested)
{
	struct column *column = comparison_add_column(c);

	if (!column)
		exit(1);
	snprintf(column->name, sizeof(column->name), "%s", name);
	snprintf(column->mmu, sizeof(column->mmu), "%s", mmu);
	snprintf(column->host_mmu, sizeof(column->host_mmu), "%s", host_mmu);
	snprintf(column->host_words, sizeof(column->host_words), "%s",
		 nested ? "AMD NPT: nested paging in hardware" : "KVM shadows the guest's page tables in the kernel");
	snprintf(column->cpu, sizeof(column->cpu), "AMD EPYC");
	snprintf(column->kernel, sizeof(column->kernel), "Linux 6.1.0");
	snprintf(column->clocksource, sizeof(column->clocksource), "tsc");
	column->nested = nested;
	column->host_page = 4096;
	column->tlb_reach = 6ull << 20;
	column->bare_exit_us = 9.1;
	column->bare_loop_ns = 0.251;
	return column;
}

struct row *sample_row(struct comparison *c, const char *name, const char *group)
{
	struct row *r = comparison_add_row(c);

	if (!r)
		exit(1);
	snprintf(r->name, sizeof(r->name), "%s", name);
	snprintf(r->group, sizeof(r->group), "%s", group);
	r->operations = 1000;
	return r;
}

void sample_cell(struct cell *cell, unsigned int n, double us, double noise, double exits)
{
	cell->kind = CELL_MEASURED;
	cell->exits = exits;
	for (unsigned int i = 0; i < n; i++)
		if (samples_add(&cell->us, us * (1 + noise * wander())))
			exit(1);
}

void sample_cause(struct cell *cell, const char *name, double per_operation)
{
	struct cause *cause = &cell->cause[cell->causes++];

	snprintf(cause->name, sizeof(cause->name), "%s", name);
	cause->per_operation = per_operation;
}

static void give_causes(struct cell *cell, const struct like *l)
{
	double share = l->cause[1] ? 1 - SHARE_OF_LAST : 1;

	if (l->exits == 0)
		return;
	sample_cause(cell, CAUSE_EXIT "io", l->exits);
	sample_cause(cell, l->cause[0], l->exits * share);
	if (l->cause[1])
		sample_cause(cell, l->cause[1], l->exits * (1 - share));
	sample_cause(cell, "fills", 3.2);
}

static struct row *add_like(struct comparison *c, const struct like *l)
{
	struct row *r = sample_row(c, l->name, l->group);

	snprintf(r->what, sizeof(r->what), "%s", l->what);
	return r;
}

static void give_walk(struct cell *cell, unsigned int guest, unsigned int host)
{
	cell->walk = (struct walk_length){guest, host, host ? (guest + 1) * (host + 1) - 1 : guest};
}

static void make_interpreted(struct comparison *c)
{
	c->rounds = ROUNDS;
	for (unsigned int i = 0; i < 2; i++) {
		struct column *column = sample_column(c, i ? "shadow" : "ept", i ? "shadow" : "ept", "pvm-shadow", false);

		snprintf(column->host_words, sizeof(column->host_words),
			 "no hardware virtualisation: KVM shadows the guest's page tables and interprets its ring 0");
		column->ring0_interpreted = true;
	}
	for (size_t i = 0; i < LIKES; i++) {
		struct row *r = add_like(c, &likes[i]);

		sample_cell(&r->cell[0], ROUNDS, likes[i].interpreted, 0.04, likes[i].cause[0] && !strcmp(likes[i].cause[0], "ports"));
		sample_cell(&r->cell[1], ROUNDS, likes[i].interpreted_shadow, i % 5 == 4 ? 0.4 : 0.05, likes[i].exits);
		give_causes(&r->cell[1], &likes[i]);
		give_walk(&r->cell[0], 4, 0);
		give_walk(&r->cell[1], 4, 0);
		if (r->cell[0].exits > 0)
			sample_cause(&r->cell[0], CAUSE_EXIT "io", r->cell[0].exits);
	}
}

static void make_lab(struct comparison *c)
{
	c->rounds = ROUNDS;
	for (unsigned int i = 0; i < 3; i++) {
		static const char *const names[] = {"shadow", "nested (npt)", "kvm shadow"};
		struct column *column = sample_column(c, names[i], i ? "ept" : "shadow", i == 2 ? "kvm-shadow" : "npt", i < 2);

		column->emulated = true;
		column->bare_exit_us = 31;
	}
	for (size_t i = 0; i < LIKES; i++) {
		const struct like *l = &likes[i];
		struct row *r = add_like(c, l);

		sample_cell(&r->cell[0], ROUNDS, l->nested_shadow, i % 7 == 3 ? 0.3 : 0.06, l->exits);
		sample_cell(&r->cell[1], ROUNDS, l->nested, 0.06, l->cause[0] && !strcmp(l->cause[0], "ports"));
		sample_cell(&r->cell[2], ROUNDS, l->kvm_shadow, 0.06, 0);
		give_causes(&r->cell[0], l);
		give_walk(&r->cell[0], l->levels, 4);
		give_walk(&r->cell[1], l->levels, 4);
		give_walk(&r->cell[2], 4, 0);
	}
}

static void make_partial(struct comparison *c)
{
	struct cell *cannot;

	make_interpreted(c);
	c->partial = true;
	cannot = &c->row[2].cell[1];
	cannot->kind = CELL_CANNOT;
	snprintf(cannot->why, sizeof(cannot->why), "the image uses POPF at 0x1002a4 (set_flags+0x4), which runs wrong in ring 3 here");
	for (size_t i = 12; i < c->rows; i++)
		for (unsigned int j = 0; j < 2; j++)
			c->row[i].cell[j].us.n = i == 12 ? 3 : 0;
	for (size_t i = 13; i < c->rows; i++)
		for (unsigned int j = 0; j < 2; j++)
			c->row[i].cell[j].kind = CELL_EMPTY;
}

/* Fills all of a text. */
static void spoil(char *text, size_t room)
{
	static const char bad[] = "<b>&\"'\x01\n\t\x7f\xc3\xa9\xff]]>--\x1b[31m</td><script>alert(1)</script>";

	for (size_t i = 0; i + 1 < room; i++)
		text[i] = bad[i % (sizeof(bad) - 1)];
	text[room - 1] = '\0';
}

#define SPOIL(text) spoil(text, sizeof(text))

static void make_hostile(struct comparison *c)
{
	make_lab(c);
	for (unsigned int i = 0; i < c->columns; i++) {
		struct column *column = &c->column[i];

		SPOIL(column->name);
		SPOIL(column->host_mmu);
		SPOIL(column->host_words);
		SPOIL(column->cpu);
		SPOIL(column->kernel);
		SPOIL(column->clocksource);
		if (i == 1)
			SPOIL(column->mmu);
	}
	for (size_t i = 0; i < c->rows; i++) {
		struct row *r = &c->row[i];

		SPOIL(r->name);
		SPOIL(r->what);
		if (i % 2)
			SPOIL(r->group);
		for (unsigned int j = 0; j < c->columns; j++) {
			SPOIL(r->cell[j].why);
			r->cell[j].kind = i % 4 == 3 ? CELL_CANNOT : CELL_MEASURED;
			for (unsigned int k = 0; k < r->cell[j].causes; k++)
				SPOIL(r->cell[j].cause[k].name);
		}
		r->cell[0].exits = 1e300;
		r->cell[1].us.value[0] = i % 3 ? 1e-300 : 1e300;
		r->cell[2].us.value[0] = 0;
	}
}

static void make_eight(struct comparison *c)
{
	make_lab(c);
	for (unsigned int i = c->columns; i < COMPARISON_MAX_COLUMNS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "column number %u", i + 1);
		sample_column(c, name, i % 2 ? "ept" : "shadow", i % 3 ? "npt" : "ept", true);
		for (size_t j = 0; j < c->rows; j++)
			sample_cell(&c->row[j].cell[i], ROUNDS, likes[j].nested * i, 0.1, i);
	}
}

static void make_one(struct comparison *c)
{
	make_lab(c);
	c->columns = 1;
	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 1; j < COMPARISON_MAX_COLUMNS; j++) {
			free(c->row[i].cell[j].us.value);
			c->row[i].cell[j] = (struct cell){0};
		}
}

void sample_make(struct comparison *c, enum sample kind)
{
	static void (*const make[])(struct comparison *c) = {
		[SAMPLE_INTERPRETED] = make_interpreted, [SAMPLE_LAB] = make_lab, [SAMPLE_PARTIAL] = make_partial,
		[SAMPLE_HOSTILE] = make_hostile, [SAMPLE_EIGHT] = make_eight, [SAMPLE_ONE] = make_one,
	};

	srand48(1);
	comparison_init(c);
	if (kind == SAMPLE_EMPTY)
		sample_column(c, "shadow", "shadow", "npt", true);
	else if (kind != SAMPLE_NOTHING)
		make[kind](c);
}
