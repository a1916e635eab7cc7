#include "tests/unit/compare_random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/expect.h"

double random_number(struct random *r)
{
	double unit = (double)(random_next(r) >> 11) / 9007199254740992.0;

	return random_below(r, 10) ? unit * pow(10, (double)random_below(r, 16) - 4) : 0;
}

void random_text(struct random *r, char *to, size_t room)
{
	static const char *const pieces[] = {"a", "Z", " ", "\"", "\\", "/", "<", "&", "{", "ä", "€", "😀", "x1", "-"};
	size_t most = 1 + random_below(r, room - 1);

	*to = 'n';
	to[1] = '\0';
	for (;;) {
		const char *piece = pieces[random_below(r, sizeof(pieces) / sizeof(*pieces))];

		if (strlen(to) + strlen(piece) > most || strlen(to) + strlen(piece) >= room)
			return;
		strcat(to, piece);
	}
}

void random_cell(struct random *r, struct cell *cell, unsigned int most)
{
	cell->kind = CELL_MEASURED;
	cell->exits = random_number(r);
	cell->causes = (unsigned int)random_below(r, CELL_MAX_CAUSES + 1);
	for (unsigned int i = 0; i < cell->causes; i++) {
		snprintf(cell->cause[i].name, sizeof(cell->cause[i].name), "cause %u", i);
		cell->cause[i].per_operation = random_number(r);
	}
	cell->walk = (struct walk_length){(unsigned int)random_below(r, 6), (unsigned int)random_below(r, 6),
					  (unsigned int)random_below(r, 36)};
	for (unsigned int n = 1 + (unsigned int)random_below(r, most); n; n--)
		ck_assert_int_eq(samples_add(&cell->us, random_number(r)), 0);
}

static void random_column(struct random *r, struct column *c, unsigned int number)
{
	char text[20];

	random_text(r, text, sizeof(text));
	snprintf(c->name, sizeof(c->name), "%u %s", number, text);
	random_text(r, c->mmu, sizeof(c->mmu));
	random_text(r, c->host_mmu, sizeof(c->host_mmu));
	random_text(r, c->host_words, sizeof(c->host_words));
	random_text(r, c->cpu, sizeof(c->cpu));
	random_text(r, c->kernel, sizeof(c->kernel));
	random_text(r, c->clocksource, sizeof(c->clocksource));
	c->nested = random_below(r, 2);
	c->emulated = random_below(r, 2);
	c->ring0_interpreted = random_below(r, 2);
	c->host_page = random_below(r, 1u << 30);
	c->tlb_reach = random_below(r, 1u << 30);
	c->bare_exit_us = random_number(r);
	c->bare_loop_ns = random_number(r);
}

static void random_row(struct random *r, struct row *row, size_t number, unsigned int columns)
{
	char text[40];

	random_text(r, text, sizeof(text));
	snprintf(row->name, sizeof(row->name), "%zu%s", number, text);
	random_text(r, row->group, sizeof(row->group));
	random_text(r, row->what, sizeof(row->what));
	row->operations = random_below(r, 1000000000000000);
	for (unsigned int i = 0; i < columns; i++) {
		row->cell[i].kind = (enum cell_kind)random_below(r, 3);
		if (row->cell[i].kind == CELL_MEASURED)
			random_cell(r, &row->cell[i], 12);
		else if (row->cell[i].kind == CELL_CANNOT)
			random_text(r, row->cell[i].why, sizeof(row->cell[i].why));
	}
}

void random_comparison(struct random *r, struct comparison *c)
{
	c->rounds = (unsigned int)random_below(r, COMPARISON_MAX_SAMPLES);
	c->partial = random_below(r, 2);
	for (unsigned int n = 1 + (unsigned int)random_below(r, COMPARISON_MAX_COLUMNS); n; n--)
		random_column(r, comparison_add_column(c), n);
	for (size_t n = random_below(r, 30); n; n--)
		random_row(r, comparison_add_row(c), n, c->columns);
}
