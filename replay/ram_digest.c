#include "replay/ram_digest.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/log.h"
#include "vmm/mem.h"

struct sum {
	struct mem *mem;
	uint64_t digest;
};

static const uint8_t zeros[PAGE_SIZE];

uint64_t page_digest(const void *page, uint64_t gpa)
{
	return memcmp(page, zeros, PAGE_SIZE) ? XXH3_64bits_withSeed(page, PAGE_SIZE, gpa) : 0;
}

static int add(void *arg, uint64_t gpa, uint64_t size)
{
	struct sum *s = arg;

	for (uint64_t end = gpa + size; gpa < end; gpa += PAGE_SIZE)
		s->digest += page_digest(mem_at(s->mem, gpa, PAGE_SIZE, MEM_READ), gpa);
	return 0;
}

int ram_digest(struct mem *m, uint64_t *digest)
{
	struct sum s = {.mem = m};
	struct reason why = {0};
	int r = 0;

	if (!m->paged && !m->backed)
		r = touched_walk(m, add, &s, &why);
	for (unsigned int i = 0; i < m->region_count && (m->paged || m->backed); i++)
		add(&s, m->region[i].gpa, m->region[i].size);
	*digest = s.digest;
	return r < 0 ? log_bad(-r, "digest of the guest's RAM: %s", why.text) : 0;
}
