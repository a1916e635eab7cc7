/*
 * A process as guest, at full speed: threads fill pages of their own, look whether they have what was put there, and have the kernel
 * read files into them; another thread exchanges what it finds, as a scavenger does; a guard saves all of RAM again and again, pages are
 * fetched before anybody wants them and looked at where they are, what is not needed any more is given back, and now and then the host maps
 * no more.
 */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/exchange_fixture.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/userfault_discard.h"
#include "vmm/watchdog.h"

#define WRITERS 3u

static struct fixture f;
static uint64_t model[FIXTURE_RAM_PAGES]; /* its writer's, who holds `stands` for reading */
static pthread_rwlock_t stands = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; /* for writing: the guest stands still */
static _Atomic bool stopping;
static _Atomic unsigned int failures;
static uint64_t seed;
static _Thread_local struct random host; /* the exchanging thread's: what the host refuses; others' state is 0 */

#define must(cond, ...)                                                                                                \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			atomic_fetch_add(&failures, 1);                                                                \
			fprintf(stderr, __VA_ARGS__);                                                                  \
		}                                                                                                      \
	} while (0)

void *__real_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__real_mremap(void *from, size_t old_size, size_t size, int flags, void *to);
void *__wrap_mremap(void *from, size_t old_size, size_t size, int flags, void *to);

static bool refuses(void)
{
	if (!host.state || random_below(&host, 8))
		return false;
	errno = ENOMEM;
	return true;
}

/* Until it is registered, what is mapped may be touched unseen. */
static void take_time(void)
{
	if (host.state && !random_below(&host, 4))
		usleep(200);
}

void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (refuses())
		return MAP_FAILED;
	if (!at)
		return __real_mmap64(at, size, prot, flags, fd, offset);
	/* ThreadSanitizer would take mmap() for one who writes all of it. */
	at = (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
	take_time();
	return at;
}

void *__wrap_mremap(void *from, size_t old_size, size_t size, int flags, void *to)
{
	if (refuses())
		return MAP_FAILED;
	to = __real_mremap(from, old_size, size, flags, to);
	take_time();
	return to;
}

static uint64_t page_of(struct random *r, unsigned int writer)
{
	return random_below(r, FIXTURE_RAM_PAGES / WRITERS) * WRITERS + writer;
}

static void look(uint64_t page)
{
	uint64_t got = fixture_value(fixture_at(&f, page));

	must(got == model[page], "page %lu: %lu and not %lu\n", page, got, model[page]);
}

static void write_page(struct random *r, uint64_t page)
{
	model[page] = random_below(r, FIXTURE_VALUES + 1);
	fixture_fill(fixture_at(&f, page), model[page]);
}

/* A device: the kernel writes the page, which is pinned. */
static void read_page(struct random *r, uint64_t page)
{
	struct mem_pin pin;

	model[page] = random_below(r, FIXTURE_VALUES);
	ck_assert_ptr_nonnull(mem_pin(&f.ram, &pin, page * PAGE_SIZE, PAGE_SIZE, MEM_WRITE));
	/* Not by pread(): ThreadSanitizer would take the kernel for one that does not know of the others' locks. */
	must(syscall(SYS_pread64, f.pool, fixture_at(&f, page), PAGE_SIZE, model[page] * PAGE_SIZE) == PAGE_SIZE, "pread\n");
	mem_unpin(&f.ram, &pin);
}

static void *guest(void *arg)
{
	unsigned int writer = (unsigned int)(uintptr_t)arg;
	struct random r = {.state = seed ^ (writer + 1) * 0x9e3779b97f4a7c15};

	while (!atomic_load(&stopping)) {
		pthread_rwlock_rdlock(&stands);
		for (int i = 0; i < 16; i++) {
			uint64_t kind = random_below(&r, 8), page = page_of(&r, writer);

			if (kind < 4)
				look(page);
			else if (kind < 7)
				write_page(&r, page);
			else
				read_page(&r, page);
		}
		pthread_rwlock_unlock(&stands);
	}
	return NULL;
}

static struct {
	_Atomic unsigned int zero, shown, evicted, busy, refused, changed, given, not_given;
} did;

/* Of held pages one, which still is what it looked like. Returns 0, or a -errno. */
static int exchange(struct userfault_hold *h, unsigned int n, uint64_t value, uint64_t kind)
{
	uint64_t page = h->gpa / PAGE_SIZE + n;
	int r;

	if (kind == 0 && !value) {
		r = userfault_show_zero(&f.uf, h, n, 1);
		did.zero += r == 0;
	} else if (kind < 3 && value < FIXTURE_VALUES) {
		r = userfault_show(&f.uf, h, n, 1, f.pool, value * PAGE_SIZE);
		did.shown += r == 0;
	} else {
		fixture_put(&f.cold, page, value);
		r = userfault_evict(&f.uf, h, n, 1);
		if (r < 0)
			fixture_take_back(&f.cold, page);
		did.evicted += r == 0;
	}
	return r;
}

static void count_refusal(int r)
{
	must(r == 0 || r == -EBUSY || r == -ENOMEM, "exchange: %d\n", r);
	did.busy += r == -EBUSY;
	did.refused += r == -ENOMEM;
}

/* Looks at pages, then holds them, and exchanges those that are the same still. */
static void scavenge(struct random *r)
{
	uint64_t first = random_below(r, FIXTURE_RAM_PAGES - 8), then[8], kind = random_below(r, 5);
	unsigned int pages = 1 + (unsigned int)random_below(r, 8);
	struct userfault_hold h;
	int result = 0;

	for (unsigned int n = 0; n < pages; n++)
		then[n] = userfault_is_absent(&f.uf, (first + n) * PAGE_SIZE) ? FIXTURE_MIXED : fixture_value(fixture_at(&f, first + n));
	result = userfault_hold(&f.uf, &h, first * PAGE_SIZE, pages);
	count_refusal(result);
	if (result < 0)
		return;
	for (unsigned int n = 0; n < pages && result == 0; n++) {
		uint64_t now = fixture_value(fixture_at(&f, first + n));

		did.changed += now != then[n];
		if (now == then[n] && now != FIXTURE_MIXED)
			result = exchange(&h, n, now, kind);
	}
	if (!random_below(r, 64))
		usleep(1000);
	userfault_let_go(&f.uf, &h);
	count_refusal(result);
}

static void *scavenger(void *arg)
{
	struct random r = {.state = seed * 7};

	host.state = seed * 11;
	while (!atomic_load(&stopping))
		scavenge(&r);
	return NULL;
}

struct test_guard {
	struct userfault_guard g;
	uint64_t then[FIXTURE_RAM_PAGES]; /* what RAM held when it was protected */
	_Atomic unsigned char wanted[FIXTURE_RAM_PAGES];
	_Atomic unsigned int epochs;
};

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	struct test_guard *t = (struct test_guard *)g;

	for (unsigned int i = 0; i < pages; i++) {
		uint64_t page = gpa / PAGE_SIZE + i, got = bytes ? fixture_value((const uint8_t *)bytes + i * PAGE_SIZE) : 0;

		must(atomic_exchange(&t->wanted[page], 0), "page %lu saved without need\n", page);
		must(got == t->then[page], "page %lu: saved %lu and not %lu\n", page, got, t->then[page]);
	}
}

/* While the guest stands still: what RAM holds, without bringing it in. */
static void peek_all(void *buffer)
{
	const void *bytes;
	int n = 0;

	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page += (unsigned int)n) {
		n = userfault_peek(&f.uf, page * PAGE_SIZE, (unsigned int)(FIXTURE_RAM_PAGES - page), buffer, &bytes);
		must(n >= 1, "peek: %d\n", n);
		n = n < 1 ? 1 : n;
		for (unsigned int i = 0; i < (unsigned int)n; i++) {
			uint64_t got = bytes ? fixture_value((const uint8_t *)bytes + i * PAGE_SIZE) : 0;

			must(got == model[page + i], "page %lu: peeked %lu and not %lu\n", page + i, got, model[page + i]);
		}
	}
}

static void run_epoch(struct test_guard *t, struct random *r, void *buffer)
{
	int64_t left = 1;

	pthread_rwlock_wrlock(&stands);
	memcpy(t->then, model, sizeof(model));
	for (unsigned int n = 0; n < FIXTURE_RAM_PAGES; n++)
		t->wanted[n] = 1;
	must(userfault_protect(&f.uf, &t->g, 0, FIXTURE_RAM_PAGES * PAGE_SIZE) == 0, "protect\n");
	if (random_below(r, 4) == 0)
		peek_all(buffer);
	pthread_rwlock_unlock(&stands);
	while (left > 0)
		left = userfault_save(&f.uf, &t->g, buffer);
	must(left == 0, "save: %ld\n", left);
	for (unsigned int n = 0; n < FIXTURE_RAM_PAGES; n++)
		must(!t->wanted[n], "page %u was not saved\n", n);
	t->epochs++;
}

static struct test_guard guard = {.g.save = save};

static void *checkpoints(void *arg)
{
	struct random r = {.state = seed * 3};
	void *buffer = aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE);

	while (!atomic_load(&stopping)) {
		run_epoch(&guard, &r, buffer);
		usleep((useconds_t)random_below(&r, 20000));
	}
	free(buffer);
	return NULL;
}

static void *prefetches(void *arg)
{
	struct random r = {.state = seed * 5};
	void *buffer = aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE);

	while (!atomic_load(&stopping)) {
		uint64_t page = random_below(&r, FIXTURE_RAM_PAGES), count = 1 + random_below(&r, FIXTURE_RAM_PAGES - page) / 8;

		must(userfault_prefetch(&f.uf, page * PAGE_SIZE, count * PAGE_SIZE, buffer) >= 0, "prefetch\n");
		usleep((useconds_t)random_below(&r, 2000));
	}
	free(buffer);
	return NULL;
}

/* The guest stands still: a page comes from the snapshot from now on. */
static void stop_and_make_absent(struct random *r)
{
	uint64_t page = random_below(r, FIXTURE_RAM_PAGES);
	int result;

	pthread_rwlock_wrlock(&stands);
	if (!userfault_is_absent(&f.uf, page * PAGE_SIZE)) {
		fixture_put(&f.lazy, page, model[page]);
		result = userfault_absent(&f.uf, &f.lazy.pager, page * PAGE_SIZE, PAGE_SIZE);
		must(result == 0 || result == -EBUSY, "absent: %d\n", result);
		if (result < 0)
			fixture_take_back(&f.lazy, page);
	}
	pthread_rwlock_unlock(&stands);
}

/* The same, and it has no use for some pages. */
static void stop_and_discard(struct random *r)
{
	uint64_t first = random_below(r, FIXTURE_RAM_PAGES), count = 1 + random_below(r, FIXTURE_RAM_PAGES - first) / 4, given;

	pthread_rwlock_wrlock(&stands);
	given = userfault_discard(&f.uf, first * PAGE_SIZE, count * PAGE_SIZE);
	must(given <= count, "%lu given of %lu\n", given, count);
	did.given += (unsigned int)given;
	did.not_given += (unsigned int)(count - given);
	for (uint64_t page = first; page < first + count; page++)
		model[page] = 0;
	pthread_rwlock_unlock(&stands);
}

static bool did_all(void)
{
	return did.given && did.not_given && did.zero && did.shown && did.evicted && did.refused && guard.epochs;
}

/* For some time; on a busy host for longer, until everything has happened. */
static void run_all(struct random *r)
{
	void *(*const others[])(void *) = {scavenger, checkpoints, prefetches};
	uint64_t end = watchdog_now() + effort(3000, 3000) * 1000000ull;
	pthread_t thread[WRITERS + 3];
	unsigned int n = 0;

	for (uintptr_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&thread[n++], NULL, guest, (void *)i), 0);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&thread[n++], NULL, others[i], NULL), 0);
	while (watchdog_now() < end || !did_all()) {
		if (random_below(r, 3))
			stop_and_make_absent(r);
		else
			stop_and_discard(r);
		usleep((useconds_t)random_below(r, 5000));
	}
	atomic_store(&stopping, true);
	while (n)
		pthread_join(thread[--n], NULL);
}

START_TEST(all_at_once)
{
	struct random r = random_start("userfault_exchange_races");
	struct userfault_stats stats;

	seed = r.state;
	fixture_start(&f);
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page += 2)
		write_page(&r, page);
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
	ck_assert_int_eq(userfault_guard_add(&f.uf, &guard.g), 0);
	run_all(&r);
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++)
		look(page);
	userfault_stats(&f.uf, &stats);
	printf("zero %u, shown %u, evicted %u, given %u, not %u; busy %u, refused %u, changed %u; epochs %u, fetched %lu, prefetched %lu, saved %lu + %lu, "
	       "left %lu, stale %lu\n", did.zero, did.shown, did.evicted, did.given, did.not_given, did.busy, did.refused, did.changed, guard.epochs,
	       stats.fetched, stats.prefetched, stats.saved_at_fault, stats.saved_behind,
	       stats.left_to_claimer, stats.stale);
	ck_assert_uint_eq(atomic_load(&failures), 0);
	ck_assert_str_eq(f.reason, "");
	userfault_guard_remove(&f.uf, &guard.g);
	userfault_exchange_end(&f.uf);
	fixture_end(&f);
}
END_TEST

int main(void)
{
	const TTest *const all[] = {all_at_once};

	return RUN_TESTS("userfault_exchange_races", all);
}
