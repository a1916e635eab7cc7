#include "replay/gdb_points.h"

#include <errno.h>

static struct gdb_point *find(struct gdb_points *points, const struct gdb_point *p)
{
	for (struct gdb_point *q = points->point; q < points->point + points->count; q++) {
		if (q->kind == p->kind && q->gva == p->gva && q->size == p->size)
			return q;
	}
	return NULL;
}

int gdb_points_insert(struct gdb_points *points, const struct gdb_target *target, const struct gdb_point *p)
{
	int r;

	if (find(points, p))
		return 0;
	if (points->count == GDB_POINTS_MAX)
		return -ENOSPC;
	r = target->ops->insert(target->target, p);
	if (r == 0)
		points->point[points->count++] = *p;
	return r;
}

void gdb_points_remove(struct gdb_points *points, const struct gdb_target *target, const struct gdb_point *p)
{
	struct gdb_point *q = find(points, p);

	if (!q)
		return;
	target->ops->remove(target->target, p);
	*q = points->point[--points->count];
}

void gdb_points_remove_all(struct gdb_points *points, const struct gdb_target *target)
{
	while (points->count) {
		struct gdb_point *last = &points->point[--points->count];

		target->ops->remove(target->target, last);
	}
}
