#include "shadow/shadow_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shadow/table_accessed.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"

/* An array of zeroes that costs memory only where it is written. */
static void *reserve(size_t count, size_t size)
{
	void *p = mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *array, size_t count, size_t size)
{
	if (array)
		munmap(array, count * size);
}

/* Back to zeroes, and the memory goes back to the host. */
static void clear(void *array, size_t count, size_t size)
{
	ensure(madvise(array, count * size, MADV_DONTNEED) == 0);
}

static uint64_t large_frames(const struct tables *t)
{
	return (t->frames + LARGE_FRAMES - 1) / LARGE_FRAMES;
}

static void forget_all(struct tables *t)
{
	memset(t->bucket, 0xff, t->buckets * sizeof(*t->bucket));
	t->used = 0;
	t->edits = t->edits_handed = 0;
	t->roots = 0;
	t->unsyncs = t->loans = 0;
	t->active[VIEW_KERNEL] = t->active[VIEW_USER] = NO_PAGE;
	t->must_recycle = false;
}

int shadow_pages_create(struct tables *t)
{
	uint32_t pages = t->pool.pages;

	t->frames = t->mem->size >> PAGE_SHIFT;
	for (t->buckets = 64; t->buckets < pages; t->buckets *= 2)
		;
	t->page = reserve(pages, sizeof(*t->page));
	t->bucket = reserve(t->buckets, sizeof(*t->bucket));
	t->link = reserve(pages, TABLE_ENTRIES * sizeof(*t->link));
	t->small_maps = reserve(t->frames, sizeof(*t->small_maps));
	t->large_maps = reserve(large_frames(t), sizeof(*t->large_maps));
	t->tables_in_large = reserve(large_frames(t), sizeof(*t->tables_in_large));
	if (!t->page || !t->bucket || !t->link || !t->small_maps || !t->large_maps || !t->tables_in_large)
		return log_errno(ENOMEM, "shadow: lists for %u table pages", pages);
	forget_all(t);
	return 0;
}

void shadow_pages_destroy(struct tables *t)
{
	release(t->page, t->pool.pages, sizeof(*t->page));
	release(t->bucket, t->buckets, sizeof(*t->bucket));
	release(t->link, t->pool.pages, TABLE_ENTRIES * sizeof(*t->link));
	release(t->small_maps, t->frames, sizeof(*t->small_maps));
	release(t->large_maps, large_frames(t), sizeof(*t->large_maps));
	release(t->tables_in_large, large_frames(t), sizeof(*t->tables_in_large));
	free(t->accessed);
}

void shadow_pages_reset(struct tables *t)
{
	memset(t->pool.hva, 0, (size_t)t->used << PAGE_SHIFT);
	clear(t->page, t->pool.pages, sizeof(*t->page));
	clear(t->link, t->pool.pages, TABLE_ENTRIES * sizeof(*t->link));
	clear(t->small_maps, t->frames, sizeof(*t->small_maps));
	clear(t->large_maps, large_frames(t), sizeof(*t->large_maps));
	clear(t->tables_in_large, large_frames(t), sizeof(*t->tables_in_large));
	forget_all(t);
}

void tables_out_of_room(struct tables *t)
{
	if (t->must_recycle)
		return;
	accessed_note_all(t);
	t->must_recycle = true;
	t->edits = t->edits_handed = 0;
	t->loans = 0;
}

uint64_t frame_number(const struct tables *t, uint64_t gfn)
{
	uint64_t before = 0;

	for (unsigned int i = 0; i < t->mem->region_count; i++) {
		const struct mem_region *r = &t->mem->region[i];
		uint64_t first = r->gpa >> PAGE_SHIFT, count = r->size >> PAGE_SHIFT;

		if (gfn >= first && gfn - first < count)
			return before + (gfn - first);
		before += count;
	}
	return UINT64_MAX;
}

static uint32_t *bucket_of(const struct tables *t, uint64_t gfn)
{
	return &t->bucket[(gfn * 0x9e3779b97f4a7c15ull >> 32) & (t->buckets - 1)];
}

static bool same_key(const struct page_key *a, const struct page_key *b)
{
	return a->gfn == b->gfn && a->level == b->level && a->view == b->view && a->role == b->role;
}

uint32_t shadow_page_find(const struct tables *t, const struct page_key *k)
{
	uint32_t n;

	if (t->must_recycle)
		return NO_PAGE;
	for (n = *bucket_of(t, k->gfn); n != NO_PAGE; n = t->page[n].next) {
		if (same_key(&t->page[n].key, k))
			break;
	}
	return n;
}

static uint16_t *count_of_tables(struct tables *t, const struct page_key *k)
{
	uint64_t frame = frame_number(t, k->gfn);

	if ((k->role & ROLE_DIRECT) || frame == UINT64_MAX || shadow_page_is_table(t, k->gfn))
		return NULL;
	return &t->tables_in_large[frame / LARGE_FRAMES];
}

uint32_t shadow_page_take(struct tables *t, const struct page_key *k)
{
	uint32_t n = t->used, *bucket = bucket_of(t, k->gfn);
	uint16_t *count = count_of_tables(t, k);

	if (t->must_recycle)
		return NO_PAGE;
	if (n == t->pool.pages) {
		tables_out_of_room(t);
		return NO_PAGE;
	}
	if (count)
		++*count;
	t->used++;
	t->page[n] = (struct shadow_page){.key = *k, .live = true, .next = *bucket};
	*bucket = n;
	return n;
}

static void forget_unsync(struct tables *t, uint64_t gfn)
{
	for (unsigned int i = 0; i < t->unsyncs; i++) {
		if (t->unsync[i] == gfn)
			t->unsync[i] = t->unsync[--t->unsyncs];
	}
}

void shadow_page_give_up(struct tables *t, uint32_t n)
{
	struct shadow_page *p = &t->page[n];
	uint32_t *at = bucket_of(t, p->key.gfn);
	uint16_t *count;

	ensure(p->live && !p->present && !p->parents);
	while (*at != n)
		at = &t->page[*at].next;
	*at = p->next;
	p->live = false;
	count = count_of_tables(t, &p->key);
	if (count)
		--*count;
	if (p->unsync && !shadow_page_is_table(t, p->key.gfn))
		forget_unsync(t, p->key.gfn);
}

static bool stands_for_table(const struct shadow_page *p, uint64_t gfn)
{
	return p->key.gfn == gfn && !(p->key.role & ROLE_DIRECT);
}

/* Any of the pages that stand for a guest table, or NO_PAGE. */
static uint32_t any_page_of(const struct tables *t, uint64_t gfn)
{
	uint32_t n;

	if (t->must_recycle)
		return NO_PAGE;
	for (n = *bucket_of(t, gfn); n != NO_PAGE; n = t->page[n].next) {
		if (stands_for_table(&t->page[n], gfn))
			break;
	}
	return n;
}

bool shadow_page_is_table(const struct tables *t, uint64_t gfn)
{
	return any_page_of(t, gfn) != NO_PAGE;
}

bool shadow_page_is_unsync(const struct tables *t, uint64_t gfn)
{
	uint32_t n = any_page_of(t, gfn);

	return n != NO_PAGE && t->page[n].unsync;
}

static bool is_lent(const struct tables *t, uint64_t gfn)
{
	for (unsigned int i = 0; i < t->loans; i++) {
		if (t->loan[i].gfn == gfn)
			return true;
	}
	return false;
}

bool shadow_page_is_protected(const struct tables *t, uint64_t gfn)
{
	uint32_t n = any_page_of(t, gfn);

	return n != NO_PAGE && !t->page[n].unsync && !is_lent(t, gfn);
}

unsigned int shadow_pages_of(const struct tables *t, uint64_t gfn, uint32_t *numbers)
{
	unsigned int count = 0;

	if (t->must_recycle)
		return 0;
	for (uint32_t n = *bucket_of(t, gfn); n != NO_PAGE; n = t->page[n].next) {
		if (!stands_for_table(&t->page[n], gfn))
			continue;
		ensure(count < MAX_KEYS);
		numbers[count++] = n;
	}
	return count;
}

void shadow_page_set_unsync(struct tables *t, uint64_t gfn, bool unsync)
{
	for (uint32_t n = *bucket_of(t, gfn); n != NO_PAGE; n = t->page[n].next) {
		if (stands_for_table(&t->page[n], gfn))
			t->page[n].unsync = unsync;
	}
	if (!unsync) {
		forget_unsync(t, gfn);
		return;
	}
	ensure(t->unsyncs < MAX_UNSYNC);
	t->unsync[t->unsyncs++] = gfn;
}
