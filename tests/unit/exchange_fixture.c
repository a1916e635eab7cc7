#include "tests/unit/exchange_fixture.h"

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As guests do it: what keeps it right is the page's protection, which ThreadSanitizer does not know of. */
__attribute__((no_sanitize("thread"))) void fixture_fill(void *bytes, uint64_t value)
{
	volatile uint64_t *words = __builtin_assume_aligned(bytes, PAGE_SIZE);

	for (unsigned int i = 0; i < FIXTURE_WORDS; i++)
		words[i] = value;
}

__attribute__((no_sanitize("thread"))) uint64_t fixture_value(const void *bytes)
{
	const volatile uint64_t *words = __builtin_assume_aligned(bytes, PAGE_SIZE);
	uint64_t value = words[0];

	for (unsigned int i = 1; i < FIXTURE_WORDS; i++)
		if (words[i] != value)
			return FIXTURE_MIXED;
	return value;
}

uint8_t *fixture_at(struct fixture *f, uint64_t page)
{
	return f->ram.region[0].hva + page * PAGE_SIZE;
}

static struct fixture_store *store_of(struct pager *p)
{
	return (struct fixture_store *)(void *)((char *)p - offsetof(struct fixture_store, pager));
}

void fixture_put(struct fixture_store *s, uint64_t page, uint64_t value)
{
	pthread_mutex_lock(&s->lock);
	ck_assert(!s->has[page]);
	s->has[page] = true;
	s->value[page] = value;
	pthread_mutex_unlock(&s->lock);
}

void fixture_take_back(struct fixture_store *s, uint64_t page)
{
	pthread_mutex_lock(&s->lock);
	ck_assert(s->has[page]);
	s->has[page] = false;
	pthread_mutex_unlock(&s->lock);
}

bool fixture_has(struct fixture_store *s, uint64_t page)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->has[page];
	pthread_mutex_unlock(&s->lock);
	return has;
}

/* Zero pages as such, as many as there are; others one by one or as many as are wanted. */
static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	struct fixture_store *s = store_of(p);
	uint64_t first = gpa / PAGE_SIZE;
	unsigned int n = 0;

	atomic_fetch_add(&s->fetches, 1);
	if (atomic_load(&s->error))
		return atomic_load(&s->error);
	pthread_mutex_lock(&s->lock);
	ck_assert_msg(s->has[first], "page %lu is not in %s", first, p->name);
	*bytes = s->value[first] ? buffer : NULL;
	for (; n < pages && s->has[first + n] && !s->value[first + n] == !*bytes; n++)
		if (*bytes)
			fixture_fill((uint8_t *)buffer + n * PAGE_SIZE, s->value[first + n]);
	pthread_mutex_unlock(&s->lock);
	return (int)n;
}

static void brought(struct pager *p, uint64_t gpa, unsigned int pages, bool fault)
{
	struct fixture_store *s = store_of(p);

	for (unsigned int n = 0; n < pages; n++)
		fixture_take_back(s, gpa / PAGE_SIZE + n);
	atomic_fetch_add(&s->brought, pages);
	atomic_fetch_add(&s->at_fault, fault ? pages : 0);
}

static void init_store(struct fixture_store *s, const char *name, unsigned int ahead)
{
	memset(s, 0, sizeof(*s));
	s->pager = (struct pager){.name = name, .ahead = ahead, .fetch = fetch, .brought = brought};
	pthread_mutex_init(&s->lock, NULL);
}

static void failed(void *arg, const char *reason)
{
	struct fixture *f = arg;

	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	atomic_store(&f->ram.lost, true);
}

static int make_pool(void)
{
	static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));
	int fd = memfd_create("pool", MFD_CLOEXEC);

	for (uint64_t v = 0; v < FIXTURE_VALUES; v++) {
		fixture_fill(page, v);
		ck_assert_int_eq(pwrite(fd, page, PAGE_SIZE, (off_t)(v * PAGE_SIZE)), PAGE_SIZE);
	}
	return fd;
}

void fixture_start(struct fixture *f)
{
	f->reason[0] = '\0';
	ck_assert_int_eq(mem_create(&f->ram, FIXTURE_RAM_PAGES * PAGE_SIZE, MEM_HUGE_NEVER), 0);
	userfault_init(&f->uf, &f->ram, failed, f);
	f->pool = make_pool();
	init_store(&f->cold, "the cold store", 4);
	init_store(&f->lazy, "the snapshot", 16);
}

void fixture_end(struct fixture *f)
{
	userfault_destroy(&f->uf);
	mem_destroy(&f->ram);
	close(f->pool);
}
