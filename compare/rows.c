#include "compare/rows.h"

#include <string.h>

bool row_starts_group(const struct comparison *c, size_t row)
{
	for (size_t i = 0; i < row; i++)
		if (!strcmp(c->row[i].group, c->row[row].group))
			return false;
	return true;
}

bool row_is_incomplete(const struct comparison *c, const struct row *r)
{
	for (unsigned int i = 0; i < c->columns; i++)
		if (r->cell[i].kind == CELL_EMPTY || (r->cell[i].kind == CELL_MEASURED && r->cell[i].us.n < c->rounds))
			return true;
	return false;
}
