#include "snapshot/touched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "snapshot/reason.h"
#include "vmm/mem.h"

/*
 * Linux, Documentation/admin-guide/mm/pagemap.rst: one number a page. It is somewhere; it is a file's, not a copy that was written; it is
 * nobody else's.
 */
#define IN_RAM (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)
#define EXCLUSIVE (1ull << 56)
#define BATCH 4096u /* pages */

struct walk {
	int (*found)(void *arg, uint64_t gpa, uint64_t size);
	void *arg;
	uint64_t skip;	     /* entries with this bit, */
	uint64_t only;	     /* or with none of these; 0 = all */
	uint64_t start, end; /* gpas of the range that is being gathered */
};

static int flush(struct walk *w)
{
	int r = w->end > w->start ? w->found(w->arg, w->start, w->end - w->start) : 0;

	w->start = w->end = 0;
	return r;
}

static int gather(struct walk *w, uint64_t gpa)
{
	int r = 0;

	if (gpa != w->end) {
		r = flush(w);
		w->start = gpa;
	}
	w->end = gpa + PAGE_SIZE;
	return r;
}

static int walk_batch(struct walk *w, int fd, const struct mem_region *region, uint64_t at, struct reason *why)
{
	uint64_t entry[BATCH], pages = (region->size - at) / PAGE_SIZE < BATCH ? (region->size - at) / PAGE_SIZE : BATCH;
	off_t where = (off_t)(((uintptr_t)region->hva + at) / PAGE_SIZE * sizeof(*entry));
	int r = 0;

	if (pread(fd, entry, pages * sizeof(*entry), where) != (ssize_t)(pages * sizeof(*entry)))
		return reason_errno(why, errno ? errno : EIO, "/proc/self/pagemap");
	for (uint64_t i = 0; i < pages && r == 0; i++)
		if (entry[i] & (IN_RAM | SWAPPED) && !(entry[i] & w->skip) && (!w->only || entry[i] & w->only))
			r = gather(w, region->gpa + at + i * PAGE_SIZE);
	return r;
}

static int walk_region(struct walk *w, int fd, const struct mem_region *region, struct reason *why)
{
	int r = 0;

	for (uint64_t at = 0; at < region->size && r == 0; at += BATCH * PAGE_SIZE)
		r = walk_batch(w, fd, region, at, why);
	return r == 0 ? flush(w) : r;
}

/* Pages of a file count as touched only when somebody has looked, and hold something all the same. */
static int walk_all(const struct mem *m, struct walk *w)
{
	int r = 0;

	for (unsigned int i = 0; i < m->region_count && r == 0; i++)
		r = w->found(w->arg, m->region[i].gpa, m->region[i].size);
	return r;
}

static int walk_pages(const struct mem *m, struct walk *w, struct reason *why)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return reason_errno(why, errno, "/proc/self/pagemap");
	for (unsigned int i = 0; i < m->region_count && r == 0; i++)
		r = walk_region(w, fd, &m->region[i], why);
	close(fd);
	return r;
}

static int add_up(void *arg, uint64_t gpa, uint64_t size)
{
	*(uint64_t *)arg += size;
	return 0;
}

uint64_t touched_bytes(const struct mem *m)
{
	uint64_t bytes = 0;
	/* The host's zero page, of which exchanges make much, is like an anonymous page that others have, too. */
	struct walk w = {.found = add_up, .arg = &bytes, .skip = m->backed ? OF_FILE : 0,
			 .only = m->paged ? EXCLUSIVE | OF_FILE | SWAPPED : 0};
	struct reason why = {0};

	return walk_pages(m, &w, &why) == 0 ? bytes : 0;
}

int touched_walk(const struct mem *m, int (*found)(void *arg, uint64_t gpa, uint64_t size), void *arg, struct reason *why)
{
	struct walk w = {.found = found, .arg = arg, .skip = m->backed ? OF_FILE : 0};

	return m->overlaid && !m->backed ? walk_all(m, &w) : walk_pages(m, &w, why);
}
