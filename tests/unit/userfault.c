/*
 * A process as guest: threads read and write RAM at random while pages are absent, protected, brought in ahead, dropped and
 * saved by two guards at once. Each thread owns some words of every page and knows what is in them; each guard must get every
 * page once, as it was when the guest stood still.
 */
#include "vmm/userfault.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "vmm/pager.h"

#define PAGES 1024u
#define RAM (PAGES * PAGE_SIZE)
#define THREADS 3u
#define WORDS (THREADS + 1) /* looked at in each page; the last is the device's */
#define GUARDS 2u
#define PAGE_WORDS (PAGE_SIZE / 8)

typedef uint64_t page_words[WORDS];

static struct mem ram;
static struct userfault uf;
static page_words model[PAGES]; /* what RAM holds */
static page_words store[PAGES]; /* what the pager has */
static uint8_t own_memory[THREADS + GUARDS + 2][USERFAULT_RUN * PAGE_SIZE] __attribute__((aligned(4096)));
static pthread_rwlock_t stands = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; /* taken for writing: the guest stands still */
static _Atomic bool stopping;
static _Atomic unsigned int failures;
static _Atomic unsigned int next_own;
static _Thread_local unsigned int own = UINT32_MAX;
static uint64_t seed;

#define must(cond, ...)                                                                                                \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			atomic_fetch_add(&failures, 1);                                                                \
			fprintf(stderr, __VA_ARGS__);                                                                  \
		}                                                                                                      \
	} while (0)

/* Where a word lies in its page: first, last, and between. */
static unsigned int place(unsigned int word)
{
	return word * (PAGE_WORDS - 1) / (WORDS - 1);
}

static uint64_t *word_at(unsigned int page, unsigned int word)
{
	return (uint64_t *)(void *)(ram.region[0].hva + page * PAGE_SIZE) + place(word);
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void keep(uint64_t *p, uint64_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static bool is_zero(const uint64_t *words)
{
	for (unsigned int i = 0; i < WORDS; i++)
		if (load(&words[i]))
			return false;
	return true;
}

static void lay_out(const uint64_t *words, uint64_t *bytes)
{
	memset(bytes, 0, PAGE_SIZE);
	for (unsigned int i = 0; i < WORDS; i++)
		bytes[place(i)] = load(&words[i]);
}

/* Answers for as many pages as it likes, in the buffer or in memory of its own, zero pages as such now and then. */
static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	static _Thread_local struct random r;
	unsigned int first = (unsigned int)(gpa / PAGE_SIZE), n, kind;
	uint64_t *to = buffer;

	if (own == UINT32_MAX) {
		own = atomic_fetch_add(&next_own, 1);
		r.state = seed + own;
	}
	kind = (unsigned int)random_below(&r, 3);
	n = 1 + (unsigned int)random_below(&r, pages);
	if (kind == 2 && is_zero(store[first])) {
		for (n = 1; n < pages && is_zero(store[first + n]);)
			n++;
		*bytes = NULL;
		return (int)n;
	}
	if (kind == 1)
		to = (uint64_t *)(void *)own_memory[own];
	for (unsigned int i = 0; i < n; i++)
		lay_out(store[first + i], to + i * PAGE_WORDS);
	*bytes = to;
	if (random_below(&r, 50) == 0)
		usleep((useconds_t)random_below(&r, 500));
	return (int)n;
}

static uint64_t told; /* of so many pages, under the lock */

static void count_touched(struct pager *p, uint64_t gpa, unsigned int pages)
{
	must(gpa % PAGE_SIZE == 0 && gpa / PAGE_SIZE + pages <= PAGES, "told of %u pages at 0x%lx\n", pages, gpa);
	told += pages;
}

static struct pager pager = {.name = "the test's pager", .ahead = 1, .fetch = fetch, .touched = count_touched};

static void touch(struct random *r, unsigned int thread)
{
	unsigned int page = (unsigned int)random_below(r, PAGES);
	uint64_t got, expected = model[page][thread];

	if (random_below(r, 2)) {
		got = load(word_at(page, thread));
		must(got == expected, "page %u, word %u: 0x%lx and not 0x%lx\n", page, thread, got, expected);
	} else {
		keep(&model[page][thread], random_next(r));
		keep(word_at(page, thread), model[page][thread]);
	}
}

static void *guest(void *arg)
{
	unsigned int thread = (unsigned int)(uintptr_t)arg;
	struct random r = {.state = seed ^ (thread + 1) * 0x9e3779b97f4a7c15};

	while (!atomic_load(&stopping)) {
		pthread_rwlock_rdlock(&stands);
		for (int i = 0; i < 20; i++)
			touch(&r, thread);
		pthread_rwlock_unlock(&stands);
	}
	return NULL;
}

struct test_guard {
	struct userfault_guard g;
	page_words then[PAGES]; /* what RAM held when it was protected */
	_Atomic unsigned char wanted[PAGES];
	uint64_t epochs, pages;
};

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	struct test_guard *t = (struct test_guard *)g;

	for (unsigned int i = 0; i < pages; i++) {
		unsigned int page = (unsigned int)(gpa / PAGE_SIZE) + i;
		const uint64_t *words = bytes ? (const uint64_t *)bytes + i * PAGE_WORDS : NULL;

		must(atomic_exchange(&t->wanted[page], 0), "page %u saved without need\n", page);
		for (unsigned int w = 0; w < WORDS; w++) {
			uint64_t got = words ? load(&words[place(w)]) : 0;

			must(got == t->then[page][w], "page %u, word %u: saved 0x%lx and not 0x%lx\n", page, w, got, t->then[page][w]);
		}
	}
}

/* Ranges at random, or all of RAM, each page once: others may be saving for us at once. */
static void protect_some(struct test_guard *t, struct random *r)
{
	bool all = random_below(r, 3) == 0;
	unsigned int end;

	memcpy(t->then, model, sizeof(model));
	for (unsigned int page = 0; page < PAGES; page = end + (all ? 0 : (unsigned int)random_below(r, 100))) {
		end = all ? PAGES : page + 1 + (unsigned int)random_below(r, 100);
		end = end < PAGES ? end : PAGES;
		for (unsigned int n = page; n < end; n++)
			t->wanted[n] = 1;
		must(userfault_protect(&uf, &t->g, page * PAGE_SIZE, (end - page) * PAGE_SIZE) == 0, "protect\n");
	}
}

static void run_epoch(struct test_guard *t, struct random *r, void *buffer)
{
	bool cancel = random_below(r, 8) == 0;
	int64_t left = 1;

	pthread_rwlock_wrlock(&stands);
	protect_some(t, r);
	pthread_rwlock_unlock(&stands);
	while (left > 0 && !(cancel && random_below(r, 8) == 0)) {
		left = userfault_save(&uf, &t->g, buffer);
		if (random_below(r, 4) == 0)
			usleep((useconds_t)random_below(r, 300));
	}
	must(left >= 0, "save: %ld\n", left);
	if (left > 0)
		userfault_unprotect(&uf, &t->g);
	for (unsigned int n = 0; n < PAGES; n++)
		if (atomic_exchange(&t->wanted[n], 0))
			must(left > 0, "page %u was not saved\n", n);
	t->epochs++;
}

static struct test_guard guards[GUARDS];

static void *checkpoints(void *arg)
{
	struct test_guard *t = arg;
	struct random r = {.state = seed * 3 + (uint64_t)(t - guards)};
	void *buffer = aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE);

	while (!atomic_load(&stopping))
		run_epoch(t, &r, buffer);
	free(buffer);
	return NULL;
}

static void *prefetches(void *arg)
{
	struct random r = {.state = seed * 5};
	void *buffer = aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE);

	while (!atomic_load(&stopping)) {
		uint64_t page = random_below(&r, PAGES), count = 1 + random_below(&r, PAGES - page);

		must(userfault_prefetch(&uf, page * PAGE_SIZE, count * PAGE_SIZE, buffer) >= 0, "prefetch\n");
		usleep((useconds_t)random_below(&r, 20000));
	}
	free(buffer);
	return NULL;
}

/* The guest stands still: some of its pages go to the pager. */
static unsigned int evict(struct random *r)
{
	unsigned int page = (unsigned int)random_below(r, PAGES), count = 1 + (unsigned int)random_below(r, PAGES - page);
	int result;

	for (unsigned int n = page; n < page + count; n++)
		for (unsigned int w = 0; w < WORDS; w++) {
			uint64_t got = load(word_at(n, w));

			must(got == model[n][w], "page %u, word %u: 0x%lx and not 0x%lx\n", n, w, got, model[n][w]);
			keep(&store[n][w], got);
		}
	result = userfault_absent(&uf, &pager, page * PAGE_SIZE, count * PAGE_SIZE);
	must(result == 0 || result == -EBUSY, "absent: %d\n", result);
	return result == 0 ? count : 0;
}

/* A device that reads into guest pages, by a system call, and holds them pinned meanwhile. */
static void device(struct random *r, int fd)
{
	unsigned int page = (unsigned int)random_below(r, PAGES);
	uint64_t gpa = page * PAGE_SIZE, value = random_next(r);
	struct mem_pin pin;

	ck_assert_int_eq(pwrite(fd, &value, sizeof(value), 0), sizeof(value));
	ck_assert_ptr_nonnull(mem_pin(&ram, &pin, gpa, PAGE_SIZE, MEM_WRITE));
	must(userfault_absent(&uf, &pager, gpa, PAGE_SIZE) == -EBUSY, "a pinned page was dropped\n");
	must(userfault_protect(&uf, &guards[0].g, gpa, PAGE_SIZE) == -EBUSY, "a pinned page was protected\n");
	/* Not by pread(): ThreadSanitizer would take the kernel for one that does not know of the others' locks. */
	ck_assert_int_eq(syscall(SYS_pread64, fd, word_at(page, WORDS - 1), sizeof(value), 0), sizeof(value));
	keep(&model[page][WORDS - 1], value);
	mem_unpin(&ram, &pin);
}

static void no_failure(void *arg, const char *reason)
{
	fprintf(stderr, "%s\n", reason);
	abort();
}

static void fill_store(struct random *r)
{
	for (unsigned int n = 0; n < PAGES; n++)
		for (unsigned int w = 0; w < WORDS && n % 4; w++)
			store[n][w] = model[n][w] = random_next(r);
}

static void check_all(void)
{
	for (unsigned int n = 0; n < PAGES; n++)
		for (unsigned int w = 0; w < WORDS; w++)
			ck_assert_msg(load(word_at(n, w)) == model[n][w], "page %u, word %u", n, w);
}

static void start_fixture(void)
{
	memset(model, 0, sizeof(model));
	memset(store, 0, sizeof(store));
	ck_assert_int_eq(mem_create(&ram, RAM, MEM_HUGE_NEVER), 0);
	userfault_init(&uf, &ram, no_failure, NULL);
}

static void end_fixture(void)
{
	userfault_destroy(&uf);
	mem_destroy(&ram);
}

static uint64_t now_ms(void)
{
	return watchdog_now() / 1000000;
}

/* All of it at once for a while; ahead: pages the pager is asked for at a fault. */
START_TEST(all_at_once)
{
	static const unsigned int ahead[] = {1, 16};
	struct random r = random_start("userfault all_at_once");
	pthread_t thread[THREADS + GUARDS + 1];
	unsigned int n = 0, evicted = 0;
	uint64_t end = now_ms() + 3000;
	FILE *file = tmpfile();

	seed = r.state;
	told = 0;
	pager.ahead = ahead[_i];
	start_fixture();
	fill_store(&r);
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), 0);
	ck_assert_uint_eq(userfault_absent_count(&uf), PAGES);
	for (unsigned int i = 0; i < GUARDS; i++) {
		guards[i].g.save = save;
		ck_assert_int_eq(userfault_guard_add(&uf, &guards[i].g), 0);
		ck_assert_int_eq(pthread_create(&thread[n++], NULL, checkpoints, &guards[i]), 0);
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[n++], NULL, guest, (void *)i), 0);
	ck_assert_int_eq(pthread_create(&thread[n++], NULL, prefetches, NULL), 0);
	while (now_ms() < end) {
		pthread_rwlock_wrlock(&stands);
		if (random_below(&r, 2))
			evicted += evict(&r);
		else
			device(&r, fileno(file));
		pthread_rwlock_unlock(&stands);
		usleep((useconds_t)random_below(&r, 5000));
	}
	atomic_store(&stopping, true);
	while (n)
		pthread_join(thread[--n], NULL);
	check_all();
	ck_assert_uint_eq(atomic_load(&failures), 0);
	for (unsigned int i = 0; i < GUARDS; i++)
		userfault_guard_remove(&uf, &guards[i].g);
	printf("evicted %u, epochs %lu and %lu; fetched %lu, ahead %lu, prefetched %lu, zeroed %lu, saved %lu + %lu, left %lu, stale %lu, "
	       "median %lu ns, p99 %lu ns\n", evicted, guards[0].epochs, guards[1].epochs, uf.stats.fetched, uf.stats.ahead,
	       uf.stats.prefetched, uf.stats.zeroed, uf.stats.saved_at_fault, uf.stats.saved_behind, uf.stats.left_to_claimer,
	       uf.stats.stale, latency_quantile(&uf.stats.answer, .5), latency_quantile(&uf.stats.answer, .99));
	ck_assert_uint_gt(evicted, 0);
	ck_assert_uint_eq(told, uf.stats.fetched + uf.stats.ahead + uf.stats.zeroed);
	fclose(file);
	end_fixture();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("userfault");
	TCase *tcase = tcase_create("userfault");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, all_at_once, 0, 2);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
