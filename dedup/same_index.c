#include "dedup/same_index.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/log.h"

#define PLACES 8u /* in a bucket */
#define BUCKET_BYTES (PLACES * (sizeof(uint32_t) + 1u))
#define LOW_BITS 0x0101010101010101ull

/* Invariant: a place is empty if and only if its tag is 0. Then its id is 0 as well. */
struct same_index {
	bool (*hash_of)(void *arg, uint32_t id, uint32_t *hash);
	void *arg;
	uint32_t buckets;
	uint32_t (*id)[PLACES];
	uint64_t *tags; /* a byte for each of the bucket's ids */
};

_Static_assert(sizeof(struct same_index) <= BUCKET_BYTES, "it takes the room of one bucket");

/* Where a hash belongs. */
struct home {
	uint32_t bucket[2];
	uint8_t tag; /* not 0 */
};

struct place {
	uint32_t bucket;
	unsigned int at; /* PLACES = nowhere */
};

static const struct place nowhere = {.at = PLACES};

/* Hashes may be worse than they should be, so they are mixed once more (the end of MurmurHash3). */
static struct home home_of(const struct same_index *x, uint32_t hash)
{
	uint64_t mixed = (hash + 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
	struct home h;

	mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53ull;
	mixed ^= mixed >> 33;
	h.bucket[0] = (uint32_t)((mixed >> 32) * x->buckets >> 32);
	h.bucket[1] = (uint32_t)((mixed & UINT32_MAX) * x->buckets >> 32);
	if (h.bucket[1] == h.bucket[0])
		h.bucket[1] = (h.bucket[0] + 1) % x->buckets;
	/* Bits that decide about the bucket only in a very large index. */
	h.tag = (uint8_t)(1 + (mixed & 0xffff) % 255);
	return h;
}

struct same_index *same_index_create(uint64_t pages, bool (*hash_of)(void *arg, uint32_t id, uint32_t *hash), void *arg)
{
	struct same_index *x = calloc(1, sizeof(*x));
	uint64_t buckets = pages * 54 / 10 / BUCKET_BYTES;

	/* One less, for the rest; but two, or there is no choice. */
	buckets = buckets < 3 ? 2 : buckets > UINT32_MAX ? UINT32_MAX : buckets - 1;
	if (x)
		*x = (struct same_index){.hash_of = hash_of, .arg = arg, .buckets = (uint32_t)buckets};
	/* So much comes from the host, all zero and untouched. */
	if (x && (!(x->id = calloc(buckets, sizeof(*x->id))) || !(x->tags = calloc(buckets, sizeof(*x->tags))))) {
		same_index_destroy(x);
		x = NULL;
	}
	if (!x)
		log_errno(ENOMEM, "index of equal pages");
	return x;
}

void same_index_destroy(struct same_index *x)
{
	if (!x)
		return;
	free(x->id);
	free(x->tags);
	free(x);
}

uint64_t same_index_bytes(const struct same_index *x)
{
	return sizeof(*x) + x->buckets * BUCKET_BYTES;
}

static uint8_t tag_at(const struct same_index *x, struct place p)
{
	return (uint8_t)(x->tags[p.bucket] >> 8 * p.at);
}

static void put(struct same_index *x, struct place p, uint32_t id, uint8_t tag)
{
	x->id[p.bucket][p.at] = id;
	x->tags[p.bucket] = (x->tags[p.bucket] & ~(0xffull << 8 * p.at)) | (uint64_t)tag << 8 * p.at;
}

/* The high bit of each byte that equals tag, and perhaps of bytes above such a one (the customary search for a zero byte). */
static uint64_t with_tag(uint64_t tags, uint8_t tag)
{
	uint64_t other = tags ^ tag * LOW_BITS;

	return (other - LOW_BITS) & ~other & LOW_BITS << 7;
}

static struct place find_empty(const struct same_index *x, uint32_t bucket)
{
	uint64_t empty = with_tag(x->tags[bucket], 0);

	return empty ? (struct place){bucket, (unsigned int)__builtin_ctzll(empty) / 8} : nowhere;
}

static struct place find_in(const struct same_index *x, uint32_t bucket, uint8_t tag, uint32_t hash)
{
	for (uint64_t left = with_tag(x->tags[bucket], tag); left; left &= left - 1) {
		struct place p = {bucket, (unsigned int)__builtin_ctzll(left) / 8};
		uint32_t now;

		if (x->id[bucket][p.at] && x->hash_of(x->arg, x->id[bucket][p.at], &now) && now == hash)
			return p;
	}
	return nowhere;
}

static struct place find(const struct same_index *x, const struct home *h, uint32_t hash)
{
	struct place p = find_in(x, h->bucket[0], h->tag, hash);

	return p.at < PLACES ? p : find_in(x, h->bucket[1], h->tag, hash);
}

uint32_t same_index_find(const struct same_index *x, uint32_t hash)
{
	struct home h = home_of(x, hash);
	struct place p = find(x, &h, hash);

	return p.at < PLACES ? x->id[p.bucket][p.at] : 0;
}

/* Whether what is there would still be found; then also where it belongs. */
static bool is_found(const struct same_index *x, struct place p, struct home *h)
{
	uint32_t hash;

	if (!x->hash_of(x->arg, x->id[p.bucket][p.at], &hash))
		return false;
	*h = home_of(x, hash);
	return tag_at(x, p) == h->tag && (p.bucket == h->bucket[0] || p.bucket == h->bucket[1]);
}

/* A place in the bucket that is empty or whose id is not found any more. */
static struct place find_free(const struct same_index *x, uint32_t bucket)
{
	struct place p = find_empty(x, bucket);
	struct home h;

	if (p.at < PLACES)
		return p;
	for (p = (struct place){bucket, 0}; p.at < PLACES; p.at++) {
		if (!is_found(x, p, &h))
			return p;
	}
	return nowhere;
}

/* Makes a place in a bucket whose ids are all found, by moving one to its other bucket. */
static struct place make_room(struct same_index *x, uint32_t bucket)
{
	for (struct place p = {bucket, 0}; p.at < PLACES; p.at++) {
		struct place to;
		struct home h;

		if (!is_found(x, p, &h))
			return p;
		to = find_free(x, h.bucket[h.bucket[0] == bucket]);
		if (to.at < PLACES) {
			put(x, to, x->id[bucket][p.at], h.tag);
			return p;
		}
	}
	return nowhere;
}

static unsigned int empty_places(const struct same_index *x, uint32_t bucket)
{
	unsigned int count = 0;

	for (uint64_t tags = x->tags[bucket], i = 0; i < PLACES; i++)
		count += !(tags >> 8 * i & 0xff);
	return count;
}

static struct place place_for(struct same_index *x, const struct home *h)
{
	/* The emptier one: that alone keeps most buckets from becoming full. */
	unsigned int first = empty_places(x, h->bucket[1]) > empty_places(x, h->bucket[0]);
	struct place p = find_free(x, h->bucket[first]);

	if (p.at == PLACES)
		p = find_free(x, h->bucket[!first]);
	if (p.at == PLACES)
		p = make_room(x, h->bucket[0]);
	if (p.at == PLACES)
		p = make_room(x, h->bucket[1]);
	return p;
}

uint32_t same_index_find_or_add(struct same_index *x, uint32_t hash, uint32_t id)
{
	struct home h = home_of(x, hash);
	struct place p = find(x, &h, hash);

	if (p.at < PLACES)
		return x->id[p.bucket][p.at];
	p = place_for(x, &h);
	if (p.at < PLACES)
		put(x, p, id, h.tag);
	return 0;
}

bool same_index_add(struct same_index *x, uint32_t hash, uint32_t id)
{
	struct home h = home_of(x, hash);
	struct place p = find(x, &h, hash);

	if (p.at == PLACES)
		p = place_for(x, &h);
	if (p.at == PLACES)
		return false;
	put(x, p, id, h.tag);
	return true;
}
