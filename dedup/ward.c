#include "dedup/ward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dedup/cold_ram.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/watchdog.h"

#define WORD_BITS 64u

static uint64_t words(const struct ward *w)
{
	return w->pages / WORD_BITS + 1;
}

/* Zero, and memory only where it is used. */
static void *reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, uint64_t bytes)
{
	if (p)
		munmap(p, bytes);
}

static uint64_t queue_bytes(const struct ward *w)
{
	return words(w) * sizeof(uint64_t);
}

struct ward *ward_create(struct vm *vm, struct group *g, unsigned int refaults)
{
	struct ward *w = calloc(1, sizeof(*w));

	if (!w) {
		log_errno(ENOMEM, "scavenger: guest %u", vm->number);
		return NULL;
	}
	*w = (struct ward){.vm = vm, .group = g, .pages = vm->mem.size / PAGE_SIZE};
	w->record = reserve(w->pages * sizeof(*w->record));
	w->age = reserve(w->pages);
	w->used = reserve(queue_bytes(w));
	w->fresh.pages = reserve(queue_bytes(w));
	w->rest.pages = reserve(queue_bytes(w));
	w->cold.pages = reserve(queue_bytes(w));
	w->counts.kind[PAGE_UNKNOWN] = w->pages;
	pace_cold_init(&w->pace, refaults, watchdog_now(), 0);
	cold_ram_init(w);
	if (w->record && w->age && w->used && w->fresh.pages && w->rest.pages && w->cold.pages)
		return w;
	log_errno(ENOMEM, "scavenger: guest %u", vm->number);
	ward_destroy(w);
	return NULL;
}

void ward_destroy(struct ward *w)
{
	release(w->record, w->pages * sizeof(*w->record));
	release(w->age, w->pages);
	release(w->used, queue_bytes(w));
	release(w->fresh.pages, queue_bytes(w));
	release(w->rest.pages, queue_bytes(w));
	release(w->cold.pages, queue_bytes(w));
	free(w);
}

void ward_abandon(struct ward *w, page_record r)
{
	struct group *g = w->group;

	if (kind_has_slot(record_kind(r)))
		pool_release(g->pool, record_slot(r));
	if (kind_has_object(record_kind(r)))
		store_remove(g->store, record_object(r));
}

static unsigned int stored(const struct ward *w, page_record r)
{
	unsigned int size = 0;

	if (kind_has_object(record_kind(r)))
		store_get(w->group->store, record_object(r), &size);
	return size;
}

void ward_set(struct ward *w, uint64_t page, page_record r)
{
	page_record old = w->record[page];

	w->counts.stored += stored(w, r);
	w->counts.stored -= stored(w, old);
	w->counts.kind[record_kind(old)]--;
	w->counts.kind[record_kind(r)]++;
	w->record[page] = r;
	ward_abandon(w, old);
}

void ward_index_again(struct ward *w)
{
	for (uint64_t page = 0; page < w->pages && !w->gone; page++)
		if (kind_has_hash(record_kind(w->record[page])))
			same_index_add(w->group->same, record_hash(w->record[page]), ward_id(w, page));
}

unsigned int age_for_cold(uint8_t age)
{
	unsigned int epochs = AGE_COLD << age_level(age);

	return epochs < AGE_MOST ? epochs : AGE_MOST;
}

void ward_refaulted(struct ward *w, uint64_t page)
{
	unsigned int level = age_level(w->age[page]);

	if (level < AGE_LEVEL_MOST)
		level++;
	w->age[page] = (uint8_t)(level << AGE_BITS);
}

void ward_enqueue(struct ward_queue *q, uint64_t page)
{
	q->pages[page / WORD_BITS] |= 1ull << page % WORD_BITS;
}

static bool is_queued(const struct ward_queue *q, uint64_t page)
{
	return q->pages[page / WORD_BITS] >> page % WORD_BITS & 1;
}

static bool find_next(const struct ward *w, struct ward_queue *q)
{
	uint64_t count = words(w), at = q->cursor / WORD_BITS % count;
	uint64_t bits = q->pages[at] & ~0ull << q->cursor % WORD_BITS;

	for (uint64_t i = 0; i <= count; i++) {
		if (bits) {
			q->cursor = at * WORD_BITS + (unsigned int)__builtin_ctzll(bits);
			return true;
		}
		at = (at + 1) % count;
		bits = q->pages[at];
	}
	return false;
}

unsigned int ward_take(struct ward_queue *q, uint64_t page, uint64_t most)
{
	unsigned int n = 0;

	for (; n < most && is_queued(q, page + n); n++)
		q->pages[(page + n) / WORD_BITS] &= ~(1ull << (page + n) % WORD_BITS);
	return n;
}

unsigned int ward_next(const struct ward *w, struct ward_queue *q, unsigned int most, uint64_t *page)
{
	unsigned int n;
	uint64_t room;

	if (!find_next(w, q))
		return 0;
	*page = q->cursor;
	room = mem_page_room(&w->vm->mem, *page);
	n = ward_take(q, *page, most < room ? most : room);
	q->cursor = *page + n;
	return n;
}

uint64_t ward_metadata(const struct ward *w)
{
	/* Three queues, what is used, two sets of the dirty log's, and a bit for absent and one for shown pages. */
	return sizeof(*w) + w->pages * (sizeof(*w->record) + sizeof(*w->age)) + 8 * queue_bytes(w);
}
