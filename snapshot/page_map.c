#include "snapshot/page_map.h"

#include <stdlib.h>

#include "snapshot/array_room.h"
#include "snapshot/ram_layout.h"
#include "vmm/mem.h"
#include "vmm/state.h"

#define RUN_BYTES 17u /* of one in a file */

void page_map_free(struct page_map *m)
{
	free(m->run);
	free(m->checksum);
	*m = (struct page_map){0};
}

static int add(struct page_map *m, uint64_t gpa, bool zero)
{
	struct page_run *last = m->runs ? &m->run[m->runs - 1] : NULL;
	int r;

	if (last && last->zero == zero && last->gpa + last->pages * PAGE_SIZE == gpa) {
		last->pages++;
		return 0;
	}
	r = array_room((void **)&m->run, &m->run_room, m->runs, sizeof(*m->run));
	if (r == 0)
		m->run[m->runs++] = (struct page_run){.gpa = gpa, .pages = 1, .zero = zero, .checksum = m->checksums};
	return r;
}

int page_map_add(struct page_map *m, uint64_t gpa, uint64_t checksum)
{
	int r = array_room((void **)&m->checksum, &m->checksum_room, m->checksums, sizeof(*m->checksum));

	if (r == 0)
		r = add(m, gpa, false);
	if (r == 0)
		m->checksum[m->checksums++] = checksum;
	return r;
}

int page_map_add_zero(struct page_map *m, uint64_t gpa)
{
	return add(m, gpa, true);
}

uint64_t page_map_count(const struct page_map *m, bool zero)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < m->runs; i++)
		pages += m->run[i].zero == zero ? m->run[i].pages : 0;
	return pages;
}

static uint64_t left(const struct state *s)
{
	return s->error ? 0 : s->size - s->at;
}

/* Loading: the arrays, of a size that the file's own bounds. */
static void allocate(struct page_map *m, struct state *s, uint64_t runs, uint64_t checksums)
{
	if (!state_loading(s))
		return;
	state_check(s, runs <= left(s) / RUN_BYTES && checksums <= left(s) / sizeof(uint64_t), "pages: more than there is");
	if (s->error)
		return;
	m->run = calloc(runs + 1, sizeof(*m->run));
	m->checksum = calloc(checksums + 1, sizeof(*m->checksum));
	state_check(s, m->run && m->checksum, "pages: out of memory");
	m->runs = m->run_room = s->error ? 0 : runs;
	m->checksums = m->checksum_room = s->error ? 0 : checksums;
}

static void visit_run(struct page_run *r, struct state *s, uint64_t ram, uint64_t *end)
{
	state_u64(s, &r->gpa);
	state_u64(s, &r->pages);
	state_bool(s, &r->zero);
	state_check(s, r->gpa % PAGE_SIZE == 0 && r->gpa >= *end && r->pages && r->pages <= ram / PAGE_SIZE &&
		    ram_holds(ram, r->gpa, r->pages * PAGE_SIZE), "pages: a run is not in RAM, or not in order");
	*end = s->error ? 0 : r->gpa + r->pages * PAGE_SIZE;
}

void page_map_visit(struct page_map *m, struct state *s, uint64_t ram)
{
	uint64_t runs = m->runs, checksums = m->checksums, end = 0, data = 0;

	state_begin(s, "pages", 1);
	state_u64(s, &runs);
	state_u64(s, &checksums);
	allocate(m, s, runs, checksums);
	for (size_t i = 0; i < m->runs && !s->error; i++) {
		visit_run(&m->run[i], s, ram, &end);
		m->run[i].checksum = data;
		data += m->run[i].zero ? 0 : m->run[i].pages;
	}
	state_check(s, s->error || data == m->checksums, "pages: not a checksum for each");
	/* In the file as in memory: x86 is little endian. */
	if (!s->error && m->checksums)
		state_bytes(s, m->checksum, m->checksums * sizeof(*m->checksum));
	state_end(s);
}
