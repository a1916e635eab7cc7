/*
 * Pages that the guest has no use for: in every state they become zero, in every way RAM may be there; their neighbours stay as they are,
 * guards get what was there, devices keep their pages, and a host that refuses something loses nothing.
 */
#include "vmm/userfault_discard.h"

#include <check.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/exchange_fixture.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/dirty.h"

#define PAGES 1280u /* more than are worth a mapping */

enum state { OWN, UNTOUCHED, ZERO, SHOWN, SHOWN_WRITTEN, COLD, LAZY, STATES };

static struct mem ram;
static struct userfault uf;
static int pool; /* page n has value n + 1 */
static uint64_t model[PAGES];
static char reason[200];

static struct {
	uint64_t pages;
	bool maps, zeroes, advises; /* what the host refuses */
} seen;

void *__real_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);

void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (at && seen.maps) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap64(at, size, prot, flags, fd, offset);
}

int __wrap_madvise(void *at, size_t size, int advice)
{
	if (advice == MADV_DONTNEED && seen.advises) {
		errno = EINVAL;
		return -1;
	}
	return __real_madvise(at, size, advice);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == UFFDIO_ZEROPAGE && seen.zeroes) {
		((struct uffdio_zeropage *)arg)->zeropage = -ENOMEM;
		errno = ENOMEM;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

static uint8_t *at(uint64_t page)
{
	return mem_page_hva(&ram, page);
}

static uint64_t gpa_of(uint64_t page)
{
	return mem_page_gpa(&ram, page);
}

/* Both pagers have what was there when they were given it. */
struct store {
	struct pager pager;
	_Atomic uint64_t value[PAGES];
	_Atomic unsigned int fetches, brought;
};

static struct store *store_of(struct pager *p)
{
	return (struct store *)(void *)((char *)p - offsetof(struct store, pager));
}

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	struct store *s = store_of(p);

	s->fetches++;
	fixture_fill(buffer, s->value[mem_page_number(&ram, gpa)]);
	*bytes = buffer;
	return 1;
}

static void brought(struct pager *p, uint64_t gpa, unsigned int pages, bool fault)
{
	store_of(p)->brought += pages;
}

static struct store cold = {.pager = {.name = "cold", .ahead = 1, .fetch = fetch, .brought = brought}};
static struct store lazy = {.pager = {.name = "lazy", .ahead = 1, .fetch = fetch, .brought = brought}};

static void failed(void *arg, const char *why)
{
	snprintf(reason, sizeof(reason), "%s", why);
	atomic_store(&ram.lost, true);
}

static void on_zeroed(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	seen.pages += size / PAGE_SIZE;
}

static struct mem_listener listener = {.zeroed = on_zeroed};

static void start(void)
{
	static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));

	ck_assert_int_eq(mem_create(&ram, PAGES * PAGE_SIZE, MEM_HUGE_NEVER), 0);
	userfault_init(&uf, &ram, failed, NULL);
	mem_listen(&ram, &listener);
	pool = memfd_create("pool", MFD_CLOEXEC);
	for (uint64_t n = 0; n < PAGES; n++) {
		fixture_fill(page, n + 1);
		ck_assert_int_eq(pwrite(pool, page, PAGE_SIZE, (off_t)(n * PAGE_SIZE)), PAGE_SIZE);
	}
}

static void end(void)
{
	ck_assert_str_eq(reason, "");
	userfault_destroy(&uf);
	mem_destroy(&ram);
	close(pool);
}

static void write_page(uint64_t page, uint64_t value)
{
	fixture_fill(at(page), value);
	model[page] = value;
}

static void exchange(uint64_t first, unsigned int n, enum state state)
{
	struct userfault_hold h;

	ck_assert_int_eq(userfault_hold(&uf, &h, gpa_of(first), n), 0);
	if (state == ZERO)
		ck_assert_int_eq(userfault_show_zero(&uf, &h, 0, n), 0);
	else if (state == COLD)
		ck_assert_int_eq(userfault_evict(&uf, &h, 0, n), 0);
	else
		ck_assert_int_eq(userfault_show(&uf, &h, 0, n, pool, first * PAGE_SIZE), 0);
	userfault_let_go(&uf, &h);
}

/* Puts pages into a state, which none of them is in but by their being present. */
static void put(uint64_t first, unsigned int n, enum state state)
{
	for (uint64_t page = first; page < first + n; page++)
		write_page(page, state == ZERO ? 0 : page + 1);
	for (uint64_t page = first; page < first + n && (state == COLD || state == LAZY); page++)
		(state == COLD ? &cold : &lazy)->value[page] = model[page];
	if (state == LAZY)
		ck_assert_int_eq(userfault_absent(&uf, &lazy.pager, gpa_of(first), n * PAGE_SIZE), 0);
	else if (state != OWN && state != UNTOUCHED)
		exchange(first, n, state);
	for (uint64_t page = first; page < first + n && state == SHOWN_WRITTEN; page++)
		write_page(page, page + 1000);
}

static void look(uint64_t page)
{
	uint64_t value = fixture_value(at(page));

	ck_assert_msg(value == model[page], "page %lu is %lu and not %lu", page, value, model[page]);
}

static void look_at_all(void)
{
	for (uint64_t page = 0; page < PAGES; page++)
		look(page);
}

static uint64_t discard(uint64_t first, uint64_t n)
{
	uint64_t before = seen.pages, given = userfault_discard(&uf, gpa_of(first), n * PAGE_SIZE);

	memset(model + first, 0, n * sizeof(*model));
	ck_assert_uint_eq(seen.pages - before, given);
	return given;
}

START_TEST(test_each_state)
{
	enum state state = (enum state)_i;
	unsigned int fetches;

	start();
	for (uint64_t page = 0; page < PAGES; page++)
		write_page(page, page + 7);
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	put(100, 20, state);
	fetches = cold.fetches + lazy.fetches;
	ck_assert_uint_eq(discard(103, 9), state == SHOWN || state == SHOWN_WRITTEN ? 0 : 9);
	ck_assert_uint_eq(cold.fetches + lazy.fetches, fetches); /* nothing was brought only to be thrown away */
	ck_assert_uint_eq(cold.brought + lazy.brought, state == COLD || state == LAZY ? 9 : 0);
	look_at_all();
	for (uint64_t page = 103; page < 112; page++)
		write_page(page, page); /* and is as good as any other */
	look_at_all();
	/* So many that a file's are worth it. */
	put(600, 20, state);
	put(700, 20, COLD);
	put(800, 20, LAZY);
	ck_assert_uint_eq(discard(512, 600), 600);
	look_at_all();
	userfault_exchange_end(&uf);
	end();
}
END_TEST

/* Before anything was exchanged, and where nobody has ever been. */
START_TEST(test_plain)
{
	unsigned char there[PAGES];

	start();
	for (uint64_t page = 0; page < PAGES; page += page < 300 ? 1 : 3)
		write_page(page, page + 7);
	ck_assert_uint_eq(discard(0, 200), 200);
	ck_assert_uint_eq(discard(500, 700), 700);
	ck_assert_int_eq(mincore(at(0), PAGES * PAGE_SIZE, there), 0);
	for (unsigned int n = 0; n < 200; n++)
		ck_assert(!(there[n] & 1));
	ck_assert(there[200] & 1);
	look_at_all();
	seen.advises = true;
	ck_assert_uint_eq(discard(200, 100), 0); /* written instead */
	seen.advises = false;
	look_at_all();
	end();
}
END_TEST

/* A file's pages, which must not come back. */
START_TEST(test_backed)
{
	start();
	ck_assert_ptr_eq(mmap(at(0), PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, pool, 0), at(0));
	mem_remapped(&ram, 0, PAGES * PAGE_SIZE);
	mem_backed(&ram, pool);
	for (uint64_t page = 0; page < PAGES; page++)
		model[page] = page + 1;
	write_page(20, 99);
	ck_assert_uint_eq(discard(10, 700), 0);
	look_at_all();
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	ck_assert_uint_eq(discard(0, PAGES), PAGES - PAGES % 512);
	look_at_all();
	userfault_exchange_end(&uf);
	end();
}
END_TEST

START_TEST(test_no_more_mappings)
{
	start();
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	put(0, 20, SHOWN);
	seen.maps = true;
	ck_assert_uint_eq(discard(0, 512), 0);
	seen.maps = false;
	look_at_all();
	userfault_exchange_end(&uf);
	end();
}
END_TEST

START_TEST(test_lost)
{
	start();
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	put(0, 20, COLD);
	seen.zeroes = true;
	ck_assert_uint_eq(userfault_discard(&uf, gpa_of(_i ? 0 : 10), 30 * PAGE_SIZE), 0);
	seen.zeroes = false;
	ck_assert(mem_is_lost(&ram));
	ck_assert_ptr_nonnull(strstr(reason, "guest RAM: page 0x"));
	reason[0] = '\0';
	userfault_exchange_end(&uf);
	end();
}
END_TEST

START_TEST(test_pinned)
{
	uint64_t value[PAGE_SIZE / 8] = {0};
	struct mem_pin pin;

	start();
	if (_i)
		ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	write_page(50, 3);
	write_page(52, 4);
	ck_assert_ptr_nonnull(mem_pin(&ram, &pin, gpa_of(51), PAGE_SIZE, MEM_WRITE));
	write_page(51, 5);
	ck_assert_uint_eq(discard(50, 3), 2);
	look_at_all();
	/* The device comes after it. */
	value[0] = 77;
	memcpy(at(51), value, sizeof(value));
	mem_unpin(&ram, &pin);
	ck_assert_uint_eq(*(uint64_t *)(void *)at(51), 77);
	ck_assert_uint_eq(discard(51, 1), 1);
	look_at_all();
	if (_i)
		userfault_exchange_end(&uf);
	end();
}
END_TEST

static void *discard_block(void *given)
{
	*(uint64_t *)given = discard(0, 512);
	return NULL;
}

static void await_waiting(const struct userfault_hold *h)
{
	for (bool waits = false; !waits; usleep(1000)) {
		pthread_mutex_lock(&uf.lock);
		waits = h->claim.since_ns;
		pthread_mutex_unlock(&uf.lock);
	}
}

/* A scavenger at work on one page does not make all those around it be written. */
START_TEST(test_held)
{
	struct userfault_hold h;
	pthread_t guest;
	uint64_t given;

	start();
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	for (unsigned int page = 0; page < 512; page += 64)
		put(page, 64, SHOWN);
	put(300, 1, OWN);
	ck_assert_int_eq(userfault_hold(&uf, &h, gpa_of(300), 1), 0);
	ck_assert_int_eq(pthread_create(&guest, NULL, discard_block, &given), 0);
	await_waiting(&h);
	userfault_let_go(&uf, &h);
	pthread_join(guest, NULL);
	ck_assert_uint_eq(given, 512);
	look_at_all();
	userfault_exchange_end(&uf);
	end();
}
END_TEST

struct test_guard {
	struct userfault_guard g;
	uint64_t then[PAGES];
	bool saved[PAGES];
};

static struct test_guard guard;

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	for (unsigned int n = 0; n < pages; n++) {
		uint64_t page = mem_page_number(&ram, gpa) + n;

		ck_assert(!guard.saved[page]);
		guard.saved[page] = true;
		ck_assert_uint_eq(bytes ? fixture_value((const uint8_t *)bytes + n * PAGE_SIZE) : 0, guard.then[page]);
	}
}

/* What a snapshot that is being written behind the guest holds is what was there when it began; all of this also before any exchange. */
START_TEST(test_guarded)
{
	static uint8_t buffer[USERFAULT_RUN * PAGE_SIZE] __attribute__((aligned(4096)));

	start();
	for (uint64_t page = 0; page < PAGES; page += 2)
		write_page(page, page + 7);
	if (_i)
		ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	for (unsigned int i = 0; _i && i < STATES; i++)
		put(100 * i, 50, (enum state)i);
	guard.g.save = save;
	ck_assert_int_eq(userfault_guard_add(&uf, &guard.g), 0);
	memcpy(guard.then, model, sizeof(model));
	ck_assert_int_eq(userfault_protect(&uf, &guard.g, 0, PAGES * PAGE_SIZE), 0);
	ck_assert_uint_ge(discard(10, 700), 500);
	for (uint64_t page = 0; page < PAGES; page++)
		ck_assert(guard.saved[page] == (page >= 10 && page < 710));
	while (userfault_save(&uf, &guard.g, buffer) > 0)
		;
	for (uint64_t page = 0; page < PAGES; page++)
		ck_assert(guard.saved[page]);
	look_at_all();
	userfault_guard_remove(&uf, &guard.g);
	if (_i)
		userfault_exchange_end(&uf);
	end();
}
END_TEST

/* RAM of these tests has one region. */
static bool is_dirty(const struct dirty *d, const struct dirty_set *set, uint64_t page)
{
	return dirty_words(d, set, 0)[page / 64] >> page % 64 & 1;
}

/* Who learns of what was written learns of this. */
START_TEST(test_dirty)
{
	struct dirty_consumer all = {0}, knows = {0};
	struct dirty_set set = {0};
	struct dirty dirty;

	start();
	dirty_init(&dirty, &ram, NULL);
	ck_assert_int_eq(dirty_begin(&dirty, &all), 0);
	ck_assert_int_eq(dirty_begin(&dirty, &knows), 0);
	ck_assert_int_eq(dirty_set_alloc(&dirty, &set), 0);
	discard(60, 70);
	dirty_drop(&dirty, &knows, gpa_of(70), 30 * PAGE_SIZE);
	ck_assert_int_eq(dirty_take(&dirty, &all, &set), 0);
	ck_assert_uint_eq(dirty_count(&dirty, &set), 70);
	ck_assert(is_dirty(&dirty, &set, 60) && is_dirty(&dirty, &set, 129));
	ck_assert_int_eq(dirty_take(&dirty, &knows, &set), 0);
	ck_assert_uint_eq(dirty_count(&dirty, &set), 40);
	ck_assert(is_dirty(&dirty, &set, 69) && !is_dirty(&dirty, &set, 70));
	ck_assert(!is_dirty(&dirty, &set, 99) && is_dirty(&dirty, &set, 100));
	dirty_set_free(&set);
	dirty_destroy(&dirty);
	end();
}
END_TEST

START_TEST(test_random)
{
	struct random r = random_start("userfault_discard");
	unsigned int rounds = effort(20000, 400);

	start();
	ck_assert_int_eq(userfault_exchange_begin(&uf, &cold.pager), 0);
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int n = 1 + (unsigned int)random_below(&r, USERFAULT_RUN);
		uint64_t first = random_below(&r, PAGES - n + 1), many = 1 + random_below(&r, PAGES);

		if (random_below(&r, 2)) {
			put(first, n, (enum state)random_below(&r, STATES));
		} else {
			many = random_below(&r, 4) ? n : many;
			discard(first, many < PAGES - first ? many : PAGES - first);
		}
		look(random_below(&r, PAGES));
		if (i % 64 == 63)
			look_at_all();
	}
	look_at_all();
	userfault_exchange_end(&uf);
	end();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("userfault_discard");

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, test_each_state, 0, STATES);
	tcase_add_test(tcase, test_plain);
	tcase_add_test(tcase, test_backed);
	tcase_add_test(tcase, test_no_more_mappings);
	tcase_add_loop_test(tcase, test_lost, 0, 2);
	tcase_add_loop_test(tcase, test_pinned, 0, 2);
	tcase_add_test(tcase, test_held);
	tcase_add_loop_test(tcase, test_guarded, 0, 2);
	tcase_add_test(tcase, test_dirty);
	tcase_add_test(tcase, test_random);
	return run_case("userfault_discard", tcase);
}
