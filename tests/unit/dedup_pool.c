/*
 * The pool on a real memfd against what it ought to hold: bytes, counts, memory; and on a host that has no memory for it.
 */
#include "dedup/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/open_files.h"
#include "tests/unit/random.h"
#include "vmm/mem.h"

#define SLOTS 3000u
#define RUN 40u

/* What the host does to pwrite(): an error once so many bytes are written, and at most so many bytes at a time. */
static struct {
	int error, interrupts;
	size_t after, most;
	int memfd_error;
} host;

ssize_t __real_pwrite64(int fd, const void *bytes, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t at);
int __real_memfd_create(const char *name, unsigned int flags);
int __wrap_memfd_create(const char *name, unsigned int flags);

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t at)
{
	ssize_t n;

	errno = host.interrupts > 0 ? EINTR : host.error;
	if (host.interrupts-- > 0 || (host.error && !host.after))
		return -1;
	if (host.error && size > host.after)
		size = host.after;
	if (host.most && size > host.most)
		size = host.most;
	n = __real_pwrite64(fd, bytes, size, at);
	host.after -= host.error ? (size_t)n : 0;
	return n;
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	errno = host.memfd_error;
	return host.memfd_error ? -1 : __real_memfd_create(name, flags);
}

static struct pool *pool_of(uint64_t slots)
{
	struct pool *p = pool_create(slots);

	ck_assert_ptr_nonnull(p);
	return p;
}

static uint64_t pages_held(const struct pool *p)
{
	struct stat st;

	expect_eq(fstat(pool_fd(p), &st), 0);
	return (uint64_t)st.st_blocks * 512 / PAGE_SIZE;
}

static void fill_page(uint64_t *page, uint32_t what)
{
	struct random r = {.state = what};

	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		page[i] = random_next(&r);
}

static void check_page(const struct pool *p, uint32_t slot, uint32_t what)
{
	uint64_t page[PAGE_SIZE / 8];

	fill_page(page, what);
	expect_msg(!memcmp(pool_page(p, slot), page, PAGE_SIZE), "slot %u does not hold what it did", slot);
}

static uint32_t add(struct pool *p, unsigned int n, uint32_t what)
{
	static uint64_t bytes[RUN][PAGE_SIZE / 8];
	uint32_t hash[RUN];

	for (unsigned int i = 0; i < n; i++)
		fill_page(bytes[i], hash[i] = what + i);
	return pool_add(p, bytes, n, hash);
}

struct oracle {
	uint32_t count[SLOTS], what[SLOTS];
	uint64_t taken, needs;
};

static void add_run(struct pool *p, struct oracle *o, struct random *r)
{
	unsigned int n = random_below(r, 2) ? 1 : 1 + (unsigned int)random_below(r, RUN);
	uint32_t what = (uint32_t)random_next(r), slot = add(p, n, what);

	if (slot == POOL_NONE)
		return;
	for (unsigned int i = 0; i < n; i++) {
		expect_eq(o->count[slot + i], 0);
		o->count[slot + i] = 1;
		o->what[slot + i] = what + i;
	}
	o->taken += n;
	o->needs += n;
}

static void release(struct pool *p, struct oracle *o, uint32_t slot)
{
	o->needs--;
	o->taken -= !--o->count[slot];
	expect_eq(pool_release(p, slot), !o->count[slot]);
}

static void release_some(struct pool *p, struct oracle *o, struct random *r)
{
	uint32_t slot = (uint32_t)random_below(r, SLOTS);

	for (uint64_t n = 1 + random_below(r, RUN); n > 0 && slot < SLOTS; n--, slot++) {
		if (o->count[slot])
			release(p, o, slot);
	}
}

static void need_some(struct pool *p, struct oracle *o, struct random *r)
{
	uint32_t slot = (uint32_t)random_below(r, SLOTS);

	if (!o->count[slot])
		return;
	pool_need(p, slot);
	o->count[slot]++;
	o->needs++;
}

static void check(const struct pool *p, const struct oracle *o)
{
	struct pool_stats stats;

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		expect_eq(pool_count(p, slot), o->count[slot]);
		if (!o->count[slot])
			continue;
		expect_eq(pool_hash(p, slot), o->what[slot]);
		check_page(p, slot, o->what[slot]);
	}
	pool_stats(p, &stats);
	expect_eq(stats.slots, o->taken);
	expect_eq(stats.needs, o->needs);
}

/* As the scavenging thread does, while others need and release slots. */
static void give_back_in_steps(struct pool *p, struct oracle *o, struct random *r)
{
	struct pool_waiting w;
	uint64_t held = pages_held(p), waiting = held - o->taken;

	pool_take_waiting(p, POOL_WAITING, &w);
	expect_eq(w.count, 0);
	pool_take_waiting(p, 0, &w);
	expect(w.count >= waiting);
	release_some(p, o, r);
	need_some(p, o, r);
	pool_give_back_taken(p, &w);
	expect_eq(pages_held(p), held - waiting);
	check(p, o);
}

START_TEST(oracle)
{
	struct random r = random_start("dedup_pool");

	for (int round = 0; round < 10; round++) {
		static struct oracle o;
		struct pool *p = pool_of(SLOTS);
		uint64_t adds = 2 + random_below(&r, 4);

		o = (struct oracle){0};
		for (int step = 0; step < 2000; step++) {
			uint64_t what = random_below(&r, 10);

			if (what < adds)
				add_run(p, &o, &r);
			else if (what < 8)
				release_some(p, &o, &r);
			else
				need_some(p, &o, &r);
			expect(pages_held(p) <= o.taken + POOL_WAITING);
			if (step % 400 == 0)
				check(p, &o);
			if (random_below(&r, 100) == 1)
				give_back_in_steps(p, &o, &r);
			if (random_below(&r, 100))
				continue;
			pool_give_back(p);
			expect_eq(pages_held(p), o.taken);
		}
		check(p, &o);
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			while (o.count[slot])
				release(p, &o, slot);
		}
		pool_give_back(p);
		expect_eq(pages_held(p), 0);
		pool_destroy(p);
	}
}
END_TEST

START_TEST(exhausted)
{
	struct pool *p = pool_of(RUN);

	expect_eq(add(p, 30, 1), 0);
	expect_eq(add(p, 11, 100), POOL_NONE);
	expect_eq(add(p, 10, 200), 30);
	expect_eq(add(p, 1, 300), POOL_NONE);
	expect(pool_release(p, 7) && pool_release(p, 20));
	expect_eq(add(p, 2, 400), POOL_NONE);
	expect_eq(add(p, 1, 500), 7);
	expect(pool_release(p, 21));
	expect_eq(add(p, 2, 600), 20);
	check_page(p, 7, 500);
	check_page(p, 21, 601);
	check_page(p, 22, 23);
	pool_give_back(p);
	expect_eq(pages_held(p), RUN);
	pool_destroy(p);
}
END_TEST

static uint64_t resident_pages(void)
{
	unsigned long all, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu %lu", &all, &resident), 2);
	fclose(f);
	return resident;
}

/* However large it may become. */
START_TEST(costs_nothing_empty)
{
	uint64_t before = resident_pages();
	int files = open_files();
	struct pool *p = pool_of(1u << 26); /* a quarter of a TiB; more has no place beside the thread sanitizer */
	struct pool_stats stats;

	pool_stats(p, &stats);
	expect(stats.metadata < 2 * PAGE_SIZE);
	expect_eq(pages_held(p), 0);
	for (unsigned int i = 0; i < 100; i++)
		expect_eq(add(p, 10, i * 10), i * 10);
	pool_stats(p, &stats);
	expect(stats.metadata < 5 * PAGE_SIZE);
	expect_msg(resident_pages() < before + 200, "%" PRIu64 " pages more", resident_pages() - before);
	pool_destroy(p);
	expect_eq(open_files(), files);
}
END_TEST

/* Whoever has mapped a slot relies on the file not becoming shorter. */
START_TEST(size_is_sealed)
{
	struct pool *p = pool_of(SLOTS);
	const void *mapped;

	ck_assert_int_eq(ftruncate(pool_fd(p), 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(pool_fd(p), (SLOTS + 1) * PAGE_SIZE), -1);
	expect_eq(add(p, 3, 1), 0);
	mapped = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, pool_fd(p), 2 * PAGE_SIZE);
	ck_assert_ptr_ne(mapped, MAP_FAILED);
	expect(!memcmp(mapped, pool_page(p, 2), PAGE_SIZE));
	pool_destroy(p);
	expect(*(const volatile uint64_t *)mapped != 0);
}
END_TEST

/* The host refuses after some bytes: nothing of it stays, what is there stays as it is, and it is said once. */
START_TEST(no_memory)
{
	static const int errors[] = {ENOSPC, ENOMEM};
	struct random r = random_start("dedup_pool");

	for (int round = 0; round < 100; round++) {
		struct pool *p = pool_of(SLOTS);
		struct capture c;
		const char *said;

		expect_eq(add(p, 5, 1), 0);
		capture_begin(&c);
		for (int i = 0; i < 2; i++) {
			host.error = errors[round % 2];
			host.after = random_below(&r, 10 * PAGE_SIZE);
			expect_eq(add(p, 10, 50), POOL_NONE);
		}
		said = capture_end(&c);
		host.error = 0;
		expect_msg(strstr(said, strerror(errors[round % 2])), "said '%s'", said);
		expect(strchr(said, '\n') == strrchr(said, '\n'));
		expect_eq(pages_held(p), 5);
		expect_eq(pool_count(p, 5), 0);
		expect_eq(add(p, 10, 100), 5);
		for (uint32_t i = 0; i < 15; i++)
			check_page(p, i, i < 5 ? 1 + i : 95 + i);
		pool_destroy(p);
	}
}
END_TEST

/* Writes that do less than they were asked to, or are interrupted. */
START_TEST(short_writes)
{
	struct pool *p = pool_of(SLOTS);

	host.most = 1000;
	host.interrupts = 2;
	expect_eq(add(p, 10, 1), 0);
	for (uint32_t i = 0; i < 10; i++)
		check_page(p, i, 1 + i);
	pool_destroy(p);
}
END_TEST

START_TEST(bytes_that_cannot_be_read)
{
	struct pool *p = pool_of(SLOTS);
	uint8_t *bytes = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint32_t hash[2] = {1, 2};

	ck_assert_ptr_ne(bytes, MAP_FAILED);
	memset(bytes, 1, PAGE_SIZE);
	ck_assert_int_eq(mprotect(bytes + PAGE_SIZE, PAGE_SIZE, PROT_NONE), 0);
	expect_eq(pool_add(p, bytes, 2, hash), POOL_NONE);
	expect_eq(pages_held(p), 0);
	expect_eq(pool_add(p, bytes, 1, hash), 0);
	pool_destroy(p);
}
END_TEST

/* A limit for files that it does not fit in: an error and no signal. */
START_TEST(file_limit)
{
	struct rlimit limit = {.rlim_cur = 10 * PAGE_SIZE, .rlim_max = RLIM_INFINITY};
	struct pool *p = pool_of(SLOTS);
	int files = open_files();

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = 10 * PAGE_SIZE;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_ptr_null(pool_create(11));
	expect_eq(open_files(), files);
	/* Set afterwards, it is the host's refusal to fill a slot. */
	signal(SIGXFSZ, SIG_IGN);
	expect_eq(add(p, 8, 1), 0);
	expect_eq(add(p, 8, 9), POOL_NONE);
	expect_eq(add(p, 2, 17), 8);
	expect_eq(pages_held(p), 10);
	pool_destroy(p);
}
END_TEST

START_TEST(no_file)
{
	int files = open_files();

	host.memfd_error = EMFILE;
	ck_assert_ptr_null(pool_create(SLOTS));
	expect_eq(open_files(), files);
}
END_TEST

START_TEST(our_bug)
{
	struct pool *p = pool_of(SLOTS);

	expect_eq(add(p, 1, 1), 0);
	expect(pool_release(p, 0));
	pool_release(p, 0);
}
END_TEST

/* Others read what is needed, while all around it comes and goes. */
static struct {
	struct pool *pool;
	atomic_bool stop;
	atomic_ulong reads;
} shared;

static void *read_needed(void *arg)
{
	struct random r = {.state = (uintptr_t)arg};

	while (!atomic_load(&shared.stop)) {
		uint32_t slot = 3 * (uint32_t)random_below(&r, 100);

		check_page(shared.pool, slot, 1000 + slot);
		atomic_fetch_add(&shared.reads, 1);
	}
	return NULL;
}

START_TEST(readers)
{
	struct random r = random_start("dedup_pool");
	static char number[2];
	pthread_t thread[2];

	shared.pool = pool_of(400);
	for (uint32_t slot = 0; slot < 300; slot++)
		expect_eq(add(shared.pool, 1, 1000 + slot), slot);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, read_needed, &number[i]), 0);
	for (int step = 0; step < 2000 || atomic_load(&shared.reads) < 2000; step++) {
		uint32_t slot = (uint32_t)random_below(&r, 400);

		if (slot % 3 && pool_count(shared.pool, slot))
			pool_release(shared.pool, slot);
		else
			add(shared.pool, 1 + slot % 3, 2000);
		if (slot < 10)
			pool_give_back(shared.pool);
	}
	atomic_store(&shared.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pool_destroy(shared.pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dedup_pool");
	TCase *tcase = tcase_create("dedup_pool");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, oracle);
	tcase_add_test(tcase, exhausted);
	tcase_add_test(tcase, costs_nothing_empty);
	tcase_add_test(tcase, size_is_sealed);
	tcase_add_test(tcase, no_memory);
	tcase_add_test(tcase, short_writes);
	tcase_add_test(tcase, bytes_that_cannot_be_read);
	tcase_add_test(tcase, file_limit);
	tcase_add_test(tcase, no_file);
	tcase_add_test_raise_signal(tcase, our_bug, SIGABRT);
	tcase_add_test(tcase, readers);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
