#include "compare/notes.h"

#include <string.h>

unsigned int notes_number(const struct notes *notes, const char *why)
{
	for (unsigned int i = 0; i < notes->n; i++)
		if (!strcmp(notes->why[i], why))
			return i + 1;
	return 0;
}

struct notes notes_of(const struct comparison *c)
{
	struct notes notes = {0};

	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 0; j < c->columns; j++) {
			const struct cell *cell = &c->row[i].cell[j];

			if (cell->kind == CELL_CANNOT && !notes_number(&notes, cell->why))
				notes.why[notes.n++] = cell->why;
		}
	return notes;
}
