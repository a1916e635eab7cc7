#include "tests/bench/report.h"

#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ept/host_mmu.h"

#define CELL 40

void report_add(struct report *r, struct line line)
{
	if (r->count == REPORT_MAX_LINES)
		errx(1, "report: too many lines");
	r->lines[r->count++] = line;
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

static void cpu_name(char *name, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256], *colon;

	snprintf(name, size, "unknown CPU");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "model name", 10) || !(colon = strchr(line, ':')))
			continue;
		snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static const char *number(char *cell, double v)
{
	snprintf(cell, CELL, "%.*f", v < 10 ? 2 : v < 100 ? 1 : 0, v);
	return cell;
}

static const char *spread(char *cell, const struct summary *s)
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

	printf("| %s, %s | %s | %s | %s | %s | %s |\n", l->what, l->unit, spread(ours, &l->ours),
	       spread(floor, &l->floor), ratio(neighbours, l->ratio),
	       ratio(medians, ratio_of_medians(l)), target(limit, l));
}

void report_table(const struct report *r)
{
	struct host_mmu host = host_mmu_detect("");
	struct utsname u = {0};
	char cpu[128];

	uname(&u);
	cpu_name(cpu, sizeof(cpu));
	printf("%s, %ld processors, Linux %s, guest paging: %s (%s)\n\n", cpu,
	       sysconf(_SC_NPROCESSORS_ONLN), u.release, host.name, host.words);
	puts("| what | Penumbra | floor | ratio | of medians | target |\n"
	     "|---|---|---|---|---|---|");
	for (unsigned int i = 0; i < r->count; i++)
		print_line(&r->lines[i]);
	putchar('\n');
}

static json_t *summary_json(const struct summary *s)
{
	if (!s->n)
		return json_null();
	return json_pack("{s:I, s:f, s:f, s:f}", "n", (json_int_t)s->n, "median", s->median, "min",
			 s->min, "max", s->max);
}

static json_t *line_json(const struct line *l)
{
	json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:b}", "what", l->what, "unit", l->unit,
			      "penumbra", summary_json(&l->ours), "floor", summary_json(&l->floor),
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
	json_t *lines = json_array(), *root;
	struct utsname u = {0};
	char cpu[128];

	uname(&u);
	cpu_name(cpu, sizeof(cpu));
	for (unsigned int i = 0; i < r->count; i++)
		json_array_append_new(lines, line_json(&r->lines[i]));
	root = json_pack("{s:s, s:I, s:s, s:s, s:o}", "cpu", cpu, "processors",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel", u.release, "host_mmu",
			 host_mmu_detect("").name, "results", lines);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}
