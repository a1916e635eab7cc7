/*
 * Contents of pages, compressed, each kept once however often it is wanted: pages of a guest are often as others are, or as they were.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

struct page_content {
	struct page_content *next; /* of the same bucket */
	uint64_t hash;	/* of the page */
	uint32_t refs;
	uint32_t size; /* 0: a page of zeros; PAGE_SIZE: not compressed */
	uint8_t bytes[];
};

struct page_store {
	struct page_content **bucket;
	uint64_t buckets; /* a power of two */
	uint64_t count, bytes; /* different contents; what all of this takes */
	struct ZSTD_CCtx_s *pack;
	struct ZSTD_DCtx_s *unpack;
};

/* Returns 0, or -ENOMEM and nothing to be freed. */
int page_store_init(struct page_store *s);

/* All contents have been dropped. */
void page_store_destroy(struct page_store *s);

/* What is equal to this page, counted once more, to be dropped; NULL: no memory. */
struct page_content *page_store_keep(struct page_store *s, const void *page);
void page_store_drop(struct page_store *s, struct page_content *c);

/* Writes the page, or says whether one is equal to it. */
void page_store_out(struct page_store *s, const struct page_content *c, void *page);
bool page_store_is(struct page_store *s, const struct page_content *c, const void *page);
