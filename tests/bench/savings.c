#include "tests/bench/savings.h"

#include <err.h>
#include <stdlib.h>

#define HARDLY 1.005

void course_add(struct course *c, struct moment m)
{
	if (c->count == c->room) {
		c->room = c->room ? 2 * c->room : 1024;
		c->moments = realloc(c->moments, c->room * sizeof(*c->moments));
		if (!c->moments)
			errx(1, "out of memory");
	}
	c->moments[c->count++] = m;
}

bool course_is_at_rest(const struct course *c, double quiet_s)
{
	const struct moment *last = &c->moments[c->count - 1];
	unsigned int i = c->count;

	while (i && c->moments[i - 1].s > last->s - quiet_s)
		i--;
	return i && last->kib <= c->moments[i - 1].kib * HARDLY;
}

static const struct moment *first_with(const struct course *c, double kib)
{
	unsigned int i = 0;

	while (i < c->count - 1 && c->moments[i].kib < kib)
		i++;
	return &c->moments[i];
}

struct savings course_savings(const struct course *c)
{
	double kib = c->moments[c->count - 1].kib;
	const struct moment *most = first_with(c, .9 * kib), *all = first_with(c, .995 * kib);

	return (struct savings){
		.kib = kib, .most_s = most->s, .cpu_most_s = most->cpu_s, .all_s = all->s, .cpu_s = all->cpu_s, .host_kib = -1,
	};
}

void savings_table(struct grid *g, const char *title)
{
	static const char *const heads[] = {
		"of two guests", "saved, MiB", "of the oracle's", "the host has, MiB", "90 % after, s", "all after, s", "CPU s until 90 %",
		"CPU s until all", "hot loop at rest", "metadata", NULL,
	};

	grid_start(g, title, heads);
}

void savings_row(struct grid *g, const char *name, const struct savings *s, double oracle_kib)
{
	unsigned int row = grid_row(g, name);

	grid_add(g, row, "%.1f", s->kib / 1024);
	grid_add(g, row, oracle_kib > 0 ? "%.1f %%" : "–", 100 * s->kib / oracle_kib);
	grid_add(g, row, s->host_kib >= 0 ? "%.1f" : "–", s->host_kib / 1024);
	grid_add(g, row, "%.2f", s->most_s);
	grid_add(g, row, "%.2f", s->all_s);
	grid_add(g, row, "%.2f", s->cpu_most_s);
	grid_add(g, row, "%.2f", s->cpu_s);
	grid_add(g, row, s->slower > 0 ? "%.3f ×" : "–", s->slower);
	grid_add(g, row, "%.2f %%", s->metadata_percent);
	grid_tell(g, row);
}
