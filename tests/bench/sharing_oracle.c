#include "tests/bench/sharing_oracle.h"

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dedup/codec.h"
#include "vmm/mem.h"

#define BLOCK 64u
#define BLOCKS (PAGE_SIZE / BLOCK)
#define WAYS 4u	       /* pages known for a block */
#define CANDIDATES 12u /* whose deltas are really made */
#define GOOD 64u       /* bytes: a delta that needs no better one */

struct page {
	uint64_t hash;
	const uint8_t *bytes;
	uint64_t copies;
};

/* Pages that are kept whole, by every block of theirs. */
struct references {
	const uint8_t **pages;
	uint32_t count;
	uint32_t *ways; /* of each place: numbers of blocks of these pages + 1 */
	uint64_t places;
	struct codec *codec;
};

/* Pages that have a block in common with a given one, and how many. */
struct votes {
	uint32_t id[BLOCKS * WAYS];
	unsigned int blocks[BLOCKS * WAYS], count;
};

static void *need(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		errx(1, "out of memory");
	return p;
}

struct dump dump_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct dump d = {NULL, 0};
	struct stat st;
	void *bytes;

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	d.pages = (uint64_t)st.st_size / PAGE_SIZE;
	bytes = mmap(NULL, d.pages * PAGE_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	d.bytes = bytes;
	return d;
}

void dump_close(struct dump *d)
{
	munmap((void *)(uintptr_t)d->bytes, d->pages * PAGE_SIZE);
	*d = (struct dump){NULL, 0};
}

static uint64_t hash_bytes(const uint8_t *bytes, unsigned int size)
{
	uint64_t h = 0, word;

	for (unsigned int at = 0; at < size; at += sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static bool is_zero(const uint8_t *bytes, unsigned int size)
{
	static const uint8_t zero[PAGE_SIZE];

	return !memcmp(bytes, zero, size);
}

static int by_contents(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return memcmp(x->bytes, y->bytes, PAGE_SIZE);
}

/* Those of which there are several are kept whole anyway, so they come first; then in order of their places. */
static int by_copies(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	if ((x->copies > 1) != (y->copies > 1))
		return x->copies > 1 ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static uint64_t list_pages(const struct dump *dumps, unsigned int count, struct page *list, struct sharing *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < count; i++)
		for (uint64_t page = 0; page < dumps[i].pages; page++) {
			const uint8_t *bytes = dumps[i].bytes + page * PAGE_SIZE;

			if (is_zero(bytes, PAGE_SIZE))
				s->zero++;
			else
				list[n++] = (struct page){hash_bytes(bytes, PAGE_SIZE), bytes, 1};
		}
	return n;
}

/* Leaves one of each. Returns how many there are. */
static uint64_t join_same(struct page *list, uint64_t n, struct sharing *s)
{
	uint64_t kept = 0;

	qsort(list, n, sizeof(*list), by_contents);
	for (uint64_t i = 0; i < n; i++) {
		if (kept && !by_contents(&list[kept - 1], &list[i])) {
			list[kept - 1].copies++;
			s->same++;
		} else {
			list[kept++] = list[i];
		}
	}
	qsort(list, kept, sizeof(*list), by_copies);
	return kept;
}

static uint32_t *ways_of(const struct references *r, const uint8_t *block)
{
	return r->ways + (hash_bytes(block, BLOCK) >> 7 & (r->places - 1)) * WAYS;
}

static void add_reference(struct references *r, const uint8_t *bytes)
{
	r->pages[r->count++] = bytes;
	for (unsigned int at = 0; at < PAGE_SIZE; at += BLOCK) {
		uint32_t *ways = ways_of(r, bytes + at);
		unsigned int i = 0;

		if (is_zero(bytes + at, BLOCK))
			continue;
		while (i < WAYS && ways[i])
			i++;
		if (i < WAYS)
			ways[i] = (r->count - 1) * BLOCKS + at / BLOCK + 1;
	}
}

static const uint8_t *block_of(const struct references *r, uint32_t number)
{
	return r->pages[number / BLOCKS] + number % BLOCKS * BLOCK;
}

static void vote(struct votes *v, uint32_t id)
{
	unsigned int i = 0;

	while (i < v->count && v->id[i] != id)
		i++;
	if (i == v->count) {
		v->id[v->count] = id;
		v->blocks[v->count++] = 0;
	}
	v->blocks[i]++;
}

static void gather(const struct references *r, const uint8_t *bytes, struct votes *v)
{
	v->count = 0;
	for (unsigned int at = 0; at < PAGE_SIZE; at += BLOCK) {
		const uint32_t *ways = ways_of(r, bytes + at);

		if (is_zero(bytes + at, BLOCK))
			continue;
		for (unsigned int i = 0; i < WAYS && ways[i]; i++)
			if (!memcmp(block_of(r, ways[i] - 1), bytes + at, BLOCK))
				vote(v, (ways[i] - 1) / BLOCKS);
	}
}

/* Takes the page with the most votes out. */
static uint32_t take_first(struct votes *v)
{
	unsigned int best = 0;
	uint32_t id;

	for (unsigned int i = 1; i < v->count; i++)
		if (v->blocks[i] > v->blocks[best])
			best = i;
	id = v->id[best];
	v->count--;
	v->id[best] = v->id[v->count];
	v->blocks[best] = v->blocks[v->count];
	return id;
}

/* The size of the best delta, or 0. */
static unsigned int best_delta(const struct references *r, const uint8_t *bytes)
{
	uint8_t out[CODEC_MOST];
	unsigned int best = 0;
	struct votes v;

	gather(r, bytes, &v);
	for (unsigned int i = 0; i < CANDIDATES && v.count && (!best || best > GOOD); i++) {
		unsigned int size = codec_delta(r->codec, bytes, r->pages[take_first(&v)], out, best ? best : CODEC_MOST);

		if (size)
			best = size;
	}
	return best;
}

static void place_page(struct references *r, const struct page *p, struct sharing *s)
{
	uint8_t out[CODEC_MOST];
	unsigned int delta, alone;

	if (p->copies > 1) {
		add_reference(r, p->bytes);
		return;
	}
	delta = best_delta(r, p->bytes);
	alone = codec_alone(r->codec, p->bytes, out, CODEC_MOST);
	if (delta && (!alone || delta <= alone)) {
		s->deltas++;
		s->delta_bytes += delta;
	} else if (alone) {
		s->alone++;
		s->alone_bytes += alone;
	} else {
		add_reference(r, p->bytes);
	}
}

static void place_pages(const struct page *list, uint64_t n, struct sharing *s)
{
	struct references r = {.pages = need(n, sizeof(*r.pages)), .places = 1024, .codec = codec_create()};

	if (!r.codec)
		exit(1);
	while (r.places < n * BLOCKS / 2)
		r.places *= 2;
	r.ways = need(r.places * WAYS, sizeof(*r.ways));
	for (uint64_t i = 0; i < n; i++)
		place_page(&r, &list[i], s);
	free(r.pages);
	free(r.ways);
	codec_destroy(r.codec);
}

struct sharing sharing_oracle(const struct dump *dumps, unsigned int count)
{
	struct sharing s = {0};
	struct page *list;
	uint64_t n;

	for (unsigned int i = 0; i < count; i++)
		s.pages += dumps[i].pages;
	list = need(s.pages, sizeof(*list));
	n = list_pages(dumps, count, list, &s);
	place_pages(list, join_same(list, n, &s), &s);
	free(list);
	return s;
}

double sharing_saved_kib(const struct sharing *s, enum sharing_stage stage)
{
	double kib = (double)s->zero * (PAGE_SIZE / 1024.0);

	if (stage >= SHARING_SAME)
		kib += (double)s->same * (PAGE_SIZE / 1024.0);
	if (stage >= SHARING_DELTA)
		kib += (double)(s->deltas * PAGE_SIZE - s->delta_bytes) / 1024;
	if (stage >= SHARING_COMPRESS)
		kib += (double)(s->alone * PAGE_SIZE - s->alone_bytes) / 1024;
	return kib;
}
