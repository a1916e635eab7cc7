#include "compare/choice.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "compare/workload.h"
#include "vmm/log.h"

#define NAME_MAX_LENGTH 40
#define FAR 3 /* so many changed letters make another word */

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters to put in, take out or change to make b of a (Levenshtein's distance), row by row of its table. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_LENGTH + 1], length = strlen(b);

	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = least(row[j] + 1, row[j - 1] + 1, changed);
		}
	}
	return row[length];
}

/* Who types the beginning of a word means it. */
static size_t strangeness(const char *typed, const char *name)
{
	return !strncmp(typed, name, strlen(typed)) ? 1 : distance(typed, name);
}

const char *choice_nearest(const char *name, const char *(*name_at)(size_t i), size_t count)
{
	size_t best = FAR;
	const char *found = NULL;

	for (size_t i = 0; i < count && *name; i++) {
		const char *other = name_at(i);
		size_t d = strlen(other) <= NAME_MAX_LENGTH ? strangeness(name, other) : FAR;

		if (d < best) {
			best = d;
			found = other;
		}
	}
	return found;
}

/* The workloads, then their groups. */
static const char *any_name(size_t i)
{
	return i < workload_count ? workloads[i].name : workload_group_name((enum workload_group)(i - workload_count));
}

static int unknown(const char *name)
{
	const char *near = choice_nearest(name, any_name, workload_count + WORKLOAD_GROUPS);

	if (near)
		return log_bad(EINVAL, "compare: --only: %s: no such workload; did you mean %s? `penumbra compare --list` names all",
			       name, near);
	return log_bad(EINVAL, "compare: --only: %s: no such workload; `penumbra compare --list` names them",
		       *name ? name : "(empty name)");
}

static bool mark_chosen(const char *name, bool *chosen)
{
	bool found = false;

	for (size_t i = 0; i < workload_count; i++)
		if (!strcmp(name, workloads[i].name) || !strcmp(name, workload_group_name(workloads[i].group)))
			found = chosen[i] = true;
	return found;
}

static int list_chosen(const bool *chosen, const struct workload **list)
{
	int n = 0;

	for (size_t i = 0; i < workload_count; i++)
		if (chosen[i])
			list[n++] = &workloads[i];
	return n;
}

static int mark_all_chosen(char *text, bool *chosen)
{
	char *rest = text, *name;

	while ((name = strsep(&rest, ",")))
		if (!mark_chosen(name, chosen))
			return unknown(name);
	return 0;
}

int choice_parse(const char *text, const struct workload **list)
{
	bool *chosen = calloc(workload_count, sizeof(*chosen));
	char *copy = strdup(text);
	int r = -ENOMEM;

	if (copy && chosen)
		r = mark_all_chosen(copy, chosen);
	else
		log_errno(ENOMEM, "compare: --only");
	if (r == 0)
		r = list_chosen(chosen, list);
	free(copy);
	free(chosen);
	return r;
}

int choice_all(const struct workload **list)
{
	for (size_t i = 0; i < workload_count; i++)
		list[i] = &workloads[i];
	return (int)workload_count;
}
