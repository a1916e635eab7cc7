#include "replay/async_point.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/boundary.h"
#include "replay/packed.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/walk.h"

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

bool async_point_has_registers(const struct async_point *p, const struct cpu_state *cs)
{
	return boundary_is_same(cs, &p->cpu);
}

/* When a table's entry gets its marks, and what RF is in a frame, is up to the mode (docs/determinism.md). */
static bool is_same_word(uint64_t a, uint64_t b)
{
	uint64_t differs = a ^ b;

	return !differs || (a & PTE_P && !(differs & ~(PTE_A | PTE_D))) || differs == RFLAGS_RF;
}

static bool is_same_page(const uint64_t *a, const uint64_t *b)
{
	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*a); i++) {
		if (!is_same_word(a[i], b[i]))
			return false;
	}
	return true;
}

bool async_point_has_pages(const struct async_point *p, struct mem *m)
{
	for (size_t i = 0; i < p->count; i++) {
		const void *now = mem_at(m, p->page[i].number << PAGE_SHIFT, PAGE_SIZE, MEM_READ);
		uint64_t page[PAGE_SIZE / sizeof(uint64_t)];

		ensure(now && packed_page_out(p->page[i].bytes, p->page[i].size, page));
		if (!is_same_page(now, page))
			return false;
	}
	return true;
}

bool async_point_has_page(const struct async_point *p, uint64_t number)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->page[i].number == number)
			return true;
	}
	return false;
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
