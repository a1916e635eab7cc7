#include "tests/bench/report.h"

#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compare/column.h"
#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "tests/bench/grid.h"
#include "vmm/program.h"

#define CELL 40

void report_add(struct report *r, struct line line)
{
	if (r->count == REPORT_MAX_LINES)
		errx(1, "report: too many lines");
	r->lines[r->count++] = line;
}

void report_add_grid(struct report *r, const struct grid *g)
{
	if (r->grid_count == REPORT_MAX_GRIDS)
		errx(1, "report: too many tables");
	r->grids[r->grid_count++] = g;
}

static bool judged(const struct line *l)
{
	return l->target && (l->target_is != TARGET_TIME || !getenv("PENUMBRA_LAB"));
}

static bool kept(const struct line *l)
{
	return !judged(l) ||
	       (l->target_is == TARGET_OF_RATIO ? l->ratio : l->ours.median) <= l->target;
}

static double ratio_of_medians(const struct line *l)
{
	return l->floor.n ? l->ours.median / l->floor.median : 0;
}

bool report_kept(const struct report *r)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (!kept(&r->lines[i]))
			return false;
	return true;
}

/* Where this was measured. */
static struct column this_host(void)
{
	struct host_mmu found = host_mmu_detect("");
	const struct program p = {.host_mmu = found.name, .host_mmu_words = found.words};
	struct column c = {0};

	column_describe(&c, &ept_mmu, &p, "");
	return c;
}

static const char *number(char *cell, double v)
{
	snprintf(cell, CELL, "%.*f", v < 10 ? 2 : v < 100 ? 1 : 0, v);
	return cell;
}

static const char *range(char *cell, const struct spread *s)
{
	char median[CELL], min[CELL], max[CELL];

	if (!s->n)
		return "";
	if (s->n == 1)
		return number(cell, s->median);
	snprintf(cell, CELL, "%.9s (%.9s–%.9s)", number(median, s->median), number(min, s->min),
		 number(max, s->max));
	return cell;
}

static const char *ratio(char *cell, double v)
{
	if (!v)
		return "";
	snprintf(cell, CELL, "%.2f", v);
	return cell;
}

static const char *target(char *cell, const struct line *l)
{
	char v[CELL];

	if (!l->target)
		return "";
	snprintf(cell, 2 * CELL, "≤ %s%s%s", number(v, l->target),
		 l->target_is == TARGET_OF_RATIO ? " ×" : "",
		 !judged(l) ? " (not here)" : kept(l) ? "" : " **missed**");
	return cell;
}

static void print_line(const struct line *l)
{
	char ours[CELL], floor[CELL], neighbours[CELL], medians[CELL], limit[2 * CELL];

	printf("| %s, %s | %s | %s | %s | %s | %s |\n", l->what, l->unit, range(ours, &l->ours),
	       range(floor, &l->floor), ratio(neighbours, l->ratio),
	       ratio(medians, ratio_of_medians(l)), target(limit, l));
}

void report_table(const struct report *r)
{
	struct column host = this_host();

	printf("%s, %ld processors, Linux %s, guest paging: %s (%s)\n\n", host.cpu,
	       sysconf(_SC_NPROCESSORS_ONLN), host.kernel, host.host_mmu, host.host_words);
	puts("| what | Penumbra | floor | ratio | of medians | target |\n"
	     "|---|---|---|---|---|---|");
	for (unsigned int i = 0; i < r->count; i++)
		print_line(&r->lines[i]);
	putchar('\n');
	for (unsigned int i = 0; i < r->grid_count; i++)
		grid_print(r->grids[i]);
}

static json_t *spread_json(const struct spread *s)
{
	if (!s->n)
		return json_null();
	return json_pack("{s:I, s:f, s:f, s:f}", "n", (json_int_t)s->n, "median", s->median, "min",
			 s->min, "max", s->max);
}

static json_t *line_json(const struct line *l)
{
	json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:b}", "what", l->what, "unit", l->unit,
			      "penumbra", spread_json(&l->ours), "floor", spread_json(&l->floor),
			      "kept", kept(l));

	if (l->ratio) {
		json_object_set_new(j, "ratio", json_real(l->ratio));
		json_object_set_new(j, "ratio_of_medians", json_real(ratio_of_medians(l)));
	}
	if (judged(l))
		json_object_set_new(j, l->target_is == TARGET_OF_RATIO ? "target_ratio" : "target",
				    json_real(l->target));
	return j;
}

void report_json(const struct report *r)
{
	json_t *lines = json_array(), *grids = json_array(), *root;
	struct column host = this_host();

	for (unsigned int i = 0; i < r->count; i++)
		json_array_append_new(lines, line_json(&r->lines[i]));
	for (unsigned int i = 0; i < r->grid_count; i++)
		json_array_append_new(grids, grid_json(r->grids[i]));
	root = json_pack("{s:s, s:I, s:s, s:s, s:o, s:o}", "cpu", host.cpu, "processors",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", host.kernel, "host_mmu",
			 host.host_mmu, "results", lines, "tables", grids);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}
