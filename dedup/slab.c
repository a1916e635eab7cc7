#include "dedup/slab.h"

#include "vmm/ensure.h"
#include "vmm/mem.h"

#define FREE (1u << SLAB_VALUE_BITS) /* in a word: and the rest is as slab->free */

int slabs_init(struct slabs *s, uint32_t bytes, uint32_t most)
{
	int r;

	*s = (struct slabs){.bytes = bytes, .most = most, .unused = SLAB_NONE};
	r = reserve_init(&s->memory, (uint64_t)bytes * most);
	if (r == 0)
		r = reserve_init(&s->records, sizeof(struct slab) * most);
	if (r < 0)
		slabs_destroy(s);
	return r;
}

void slabs_destroy(struct slabs *s)
{
	reserve_destroy(&s->memory);
	reserve_destroy(&s->records);
}

uint64_t slabs_record_bytes(const struct slabs *s)
{
	return (s->made * sizeof(struct slab) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

struct slab *slab_at(const struct slabs *s, uint32_t n)
{
	return (struct slab *)(void *)s->records.base + n;
}

uint32_t *slab_words(const struct slabs *s, uint32_t n)
{
	return (uint32_t *)(void *)(s->memory.base + (uint64_t)n * s->bytes);
}

/* One that has been used before, or SLAB_NONE. */
static uint32_t reuse(struct slabs *s)
{
	uint32_t n = s->unused;

	if (n != SLAB_NONE)
		slab_unlink(s, &s->unused, n);
	return n;
}

static uint32_t make(struct slabs *s)
{
	if (s->made == s->most || !reserve_use(&s->memory, (s->made + 1ull) * s->bytes) ||
	    !reserve_use(&s->records, (s->made + 1ull) * sizeof(struct slab)))
		return SLAB_NONE;
	return s->made++;
}

uint32_t slabs_new(struct slabs *s)
{
	uint32_t n = reuse(s);

	if (n == SLAB_NONE)
		n = make(s);
	if (n == SLAB_NONE)
		return n;
	*slab_at(s, n) = (struct slab){.next = SLAB_NONE, .prev = SLAB_NONE};
	s->in_use++;
	return n;
}

void slabs_drop(struct slabs *s, uint32_t n)
{
	ensure(slab_at(s, n)->used == 0);
	reserve_give_back(&s->memory, (uint64_t)n * s->bytes, s->bytes);
	slab_push(s, &s->unused, n);
	s->in_use--;
}

unsigned int slab_take(struct slabs *s, uint32_t n, uint32_t value)
{
	struct slab *b = slab_at(s, n);
	uint32_t *word = slab_words(s, n);
	unsigned int slot = b->touched;

	ensure(value < FREE);
	if (b->free) {
		slot = b->free - 1u;
		b->free = (uint16_t)(word[slot] & ~FREE);
	} else {
		b->touched++;
	}
	word[slot] = value;
	b->used++;
	return slot;
}

void slab_free(struct slabs *s, uint32_t n, unsigned int slot)
{
	struct slab *b = slab_at(s, n);

	ensure(slab_is_taken(s, n, slot));
	slab_words(s, n)[slot] = FREE | b->free;
	b->free = (uint16_t)(slot + 1);
	b->used--;
}

bool slab_is_taken(const struct slabs *s, uint32_t n, unsigned int slot)
{
	return n < s->made && slab_at(s, n)->used && slot < slab_at(s, n)->touched && !(slab_words(s, n)[slot] & FREE);
}

void slab_push(struct slabs *s, uint32_t *list, uint32_t n)
{
	struct slab *b = slab_at(s, n);

	b->prev = SLAB_NONE;
	b->next = *list;
	if (b->next != SLAB_NONE)
		slab_at(s, b->next)->prev = n;
	*list = n;
}

void slab_unlink(struct slabs *s, uint32_t *list, uint32_t n)
{
	struct slab *b = slab_at(s, n);

	if (b->next != SLAB_NONE)
		slab_at(s, b->next)->prev = b->prev;
	if (b->prev != SLAB_NONE)
		slab_at(s, b->prev)->next = b->next;
	else
		*list = b->next;
}
