#include "guest/user/memory_pages.h"

#include "guest/lib/random.h"

#define TEXT_WORDS 32u /* that the text of a page consists of */

/* The first guest has the shared seed, so that what it says does not depend on there being others. */
uint64_t memory_own_seed(uint64_t shared_seed, uint64_t guest)
{
	return shared_seed ^ guest * 0xbf58476d1ce4e5b9ull;
}

static uint64_t page_seed(uint64_t seed, uint64_t page, uint64_t version)
{
	return seed ^ (page + 1) * 0xd6e8feb86659fd93ull ^ version << 48;
}

static void fill_zero(uint64_t *words)
{
	for (unsigned int i = 0; i < MEMORY_PAGE_WORDS; i++)
		words[i] = 0;
}

static void fill_random(uint64_t *words, uint64_t seed)
{
	for (unsigned int i = 0; i < MEMORY_PAGE_WORDS; i++)
		words[i] = random_next(&seed);
}

static void fill_similar(uint64_t *words, uint64_t base, uint64_t seed)
{
	fill_random(words, base);
	for (int i = 0; i < MEMORY_SIMILAR_CHANGES; i++) {
		uint64_t at = random_next(&seed) % MEMORY_PAGE_WORDS;

		words[at] = random_next(&seed);
	}
}

/* Eight of the letters a to p. */
static uint64_t letters(uint64_t random)
{
	return (random & 0x0f0f0f0f0f0f0f0full) + 0x6161616161616161ull;
}

static void fill_text(uint64_t *words, uint64_t seed)
{
	uint64_t vocabulary[TEXT_WORDS];

	for (unsigned int i = 0; i < TEXT_WORDS; i++)
		vocabulary[i] = letters(random_next(&seed));
	for (unsigned int i = 0; i < MEMORY_PAGE_WORDS; i++)
		words[i] = vocabulary[random_next(&seed) % TEXT_WORDS];
}

static uint64_t similar_base(const struct memory_area *area, uint64_t page)
{
	return area->group ? page_seed(area->shared_seed, page / area->group, 1) : area->shared_seed;
}

static enum memory_kind churn_kind(uint64_t page, uint64_t version)
{
	static const enum memory_kind turns[] = {
		MEMORY_ZERO, MEMORY_DUP, MEMORY_SIMILAR, MEMORY_TEXT, MEMORY_TWIN, MEMORY_UNIQUE,
	};

	return turns[(page + version) % (sizeof(turns) / sizeof(turns[0]))];
}

void memory_make_page(const struct memory_area *area, uint64_t page, uint64_t version, uint64_t *words)
{
	enum memory_kind kind = area->kind == MEMORY_CHURN ? churn_kind(page, version) : area->kind;
	uint64_t seed = page_seed(area->seed, page, version);

	switch (kind) {
	case MEMORY_ZERO: fill_zero(words); break;
	case MEMORY_DUP: fill_random(words, area->shared_seed); break;
	case MEMORY_SIMILAR: fill_similar(words, similar_base(area, page), seed); break;
	case MEMORY_TWIN: fill_random(words, page_seed(area->shared_seed, page, 0)); break;
	case MEMORY_TEXT: fill_text(words, seed); break;
	default: fill_random(words, seed); break;
	}
}
