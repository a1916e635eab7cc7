#include "compare/versus.h"

#include <string.h>

bool column_is_shadow(const struct column *c)
{
	return !strcmp(c->mmu, "shadow");
}

bool column_same_machine(const struct column *a, const struct column *b)
{
	return !strcmp(a->cpu, b->cpu) && !strcmp(a->kernel, b->kernel) && a->emulated == b->emulated;
}

/* A better thing to be read against than b? */
static bool is_better_base(const struct column *a, const struct column *b)
{
	if (a->nested != b->nested)
		return a->nested;
	return strcmp(a->name, b->name) < 0;
}

unsigned int versus_base(const struct comparison *c, unsigned int column)
{
	unsigned int best = NO_COLUMN;

	for (unsigned int i = 0; i < c->columns; i++) {
		const struct column *other = &c->column[i];

		if (column_is_shadow(other) || !column_same_machine(other, &c->column[column]))
			continue;
		if (best == NO_COLUMN || is_better_base(other, &c->column[best]))
			best = i;
	}
	return best == column ? NO_COLUMN : best;
}

bool cell_has_time(const struct comparison *c, const struct row *r, unsigned int column)
{
	const struct cell *cell = &r->cell[column];

	return cell->kind == CELL_MEASURED && cell->us.n && !counts_only(&c->column[column], cell);
}

struct verdict versus(const struct comparison *c, const struct row *r, unsigned int a, unsigned int b)
{
	if (!cell_has_time(c, r, a) || !cell_has_time(c, r, b) || !column_same_machine(&c->column[a], &c->column[b]))
		return (struct verdict){.kind = VERDICT_NONE};
	return verdict_of(&r->cell[a], &r->cell[b]);
}
