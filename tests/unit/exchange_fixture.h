/*
 * RAM whose pages are exchanged, for tests: a pool of pages to be shown, a store that keeps what is cold, and a second pager, as a
 * lazily restored guest has one. A page of value v has v in all its words.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/pager.h"
#include "vmm/userfault_exchange.h"

#define FIXTURE_RAM_PAGES 256u /* mem.h has no less */
#define FIXTURE_VALUES 8u /* slot v of the pool has value v */
#define FIXTURE_WORDS (PAGE_SIZE / 8)
#define FIXTURE_MIXED UINT64_MAX /* words of several values */

struct fixture_store {
	struct pager pager;
	pthread_mutex_t lock;
	uint64_t value[FIXTURE_RAM_PAGES];
	bool has[FIXTURE_RAM_PAGES];
	_Atomic int error; /* what fetch() returns from now on */
	_Atomic unsigned int fetches, brought, at_fault;
};

struct fixture {
	struct mem ram;
	struct userfault uf;
	int pool;
	struct fixture_store cold, lazy;
	char reason[256];
};

/* RAM is there, nobody has touched it, and exchanges have not begun. What else a test needs is its own. */
void fixture_start(struct fixture *f);
void fixture_end(struct fixture *f);

/* What was evicted is put first. Taking it back is for who has failed to evict it. */
void fixture_put(struct fixture_store *s, uint64_t page, uint64_t value);
void fixture_take_back(struct fixture_store *s, uint64_t page);
bool fixture_has(struct fixture_store *s, uint64_t page);

uint8_t *fixture_at(struct fixture *f, uint64_t page);
void fixture_fill(void *bytes, uint64_t value);

/* The value of all words, or FIXTURE_MIXED. */
uint64_t fixture_value(const void *bytes);
