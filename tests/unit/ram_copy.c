/*
 * Copies of RAM that threads write all the time, as guests and devices do: each copy holds what was there at its instant. Some of
 * RAM is absent, some was never touched, and two copies are made at once.
 */
#include "snapshot/ram_copy.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "tests/unit/capture.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/pager.h"
#include "vmm/vm.h"

#define PAGES 1024u
#define RAM (PAGES * PAGE_SIZE)
#define ABSENT_FIRST 256u /* the pager has these and the pages behind */
#define ABSENT_PAGES 256u
#define UNTOUCHED_FIRST 768u
#define WRITERS 2u
#define COPIES 2u

static struct vm vm;
static uint64_t model[PAGES]; /* in all words of a page; who writes it holds the lock for reading */
static pthread_rwlock_t stands = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; /* for writing: the guest stands still */
static _Atomic bool stopping;
static uint64_t seed;

static uint64_t *page_words(void *bytes)
{
	return __builtin_assume_aligned(bytes, PAGE_SIZE);
}

/* As a guest does it: what keeps the copy right is the page's protection, which ThreadSanitizer does not know of. */
__attribute__((no_sanitize("thread"))) static void fill_page(void *bytes, uint64_t value)
{
	volatile uint64_t *words = page_words(bytes);

	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = value;
}

static uint8_t *ram_at(uint64_t page)
{
	return vm.mem.region[0].hva + page * PAGE_SIZE;
}

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	fill_page(buffer, gpa / PAGE_SIZE % 3 ? gpa : 0);
	*bytes = buffer;
	return 1;
}

static struct pager pager = {.name = "the test's pager", .ahead = 1, .fetch = fetch};

static void failed(void *arg, const char *reason)
{
	atomic_store(&vm.mem.lost, true);
}

/* Each writer has pages of its own. */
static void *write_on(void *arg)
{
	unsigned int writer = (unsigned int)(uintptr_t)arg;
	struct random r = {.state = seed + writer};

	while (!atomic_load(&stopping)) {
		uint64_t page = random_below(&r, PAGES / WRITERS) * WRITERS + writer;

		pthread_rwlock_rdlock(&stands);
		model[page] = random_below(&r, 4) ? random_next(&r) : 0;
		fill_page(ram_at(page), model[page]);
		pthread_rwlock_unlock(&stands);
	}
	return NULL;
}

static void make_empty_vm(void)
{
	ck_assert_int_eq(mem_create(&vm.mem, RAM, MEM_HUGE_NEVER), 0);
	userfault_init(&vm.userfault, &vm.mem, failed, NULL);
}

static void drop_vm(void)
{
	userfault_destroy(&vm.userfault);
	mem_destroy(&vm.mem);
}

static void make_vm(struct random *r)
{
	make_empty_vm();
	for (uint64_t page = 0; page < UNTOUCHED_FIRST; page++) {
		model[page] = random_below(r, 4) ? random_next(r) : 0;
		fill_page(ram_at(page), model[page]);
	}
	ck_assert_int_eq(userfault_absent(&vm.userfault, &pager, ABSENT_FIRST * PAGE_SIZE, ABSENT_PAGES * PAGE_SIZE), 0);
	for (uint64_t page = ABSENT_FIRST; page < ABSENT_FIRST + ABSENT_PAGES; page++)
		model[page] = page % 3 ? page * PAGE_SIZE : 0;
}

struct taken {
	struct ram_copy copy;
	uint64_t was[PAGES];
};

static void add_random_ranges(struct ram_copy *c, struct random *r)
{
	for (uint64_t page = random_below(r, 20); page < PAGES;) {
		uint64_t pages = 1 + random_below(r, 200);

		pages = pages < PAGES - page ? pages : PAGES - page;
		ck_assert_int_eq(ram_copy_add(c, page * PAGE_SIZE, pages * PAGE_SIZE), 0);
		page += pages + random_below(r, 20);
	}
}

static void take(struct taken *t, struct random *r)
{
	struct reason why = {0};

	ck_assert_int_eq(ram_copy_reserve(&t->copy, &vm.mem, 0), 0);
	add_random_ranges(&t->copy, r);
	pthread_rwlock_wrlock(&stands);
	memcpy(t->was, model, sizeof(model));
	ck_assert(ram_copy_behind(&t->copy, &vm));
	ck_assert_msg(ram_copy_take(&t->copy, &why) == 0, "%s", why.text);
	pthread_rwlock_unlock(&stands);
	ck_assert_uint_eq(t->copy.protected, t->copy.used / PAGE_SIZE);
}

static void assert_page(const struct taken *t, const struct ram_range *range, uint64_t at)
{
	uint64_t expected = t->was[(range->gpa + at) / PAGE_SIZE];
	const uint64_t *words = page_words(t->copy.bytes + range->at + at);

	if (!ram_copy_holds(&t->copy, range->at + at)) {
		ck_assert_uint_eq(expected, 0);
		return;
	}
	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		ck_assert_msg(words[i] == expected, "page 0x%lx, word %u: 0x%lx and not 0x%lx", range->gpa + at, i, words[i], expected);
}

static void finish(struct taken *t)
{
	struct reason why = {0};

	ck_assert_msg(ram_copy_finish(&t->copy, &why) == 0, "%s", why.text);
	for (size_t i = 0; i < t->copy.ranges; i++)
		for (uint64_t at = 0; at < t->copy.range[i].size; at += PAGE_SIZE)
			assert_page(t, &t->copy.range[i], at);
	ram_copy_free(&t->copy);
}

START_TEST(test_behind)
{
	struct random r = random_start("ram_copy");
	static struct taken taken[COPIES];
	pthread_t thread[WRITERS];

	seed = random_next(&r);
	make_vm(&r);
	for (uintptr_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, write_on, (void *)i), 0);
	for (int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < COPIES; i++)
			take(&taken[i], &r);
		for (unsigned int i = 0; i < COPIES; i++)
			finish(&taken[i]);
	}
	atomic_store(&stopping, true);
	for (unsigned int i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	drop_vm();
}
END_TEST

/* One that is given up in the middle leaves nothing protected: whoever waits goes on. */
START_TEST(test_given_up)
{
	struct random r = random_start("ram_copy");
	static struct taken t;
	pthread_t thread;

	make_vm(&r);
	take(&t, &r);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
	ram_copy_free(&t.copy);
	atomic_store(&stopping, true);
	pthread_join(thread, NULL);
	ck_assert_ptr_null(t.copy.bytes);
	drop_vm();
}
END_TEST

START_TEST(test_now)
{
	struct random r = random_start("ram_copy");
	static struct taken t;
	struct reason why = {0};

	make_vm(&r);
	ck_assert_int_eq(ram_copy_reserve(&t.copy, &vm.mem, RAM), 0);
	add_random_ranges(&t.copy, &r);
	memcpy(t.was, model, sizeof(model));
	ck_assert_int_eq(ram_copy_take(&t.copy, &why), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		fill_page(ram_at(page), 1);
	finish(&t);
	drop_vm();
}
END_TEST

static int copy_part(void *arg, uint64_t gpa, uint64_t size)
{
	return ram_copy_part(arg, gpa, size);
}

/* A file as RAM is: page 0 of every four is a hole. */
static int make_backing(struct random *r)
{
	uint64_t page[PAGE_SIZE / 8];
	int fd = memfd_create("backing", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, RAM), 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		model[i] = i % 4 ? random_next(r) : 0;
		fill_page(page, model[i]);
		if (i % 4)
			ck_assert_int_eq(pwrite(fd, page, PAGE_SIZE, (off_t)(i * PAGE_SIZE)), PAGE_SIZE);
	}
	return fd;
}

/* RAM that is mapped from a file: pages that were read or written or neither, before and after the copy's instant. */
START_TEST(test_backed)
{
	struct random r = random_start("ram_copy");
	static struct taken t;
	struct reason why = {0};
	volatile uint8_t looked;
	int fd = make_backing(&r);

	make_empty_vm();
	ck_assert_ptr_eq(mmap(ram_at(0), RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0), ram_at(0));
	mem_remapped(&vm.mem, 0, RAM);
	mem_backed(&vm.mem, fd);
	for (unsigned int i = 0; i < PAGES / 2; i++) {
		uint64_t page = random_below(&r, PAGES);

		if (random_below(&r, 2))
			fill_page(ram_at(page), model[page] = random_next(&r));
		else
			looked = *ram_at(page);
	}
	(void)looked;
	memcpy(t.was, model, sizeof(model));
	ck_assert_int_eq(ram_copy_reserve(&t.copy, &vm.mem, 0), 0);
	ck_assert_int_eq(ram_copy_add(&t.copy, 0, RAM), 0);
	ck_assert_int_eq(touched_walk(&vm.mem, copy_part, &t.copy, &why), 0);
	ram_copy_rest(&t.copy, vm.mem.backing);
	ck_assert_int_eq(ram_copy_take(&t.copy, &why), 0);
	ck_assert_uint_lt(t.copy.copied, PAGES / 2);
	for (uint64_t page = 0; page < PAGES; page++)
		fill_page(ram_at(page), 1);
	finish(&t);
	drop_vm();
	close(fd);
}
END_TEST

/* A host that refuses what protects RAM: it is copied all the same, and not asked again. */
START_TEST(test_refused)
{
	struct rlimit before, none;
	static struct taken t;
	struct reason why = {0};
	struct capture said;

	make_empty_vm();
	fill_page(ram_at(3), t.was[3] = 7);
	ck_assert_int_eq(ram_copy_reserve(&t.copy, &vm.mem, 0), 0);
	ck_assert_int_eq(ram_copy_add(&t.copy, 0, RAM), 0);
	capture_begin(&said);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 2; i++)
		ck_assert(!ram_copy_behind(&t.copy, &vm));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	capture_end(&said);
	ck_assert_ptr_nonnull(strstr(said.text, "so the guest stands still"));
	ck_assert_ptr_null(strstr(strstr(said.text, "stands still") + 1, "stands still"));
	ck_assert_int_eq(ram_copy_take(&t.copy, &why), 0);
	ck_assert_uint_eq(t.copy.copied, PAGES);
	finish(&t);
	drop_vm();
}
END_TEST

/* What could not be brought is no copy. */
START_TEST(test_lost)
{
	struct random r = random_start("ram_copy");
	static struct taken t;
	struct reason why = {0};

	make_vm(&r);
	take(&t, &r);
	atomic_store(&vm.mem.lost, true);
	ck_assert_int_eq(ram_copy_finish(&t.copy, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "lost"));
	ram_copy_free(&t.copy);
	drop_vm();
}
END_TEST

int main(void)
{
	const TTest *const all[] = {test_behind, test_given_up, test_now, test_backed, test_refused, test_lost};

	return RUN_TESTS("ram_copy", all);
}
