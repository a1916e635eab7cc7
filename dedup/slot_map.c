#include "dedup/slot_map.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "vmm/ensure.h"
#include "vmm/log.h"

#define BITS 64u
#define FULL UINT64_MAX
#define GAPS 64u /* looked at before room is taken above everything: the price of a run is bounded, and so are gaps unused */

/* One word more than there are bits: a search always ends at a free bit, there if nowhere else. */
static uint64_t words_for(uint64_t bits)
{
	return bits / BITS + 2;
}

/* Words of all levels; their starts are left in `start`. */
static uint64_t lay_out(uint64_t slots, uint64_t start[SLOT_MAP_LEVELS], unsigned int *levels)
{
	uint64_t words = 0, bits = slots;

	*levels = 0;
	do {
		ensure(*levels < SLOT_MAP_LEVELS);
		start[(*levels)++] = words;
		words += words_for(bits);
		bits = words_for(bits);
	} while (bits > 3);
	return words;
}

int slot_map_init(struct slot_map *m, uint64_t slots)
{
	uint64_t start[SLOT_MAP_LEVELS], size;
	uint64_t *words;

	ensure(slots <= 1ull << 32);
	*m = (struct slot_map){.slots = slots, .hopeless = UINT64_MAX};
	size = lay_out(slots, start, &m->levels) * sizeof(*words);
	words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (words == MAP_FAILED)
		return log_errno(errno, "reserve a map of shared pages");
	/* Only advice: a few bits must not take 2 MiB. */
	madvise(words, size, MADV_NOHUGEPAGE);
	m->reserved = size;
	for (unsigned int k = 0; k < m->levels; k++)
		m->level[k] = words + start[k];
	return 0;
}

void slot_map_destroy(struct slot_map *m)
{
	if (m->reserved)
		munmap(m->level[0], m->reserved);
	*m = (struct slot_map){0};
}

/* Up to the first level where something is free behind `from`, and down again to what it is. */
static uint64_t find_free(const struct slot_map *m, uint64_t from)
{
	unsigned int k = 0;
	uint64_t at = from, left;

	while (!(left = ~m->level[k][at / BITS] & FULL << at % BITS)) {
		at = at / BITS + 1;
		if (k + 1 == m->levels)
			at *= BITS;
		else
			k++;
	}
	at = at / BITS * BITS + (unsigned int)__builtin_ctzll(left);
	while (k-- > 0)
		at = at * BITS + (unsigned int)__builtin_ctzll(~m->level[k][at]);
	return at;
}

/* The first that is taken in [from, end), or end. */
static uint64_t find_taken(const struct slot_map *m, uint64_t from, uint64_t end)
{
	for (uint64_t at = from; at < end; at = at / BITS * BITS + BITS) {
		uint64_t word = m->level[0][at / BITS] & FULL << at % BITS;

		if (!word)
			continue;
		at = at / BITS * BITS + (unsigned int)__builtin_ctzll(word);
		return at < end ? at : end;
	}
	return end;
}

/* Room for n in one of the next gaps below the top. If there is none, *next is where the search can go on. */
static uint64_t find_room(const struct slot_map *m, uint64_t from, uint64_t n, uint64_t gaps, uint64_t *next)
{
	uint64_t at = find_free(m, from);

	while (at < m->top && gaps-- > 0) {
		uint64_t end = find_taken(m, at, at + n < m->top ? at + n : m->top);

		if (end - at == n)
			return at;
		at = find_free(m, end);
	}
	*next = at;
	return SLOT_MAP_NONE;
}

/* One slot fits in the first gap. Several are looked for where the last search ended, lest the same gaps be looked at each time. */
static uint64_t choose(struct slot_map *m, uint64_t n)
{
	uint64_t next, at = find_room(m, n == 1 ? 0 : m->cursor, n, GAPS, &next);

	if (at != SLOT_MAP_NONE) {
		if (n > 1)
			m->cursor = at + n;
		return at;
	}
	m->cursor = next < m->top ? next : 0;
	if (n <= m->slots - m->top)
		return m->top;
	at = find_room(m, 0, n, UINT64_MAX, &next);
	if (at == SLOT_MAP_NONE)
		m->hopeless = n;
	return at;
}

static void mark(struct slot_map *m, uint64_t slot)
{
	for (unsigned int k = 0; k < m->levels; k++, slot /= BITS) {
		uint64_t *word = &m->level[k][slot / BITS];

		*word |= 1ull << slot % BITS;
		if (*word != FULL)
			return;
	}
}

static void unmark(struct slot_map *m, uint64_t slot)
{
	bool full = true;

	for (unsigned int k = 0; k < m->levels && full; k++, slot /= BITS) {
		uint64_t *word = &m->level[k][slot / BITS];

		full = *word == FULL;
		*word &= ~(1ull << slot % BITS);
	}
}

static void lower_top(struct slot_map *m)
{
	while (m->top && !(m->level[0][(m->top - 1) / BITS] << (BITS - 1 - (m->top - 1) % BITS)))
		m->top = (m->top - 1) / BITS * BITS;
	if (m->top)
		m->top -= (unsigned int)__builtin_clzll(m->level[0][(m->top - 1) / BITS] << (BITS - 1 - (m->top - 1) % BITS));
	if (m->cursor > m->top)
		m->cursor = 0;
}

uint64_t slot_map_take(struct slot_map *m, uint64_t n)
{
	uint64_t first;

	ensure(n > 0);
	if (n >= m->hopeless)
		return SLOT_MAP_NONE;
	first = choose(m, n);
	if (first == SLOT_MAP_NONE)
		return first;
	for (uint64_t i = 0; i < n; i++)
		mark(m, first + i);
	if (m->top < first + n)
		m->top = first + n;
	if (m->most < m->top)
		m->most = m->top;
	return first;
}

void slot_map_give(struct slot_map *m, uint64_t slot)
{
	ensure(slot < m->top && m->level[0][slot / BITS] >> slot % BITS & 1);
	unmark(m, slot);
	m->hopeless = UINT64_MAX;
	if (slot + 1 == m->top)
		lower_top(m);
}

uint64_t slot_map_bytes(const struct slot_map *m)
{
	return m->most / 8;
}
