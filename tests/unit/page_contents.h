/*
 * Contents of pages by number, for tests of what is shared: zero, the same as others, similar to others, compressible, or random.
 */
#pragma once

#include <stdint.h>

enum content { CONTENT_ZERO, CONTENT_SAME, CONTENT_SIMILAR, CONTENT_TEXT, CONTENT_RANDOM, CONTENTS };

#define CONTENT_FAMILIES 6u /* of equal pages, and of similar ones */

/* What a page holds: made from this alone, so that it can be made again. */
struct page_content {
	enum content kind;
	uint64_t seed; /* pages of the same kind and family are equal or similar whatever it is */
};

void page_content_make(const struct page_content *c, void *page);
