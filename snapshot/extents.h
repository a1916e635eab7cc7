/*
 * Where the pages of a snapshot are, also of a chain: which part has the newest bytes of each page. Made once from the parts'
 * page maps, then asked for one page after the other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct image_reader;

/* Pages one after the other, in the memory file of one part. */
struct extent {
	uint64_t gpa, pages;
	const struct image_reader *part; /* NULL while they are made: zero */
	const uint64_t *checksum;	 /* the first page's, in the part's page map */
};

/* In ascending order, and they do not overlap. What is in none is zero. */
struct extents {
	struct extent *extent;
	size_t count, room;
};

/* The reader must outlive them. Returns 0 or -ENOMEM (not logged), with nothing to be freed. */
int extents_make(struct extents *e, const struct image_reader *r);
void extents_free(struct extents *e);

/* The one that has the page at gpa; NULL: the page is zero, and so is all up to *end. */
const struct extent *extents_find(const struct extents *e, uint64_t gpa, uint64_t *end);
