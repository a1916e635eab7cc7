#include "tests/unit/page_contents.h"

#include <string.h>

#include "tests/unit/random.h"

#define WORDS 512u
#define CHANGED 4u /* words of a similar page */

static void fill_random(uint64_t *words, uint64_t seed)
{
	struct random r = {.state = seed};

	for (unsigned int i = 0; i < WORDS; i++)
		words[i] = random_next(&r);
}

static void change_some(uint64_t *words, uint64_t seed)
{
	struct random r = {.state = seed};

	for (unsigned int i = 0; i < CHANGED; i++)
		words[random_below(&r, WORDS)] = random_next(&r);
}

/* Few letters, and longer pieces that come again. */
static void fill_text(uint64_t *words, uint64_t seed)
{
	struct random r = {.state = seed};

	for (unsigned int i = 0; i < WORDS; i++)
		words[i] = i > 16 && random_below(&r, 4) ? words[random_below(&r, 16)] : 0x2020656874206120u + random_below(&r, 26);
}

void page_content_make(const struct page_content *c, void *page)
{
	uint64_t words[WORDS] = {0};

	switch (c->kind) {
	case CONTENT_ZERO:
		break;
	case CONTENT_SAME:
		fill_random(words, 1000 + c->seed % CONTENT_FAMILIES);
		break;
	case CONTENT_SIMILAR:
		fill_random(words, 2000 + c->seed % CONTENT_FAMILIES);
		change_some(words, c->seed);
		break;
	case CONTENT_TEXT:
		fill_text(words, c->seed);
		break;
	default:
		fill_random(words, c->seed);
		break;
	}
	memcpy(page, words, sizeof(words));
}
