#include "vmm/loaded.h"

#include <stdbool.h>
#include <stddef.h>

/* Or overlaps. One that is none does so only at 0, where it adds nothing. */
static bool touches(const struct loaded_extent *a, const struct loaded_extent *b)
{
	return a->gpa <= b->gpa + b->size && b->gpa <= a->gpa + a->size;
}

static struct loaded_extent join(const struct loaded_extent *a, const struct loaded_extent *b)
{
	uint64_t end = a->gpa + a->size > b->gpa + b->size ? a->gpa + a->size : b->gpa + b->size;
	uint64_t gpa = a->gpa < b->gpa ? a->gpa : b->gpa;

	return (struct loaded_extent){.gpa = gpa, .size = end - gpa};
}

static struct loaded_extent *smallest(struct loaded *l)
{
	struct loaded_extent *least = &l->extent[0];

	for (unsigned int i = 1; i < LOADED_EXTENTS; i++)
		if (l->extent[i].size < least->size)
			least = &l->extent[i];
	return least;
}

static void on_dirtied(struct mem_listener *listener, uint64_t gpa, uint64_t size)
{
	struct loaded *l = (struct loaded *)((char *)listener - offsetof(struct loaded, listener));
	struct loaded_extent all = {.gpa = gpa, .size = size}, *at;

	for (unsigned int i = 0; i < LOADED_EXTENTS; i++) {
		if (!touches(&l->extent[i], &all))
			continue;
		all = join(&l->extent[i], &all);
		l->extent[i] = (struct loaded_extent){0};
	}
	at = smallest(l);
	if (at->size < all.size)
		*at = all;
}

void loaded_begin(struct loaded *l, struct mem *m)
{
	*l = (struct loaded){.listener.dirtied = on_dirtied};
	mem_listen(m, &l->listener);
}

void loaded_end(struct loaded *l, struct mem *m)
{
	mem_unlisten(m, &l->listener);
}
