#include "replay/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/debug.h"
#include "vmm/log.h"

static bool same_point(const struct debug_point *a, const struct debug_point *b)
{
	return a->kind == b->kind && a->gva == b->gva && a->size == b->size && a->placed == b->placed && (!a->placed || a->gpa == b->gpa);
}

static bool same_points(const struct point_set *s, const struct debug_point *point, unsigned int count)
{
	if (s->count != count)
		return false;
	for (unsigned int i = 0; i < count; i++) {
		if (!same_point(&s->point[i], &point[i]))
			return false;
	}
	return true;
}

static int add_set(struct point_sets *s, const struct debug_point *point, unsigned int count)
{
	struct point_set *more = reallocarray(s->set, s->count + 1, sizeof(*more));
	struct debug_point *copy = calloc(count + 1u, sizeof(*copy));

	if (more)
		s->set = more;
	if (!more || !copy) {
		free(copy);
		return log_errno(ENOMEM, "points");
	}
	if (count)
		memcpy(copy, point, count * sizeof(*copy));
	s->set[s->count++] = (struct point_set){.point = copy, .count = count};
	return 0;
}

int point_sets_find(struct point_sets *s, const struct debug_point *point, unsigned int count, size_t *number)
{
	for (*number = 0; *number < s->count; ++*number) {
		if (same_points(&s->set[*number], point, count))
			return 0;
	}
	return add_set(s, point, count);
}

void point_sets_free(struct point_sets *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->set[i].point);
	free(s->set);
	*s = (struct point_sets){0};
}

static int make_room(struct place *p, size_t count)
{
	struct move *more;

	if (count <= p->room)
		return 0;
	more = reallocarray(p->move, 2 * count, sizeof(*more));
	if (!more)
		return log_errno(ENOMEM, "a place");
	p->move = more;
	p->room = 2 * count;
	return 0;
}

void place_set(struct place *p, uint64_t position)
{
	p->position = position;
	p->count = 0;
}

int place_copy(struct place *to, const struct place *from)
{
	int r = make_room(to, from->count);

	if (r < 0)
		return r;
	place_set(to, from->position);
	to->count = from->count;
	if (from->count)
		memcpy(to->move, from->move, from->count * sizeof(*from->move));
	return 0;
}

int place_add(struct place *p, enum move_kind kind, size_t points)
{
	struct move *last = p->count ? &p->move[p->count - 1] : NULL;
	int r;

	if (last && last->kind == kind && last->points == points && last->times < UINT32_MAX) {
		last->times++;
		return 0;
	}
	r = make_room(p, p->count + 1);
	if (r == 0)
		p->move[p->count++] = (struct move){.kind = kind, .times = 1, .points = points};
	return r;
}

void place_take_back(struct place *p)
{
	struct move *last = &p->move[p->count - 1];

	if (!--last->times)
		p->count--;
}

void place_free(struct place *p)
{
	free(p->move);
	*p = (struct place){0};
}
