#include "dedup/map_budget.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/ensure.h"
#include "vmm/host_file.h"
#include "vmm/log.h"

#define LIMIT "/proc/sys/vm/max_map_count"
#define MAPS "/proc/self/maps"

static int read_limit(const char *root, uint64_t *limit)
{
	char line[32], *end;

	if (!host_file_line(root, LIMIT, "", line, sizeof(line)))
		return log_errno(ENOENT, "%s" LIMIT, root);
	*limit = strtoull(line, &end, 10);
	return end != line && !*end ? 0 : log_bad(EINVAL, "%s" LIMIT ": '%s' is no number", root, line);
}

/* A line each. */
static int count_mappings(const char *root, uint64_t *count)
{
	char path[256];
	FILE *f;
	int c, err;

	*count = 0;
	snprintf(path, sizeof(path), "%s" MAPS, root);
	f = fopen(path, "re");
	if (!f)
		return log_errno(errno, "%s", path);
	while ((c = getc_unlocked(f)) != EOF)
		*count += c == '\n';
	err = ferror(f) ? log_errno(EIO, "%s", path) : 0;
	fclose(f);
	return err;
}

int map_budget_init(struct map_budget *b, const char *root)
{
	uint64_t limit = 0, have, usable;
	int r;

	b->most = 0;
	atomic_init(&b->left, 0);
	r = read_limit(root, &limit);
	if (r == 0)
		r = count_mappings(root, &have);
	if (r < 0)
		return r;
	usable = limit - limit / 4;
	b->most = usable > have ? usable - have : 0;
	atomic_init(&b->left, b->most);
	return 0;
}

/* Nothing else is told by these numbers, so the order of other memory does not matter. */
bool map_budget_take(struct map_budget *b, uint64_t n)
{
	uint64_t left = atomic_load_explicit(&b->left, memory_order_relaxed);

	do {
		if (left < n)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->left, &left, left - n, memory_order_relaxed, memory_order_relaxed));
	return true;
}

void map_budget_give(struct map_budget *b, uint64_t n)
{
	uint64_t before = atomic_fetch_add_explicit(&b->left, n, memory_order_relaxed);

	ensure(n <= b->most && before <= b->most - n);
}

void map_budget_recount(struct map_budget *b, const char *root)
{
	uint64_t left = map_budget_left(b), most = b->most, counted;
	struct map_budget now;

	if (map_budget_init(&now, root) < 0)
		return;
	counted = now.most < most ? now.most : most;
	if (counted > left)
		map_budget_give(b, counted - left);
}

uint64_t map_budget_left(const struct map_budget *b)
{
	return atomic_load_explicit(&b->left, memory_order_relaxed);
}
