#include "vmm/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/abi.h"
#include "vmm/ensure.h"
#include "vmm/log.h"

#define HUGE_PAGE_SIZE (2ull << 20)

/* Cuts the reservation [raw, raw + size + HUGE_PAGE_SIZE) to size bytes from a 2 MiB border. */
static uint8_t *trim(uint8_t *raw, uint64_t size)
{
	uint64_t before = -(uintptr_t)raw % HUGE_PAGE_SIZE;
	uint64_t behind = HUGE_PAGE_SIZE - before;

	if (before)
		munmap(raw, before);
	munmap(raw + before + size, behind);
	return raw + before;
}

/* Only advice: a kernel without huge pages refuses it, and RAM works all the same. */
void mem_advise(const struct mem *m, void *hva, uint64_t size)
{
	madvise(hva, size, m->huge == MEM_HUGE_ADVISE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static int region_map(struct mem *m, unsigned int i, uint64_t gpa, uint64_t size)
{
	struct mem_region *r = &m->region[i];

	void *raw = mmap(NULL, size + HUGE_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (raw == MAP_FAILED)
		return log_errno(errno, "reserve %" PRIu64 " MiB of guest RAM", size >> 20);
	*r = (struct mem_region){ .gpa = gpa, .size = size, .hva = trim(raw, size) };
	mem_advise(m, r->hva, size);
	m->region_count++;
	return 0;
}

int mem_create(struct mem *m, uint64_t size, enum mem_huge huge)
{
	uint64_t low = size < ABI_HOLE_START ? size : ABI_HOLE_START;
	int err;

	*m = (struct mem){ .huge = huge };
	if (size < MEM_MIN_BYTES || size > MEM_MAX_BYTES || size % PAGE_SIZE)
		return -EINVAL;
	pthread_mutex_init(&m->pins_lock, NULL);
	err = region_map(m, 0, 0, low);
	if (err == 0 && size > low)
		err = region_map(m, 1, ABI_HOLE_END, size - low);
	if (err)
		mem_destroy(m);
	else
		m->size = size;
	return err;
}

void mem_destroy(struct mem *m)
{
	for (unsigned int i = 0; i < m->region_count; i++)
		munmap(m->region[i].hva, m->region[i].size);
	pthread_mutex_destroy(&m->pins_lock);
	*m = (struct mem){ 0 };
}

bool mem_overlaps(const struct mem *m, uint64_t start, uint64_t end)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		uint64_t hva = (uintptr_t)m->region[i].hva;

		if (start < hva + m->region[i].size && hva < end)
			return true;
	}
	return false;
}

/* The region of a page, whose number there it leaves in *page. */
static const struct mem_region *region_of_page(const struct mem *m, uint64_t *page)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		if (*page < m->region[i].size / PAGE_SIZE)
			return &m->region[i];
		*page -= m->region[i].size / PAGE_SIZE;
	}
	ensure(!"a page of RAM");
	return NULL;
}

uint64_t mem_page_gpa(const struct mem *m, uint64_t page)
{
	const struct mem_region *r = region_of_page(m, &page);

	return r->gpa + page * PAGE_SIZE;
}

uint8_t *mem_page_hva(const struct mem *m, uint64_t page)
{
	const struct mem_region *r = region_of_page(m, &page);

	return r->hva + page * PAGE_SIZE;
}

uint64_t mem_page_room(const struct mem *m, uint64_t page)
{
	const struct mem_region *r = region_of_page(m, &page);

	return r->size / PAGE_SIZE - page;
}

uint64_t mem_page_number(const struct mem *m, uint64_t gpa)
{
	uint64_t before = 0;

	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return (before + (gpa - r->gpa)) / PAGE_SIZE;
		before += r->size;
	}
	ensure(!"RAM");
	return 0;
}

uint64_t mem_page_at(const struct mem *m, const void *hva)
{
	uint64_t before = 0;

	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];
		uint64_t at = (uintptr_t)hva - (uintptr_t)r->hva;

		if (at < r->size)
			return (before + at) / PAGE_SIZE;
		before += r->size;
	}
	ensure(!"RAM");
	return 0;
}

static const struct mem_region *region_of(const struct mem *m, uint64_t gpa)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

/* How many bytes of [gpa, gpa + size), from gpa on, are RAM of one region; *hva is the first's. */
static uint64_t span(const struct mem *m, uint64_t gpa, uint64_t size, uint8_t **hva)
{
	const struct mem_region *r = region_of(m, gpa);
	uint64_t left;

	if (!r)
		return 0;
	*hva = r->hva + (gpa - r->gpa);
	left = r->size - (gpa - r->gpa);
	return size < left ? size : left;
}

/* Tells the listeners of a range that is known to be RAM of one region. */
static void tell_dirtied(struct mem *m, uint64_t gpa, uint64_t size)
{
	uint64_t first = gpa & ~(PAGE_SIZE - 1), end = (gpa + size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);

	for (struct mem_listener *l = m->listeners, *next; l; l = next) {
		next = l->next;
		if (l->dirtied)
			l->dirtied(l, first, end - first);
	}
}

bool mem_bring_in(const struct mem *m, const void *hva, uint64_t size)
{
	const uint8_t *byte = hva;

	if (!atomic_load(&m->paged))
		return !mem_is_lost(m);
	for (uint64_t at = 0; at < size; at += PAGE_SIZE)
		(void)__atomic_load_n(byte + at, __ATOMIC_RELAXED);
	if (size)
		(void)__atomic_load_n(byte + size - 1, __ATOMIC_RELAXED);
	return !mem_is_lost(m);
}

void *mem_at(struct mem *m, uint64_t gpa, uint64_t size, enum mem_use use)
{
	uint8_t *hva;

	if (!size || span(m, gpa, size, &hva) < size)
		return NULL;
	if (use == MEM_WRITE)
		tell_dirtied(m, gpa, size);
	return hva;
}

static bool is_ram(const struct mem *m, uint64_t gpa, uint64_t size)
{
	while (size) {
		uint8_t *hva;
		uint64_t part = span(m, gpa, size, &hva);

		if (!part)
			return false;
		/* Cannot wrap: RAM ends far below 2^64. */
		gpa += part;
		size -= part;
	}
	return true;
}

int mem_read(struct mem *m, uint64_t gpa, void *to, uint64_t size)
{
	uint8_t *out = to, *hva;

	/* Nearly always; and device rings are read so, a few bytes at a time. */
	if (size && span(m, gpa, size, &hva) == size) {
		memcpy(to, hva, size);
		return 0;
	}
	if (!is_ram(m, gpa, size))
		return -EFAULT;
	for (uint64_t part; size; gpa += part, out += part, size -= part) {
		part = span(m, gpa, size, &hva);
		memcpy(out, hva, part);
	}
	return 0;
}

int mem_write(struct mem *m, uint64_t gpa, const void *from, uint64_t size)
{
	const uint8_t *in = from;
	uint8_t *hva;

	if (size && span(m, gpa, size, &hva) == size) {
		tell_dirtied(m, gpa, size);
		memcpy(hva, from, size);
		return 0;
	}
	if (!is_ram(m, gpa, size))
		return -EFAULT;
	for (uint64_t part; size; gpa += part, in += part, size -= part) {
		part = span(m, gpa, size, &hva);
		tell_dirtied(m, gpa, part);
		memcpy(hva, in, part);
	}
	return 0;
}

/* Widens a range, which must be RAM of one region, to the whole pages that it touches. */
static void widen(const struct mem *m, uint64_t *gpa, uint64_t *size)
{
	uint64_t first = *gpa & ~(PAGE_SIZE - 1);
	uint8_t *hva;

	ensure(*size && span(m, *gpa, *size, &hva) == *size);
	*size = ((*gpa + *size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)) - first;
	*gpa = first;
}

void mem_dirtied(struct mem *m, uint64_t gpa, uint64_t size)
{
	widen(m, &gpa, &size);
	tell_dirtied(m, gpa, size);
}

void mem_remapped(struct mem *m, uint64_t gpa, uint64_t size)
{
	widen(m, &gpa, &size);
	m->overlaid = true;
	m->backed = false;
	for (struct mem_listener *l = m->listeners, *next; l; l = next) {
		next = l->next;
		if (l->remapped)
			l->remapped(l, gpa, size);
	}
}

void mem_zeroed(struct mem *m, uint64_t gpa, uint64_t size)
{
	for (struct mem_listener *l = m->listeners, *next; l; l = next) {
		next = l->next;
		if (l->zeroed)
			l->zeroed(l, gpa, size);
	}
}

void mem_backed(struct mem *m, int fd)
{
	m->backed = true;
	m->backing = fd;
}

static void add_pin(struct mem *m, struct mem_pin *p)
{
	pthread_mutex_lock(&m->pins_lock);
	p->link = &m->pins;
	p->next = m->pins;
	if (p->next)
		p->next->link = &p->next;
	m->pins = p;
	pthread_mutex_unlock(&m->pins_lock);
}

static void remove_pin(struct mem *m, struct mem_pin *p)
{
	pthread_mutex_lock(&m->pins_lock);
	ensure(p->link && *p->link == p);
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	p->link = NULL;
	pthread_mutex_unlock(&m->pins_lock);
}

void *mem_pin(struct mem *m, struct mem_pin *p, uint64_t gpa, uint64_t size, enum mem_use use)
{
	void *hva = mem_at(m, gpa, size, use);

	*p = (struct mem_pin){.gpa = gpa, .size = size, .use = use};
	if (!hva)
		return NULL;
	add_pin(m, p);
	mem_bring_in(m, hva, size);
	return hva;
}

void mem_unpin(struct mem *m, struct mem_pin *p)
{
	remove_pin(m, p);
	if (p->use == MEM_WRITE)
		mem_dirtied(m, p->gpa, p->size);
}

bool mem_is_pinned(struct mem *m, uint64_t gpa, uint64_t size)
{
	uint64_t first = gpa & ~(PAGE_SIZE - 1), end = (gpa + size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	bool pinned = false;

	pthread_mutex_lock(&m->pins_lock);
	for (const struct mem_pin *p = m->pins; p && !pinned; p = p->next)
		pinned = p->gpa < end && first < p->gpa + p->size;
	pthread_mutex_unlock(&m->pins_lock);
	return pinned;
}

void mem_listen(struct mem *m, struct mem_listener *l)
{
	l->next = m->listeners;
	m->listeners = l;
}

void mem_unlisten(struct mem *m, struct mem_listener *l)
{
	for (struct mem_listener **at = &m->listeners; *at; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			return;
		}
	}
}
