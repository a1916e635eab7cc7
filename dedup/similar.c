#include "dedup/similar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"

#define BYTES_PER_TWO_PAGES 5u
#define LINE 64u	/* of the processor's caches, and bytes of a block that is sampled */
#define ENTRIES 12u
#define FREE_ENTRY (ENTRIES + 1) /* is more room than a bucket of spare ones */
#define LEAST 2u	/* entries of a page, if need be in place of others */
#define MOST 4u		/* entries of a page; those above LEAST are spare ones */
#define SEEN (SIMILAR_BLOCKS * ENTRIES)

/* One line. The block's hash says which, and the tag is the rest of it. */
struct bucket {
	uint32_t id[ENTRIES]; /* 0 = free */
	uint8_t tag[ENTRIES];
	uint16_t spare; /* bits: the first to be displaced */
	uint8_t oldest, pad;
};

_Static_assert(sizeof(struct bucket) == LINE, "one miss for a look");

struct similar {
	uint64_t buckets;
	struct bucket *bucket;
	void *room; /* where they are */
};

/* One of every eighth of a page, not in step: so no record size of a power of two hides behind them. */
static const uint16_t sampled[SIMILAR_BLOCKS] = {128, 832, 1344, 1792, 2304, 2624, 3264, 3968};

struct similar *similar_create(uint64_t pages)
{
	uint64_t buckets = pages * BYTES_PER_TWO_PAGES / 2 / sizeof(struct bucket);
	struct similar *s = calloc(1, sizeof(*s));

	buckets = buckets ? buckets : 1;
	buckets = buckets < 1ull << 32 ? buckets : 1ull << 32;
	if (s)
		s->room = calloc(buckets + 1, sizeof(struct bucket));
	if (!s || !s->room) {
		log_errno(ENOMEM, "index of similar pages");
		free(s);
		return NULL;
	}
	s->buckets = buckets;
	s->bucket = (struct bucket *)(((uintptr_t)s->room + LINE - 1) & ~(uintptr_t)(LINE - 1));
	return s;
}

void similar_destroy(struct similar *s)
{
	if (s)
		free(s->room);
	free(s);
}

uint64_t similar_bytes(const struct similar *s)
{
	return sizeof(*s) + (s->buckets + 1) * sizeof(struct bucket);
}

/* All of it is its first word. */
static bool says_nothing(const uint8_t *block)
{
	return !memcmp(block, block + sizeof(uint64_t), LINE - sizeof(uint64_t));
}

void similar_sketch(const void *page, struct similar_sketch *k)
{
	for (unsigned int i = 0; i < SIMILAR_BLOCKS; i++) {
		const uint8_t *block = (const uint8_t *)page + sampled[i];
		uint32_t hash = (uint32_t)XXH3_64bits_withSeed(block, LINE, i);

		k->block[i] = says_nothing(block) ? 0 : hash ? hash : 1;
	}
}

static struct bucket *bucket_of(const struct similar *s, uint32_t hash)
{
	return &s->bucket[hash * s->buckets >> 32];
}

static uint8_t tag_of(uint32_t hash)
{
	return (uint8_t)hash;
}

static bool is_spare(const struct bucket *b, unsigned int entry)
{
	return b->spare >> entry & 1;
}

/* Whatever has a free entry has more than what has only spare ones. */
static unsigned int room_in(const struct bucket *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ENTRIES; i++)
		n += !b->id[i] ? FREE_ENTRY : is_spare(b, i);
	return n;
}

static unsigned int place_in(struct bucket *b)
{
	unsigned int best = ENTRIES;

	for (unsigned int i = 0; i < ENTRIES; i++) {
		if (!b->id[i])
			return i;
		if (is_spare(b, i))
			best = i;
	}
	if (best < ENTRIES)
		return best;
	best = b->oldest;
	b->oldest = (uint8_t)((best + 1) % ENTRIES);
	return best;
}

static void enter(struct bucket *b, uint32_t hash, uint32_t id, bool spare)
{
	unsigned int i = place_in(b);

	b->id[i] = id;
	b->tag[i] = tag_of(hash);
	b->spare = (uint16_t)((b->spare & ~(1u << i)) | (unsigned int)spare << i);
}

/* The block whose bucket has most room, of those that are left; SIMILAR_BLOCKS: there is none. */
static unsigned int roomiest(const struct similar *s, const struct similar_sketch *left, unsigned int *room)
{
	unsigned int best = SIMILAR_BLOCKS;

	*room = 0;
	for (unsigned int i = 0; i < SIMILAR_BLOCKS; i++) {
		unsigned int n = left->block[i] ? room_in(bucket_of(s, left->block[i])) : 0;

		if (!left->block[i] || (best < SIMILAR_BLOCKS && n <= *room))
			continue;
		best = i;
		*room = n;
	}
	return best;
}

void similar_add(struct similar *s, const struct similar_sketch *k, uint32_t id)
{
	struct similar_sketch left = *k;

	ensure(id);
	similar_remove(s, k, id);
	for (unsigned int n = 0; n < MOST; n++) {
		unsigned int room, i = roomiest(s, &left, &room);

		if (i == SIMILAR_BLOCKS || (n >= LEAST && room < FREE_ENTRY))
			return;
		enter(bucket_of(s, left.block[i]), left.block[i], id, n >= LEAST);
		left.block[i] = 0;
	}
}

void similar_remove(struct similar *s, const struct similar_sketch *k, uint32_t id)
{
	for (unsigned int i = 0; i < SIMILAR_BLOCKS; i++) {
		struct bucket *b = bucket_of(s, k->block[i]);

		for (unsigned int e = 0; k->block[i] && e < ENTRIES; e++)
			if (b->id[e] == id && b->tag[e] == tag_of(k->block[i]))
				b->id[e] = 0;
	}
}

struct votes {
	unsigned int count;
	uint32_t id[SEEN];
	uint8_t votes[SEEN];
};

static void vote(struct votes *v, uint32_t id)
{
	unsigned int i = 0;

	while (i < v->count && v->id[i] != id)
		i++;
	if (i == v->count) {
		v->id[v->count] = id;
		v->votes[v->count++] = 0;
	}
	v->votes[i]++;
}

static void look_in(const struct bucket *b, uint32_t hash, uint32_t mask, uint32_t bits, struct votes *v)
{
	for (unsigned int e = 0; e < ENTRIES; e++)
		if (b->id[e] && b->tag[e] == tag_of(hash) && (b->id[e] & mask) == bits)
			vote(v, b->id[e]);
}

/* Takes the one with most votes out. */
static uint32_t elect(struct votes *v)
{
	unsigned int best = 0;
	uint32_t id;

	for (unsigned int i = 1; i < v->count; i++)
		if (v->votes[i] > v->votes[best])
			best = i;
	id = v->id[best];
	v->id[best] = v->id[--v->count];
	v->votes[best] = v->votes[v->count];
	return id;
}

unsigned int similar_find(const struct similar *s, const struct similar_sketch *k, uint32_t mask, uint32_t bits,
			  uint32_t found[SIMILAR_FOUND])
{
	struct votes v = {.count = 0};
	unsigned int n = 0;

	for (unsigned int i = 0; i < SIMILAR_BLOCKS; i++)
		if (k->block[i])
			look_in(bucket_of(s, k->block[i]), k->block[i], mask, bits, &v);
	while (n < SIMILAR_FOUND && v.count)
		found[n++] = elect(&v);
	return n;
}
