#include "replay/async_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/boundary.h"
#include "replay/packed.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"

static bool is_ram(const struct mem *m, uint64_t number)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];

		if (number >= r->gpa >> PAGE_SHIFT && number < (r->gpa + r->size) >> PAGE_SHIFT)
			return true;
	}
	return false;
}

/* It is unpacked here once, so that nothing is wrong with it later. */
int async_point_add_page(struct async_point *p, const struct event *e, const struct mem *m)
{
	struct async_page *more;
	uint8_t page[PAGE_SIZE], *bytes;

	if (!is_ram(m, e->packed.page) || !packed_page_out(e->packed.bytes, e->packed.size, page))
		return -EBADMSG;
	more = reallocarray(p->page, p->count + 1, sizeof(*more));
	if (more)
		p->page = more;
	bytes = malloc(e->packed.size + 1u);
	if (!more || !bytes) {
		free(bytes);
		return -ENOMEM;
	}
	memcpy(bytes, e->packed.bytes, e->packed.size);
	p->page[p->count++] = (struct async_page){.number = e->packed.page, .size = e->packed.size, .bytes = bytes};
	return 0;
}

int async_point_add_state(struct async_point *p, const struct event *e)
{
	p->whole = packed_state_out(e->packed.bytes, e->packed.size, &p->cpu);
	return p->whole ? 0 : -EBADMSG;
}

bool async_point_is_at(const struct async_point *p, const struct cpu_state *cs)
{
	return boundary_is_same(cs, &p->cpu);
}

void async_point_put(const struct async_point *p, struct mem *m)
{
	for (size_t i = 0; i < p->count; i++) {
		uint8_t *page = mem_at(m, p->page[i].number << PAGE_SHIFT, PAGE_SIZE, MEM_WRITE);

		ensure(page && packed_page_out(p->page[i].bytes, p->page[i].size, page));
	}
}

void async_point_forget(struct async_point *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->page[i].bytes);
	free(p->page);
	p->page = NULL;
	p->count = 0;
	p->whole = false;
}
