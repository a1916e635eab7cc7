/*
 * Pages that are exchanged under who reads and writes them: every state of a page, every exchange, everybody who may be waiting; and
 * many exchanges at random, whose every outcome is known.
 */
#include "vmm/userfault_exchange.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/exchange_fixture.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"

#define PAGE 40u /* the one that small cases are about */
#define VALUE 5u

static struct fixture f;

enum state { OWN, ZEROED, SHOWN, SHOWN_WRITTEN, COLD, LAZY, STATES };
enum operation { NOTHING, ZERO, SHOW, EVICT, OPERATIONS };
enum waiter { NOBODY, READER, WRITER, DEVICE, WAITERS };

static int exchange(struct userfault_hold *h, enum operation o, unsigned int first, unsigned int n, uint64_t value)
{
	int r;

	if (o == ZERO)
		return userfault_show_zero(&f.uf, h, first, n);
	if (o == SHOW)
		return userfault_show(&f.uf, h, first, n, f.pool, value * PAGE_SIZE);
	if (o == NOTHING)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		fixture_put(&f.cold, h->gpa / PAGE_SIZE + first + i, value);
	r = userfault_evict(&f.uf, h, first, n);
	for (unsigned int i = 0; r < 0 && i < n; i++)
		fixture_take_back(&f.cold, h->gpa / PAGE_SIZE + first + i);
	return r;
}

static int exchange_page(uint64_t page, enum operation o, uint64_t value)
{
	struct userfault_hold h;
	int r = userfault_hold(&f.uf, &h, page * PAGE_SIZE, 1);

	if (r < 0)
		return r;
	r = exchange(&h, o, 0, 1, value);
	userfault_let_go(&f.uf, &h);
	return r;
}

static void make_state(enum state s, uint64_t value)
{
	if (s == LAZY) {
		fixture_put(&f.lazy, PAGE, value);
		ck_assert_int_eq(userfault_absent(&f.uf, &f.lazy.pager, PAGE * PAGE_SIZE, PAGE_SIZE), 0);
		return;
	}
	if (s == SHOWN_WRITTEN) {
		fixture_fill(fixture_at(&f, PAGE), 1);
		ck_assert_int_eq(exchange_page(PAGE, SHOW, 1), 0);
	}
	if (s != ZEROED)
		fixture_fill(fixture_at(&f, PAGE), value);
	if (s == SHOWN)
		ck_assert_int_eq(exchange_page(PAGE, SHOW, value), 0);
	if (s == COLD)
		ck_assert_int_eq(exchange_page(PAGE, EVICT, value), 0);
}

static uint64_t seen;

__attribute__((no_sanitize("thread"), noinline)) static void poke(uint64_t value)
{
	*(volatile uint64_t *)(void *)fixture_at(&f, PAGE) = value;
}

static void *wait_for_page(void *arg)
{
	enum waiter w = *(enum waiter *)arg;
	struct mem_pin pin;
	uint64_t value = 99;

	if (w == READER) {
		seen = fixture_value(fixture_at(&f, PAGE));
	} else if (w == WRITER) {
		poke(value);
	} else {
		FILE *file = tmpfile();

		ck_assert_int_eq(pwrite(fileno(file), &value, sizeof(value), 0), sizeof(value));
		ck_assert_ptr_nonnull(mem_pin(&f.ram, &pin, PAGE * PAGE_SIZE, PAGE_SIZE, MEM_WRITE));
		/* Not by pread(): ThreadSanitizer would take the kernel for one that does not know of the page's protection. */
		ck_assert_int_eq(syscall(SYS_pread64, fileno(file), fixture_at(&f, PAGE), sizeof(value), 0), sizeof(value));
		mem_unpin(&f.ram, &pin);
		fclose(file);
	}
	return NULL;
}

static void await_waiter(void)
{
	struct userfault_stats stats = {0};

	for (int i = 0; i < 5000 && !stats.left_to_claimer; i++) {
		usleep(1000);
		userfault_stats(&f.uf, &stats);
	}
	ck_assert_uint_eq(stats.left_to_claimer, 1);
}

static void check_page(enum waiter w, uint64_t value)
{
	const uint64_t *words = (const void *)fixture_at(&f, PAGE);

	if (w == READER)
		ck_assert_uint_eq(seen, value);
	ck_assert_uint_eq(words[0], w == WRITER || w == DEVICE ? 99 : value);
	for (unsigned int i = 1; i < FIXTURE_WORDS; i++)
		ck_assert_uint_eq(words[i], value);
	ck_assert_uint_eq(userfault_absent_count(&f.uf), 0);
	ck_assert(!fixture_has(&f.cold, PAGE) && !fixture_has(&f.lazy, PAGE));
	fixture_fill(fixture_at(&f, PAGE), 3);
	ck_assert_uint_eq(fixture_value(fixture_at(&f, PAGE)), 3);
	ck_assert_uint_eq(fixture_value(fixture_at(&f, PAGE - 1)), 0);
	ck_assert_uint_eq(fixture_value(fixture_at(&f, PAGE + 1)), 0);
	ck_assert_str_eq(f.reason, "");
}

static void small_case(enum state s, enum operation o, enum waiter w, uint64_t value)
{
	struct userfault_hold h;
	pthread_t thread;

	fixture_start(&f);
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
	make_state(s, value);
	ck_assert_int_eq(userfault_hold(&f.uf, &h, PAGE * PAGE_SIZE, 1), s == COLD || s == LAZY ? -EBUSY : 0);
	if (s != COLD && s != LAZY) {
		if (w != NOBODY)
			ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_page, &w), 0);
		if (w == WRITER || w == DEVICE)
			await_waiter();
		if (w == READER)
			pthread_join(thread, NULL);
		ck_assert_uint_eq(fixture_value(fixture_at(&f, PAGE)), value);
		ck_assert_int_eq(exchange(&h, o, 0, 1, value), 0);
		ck_assert_int_eq(userfault_is_absent(&f.uf, PAGE * PAGE_SIZE), o == EVICT);
		ck_assert_int_eq(userfault_is_shown(&f.uf, PAGE * PAGE_SIZE),
				 o == SHOW || (o == NOTHING && (s == SHOWN || s == SHOWN_WRITTEN)));
		userfault_let_go(&f.uf, &h);
		if (w == WRITER || w == DEVICE)
			pthread_join(thread, NULL);
		check_page(w, value);
	} else {
		check_page(NOBODY, value);
	}
	fixture_end(&f);
}

START_TEST(every_small_case)
{
	for (enum state s = 0; s < STATES; s++)
		for (enum operation o = 0; o < OPERATIONS; o++)
			for (enum waiter w = 0; w < WAITERS; w++)
				for (uint64_t value = 0; value <= VALUE; value += VALUE)
					if ((o != ZERO && s != ZEROED) || !value)
						small_case(s, o, w, value);
}
END_TEST

static uint64_t model[FIXTURE_RAM_PAGES];
static uint8_t buffer[USERFAULT_RUN * PAGE_SIZE] __attribute__((aligned(4096)));

static bool any_absent(uint64_t first, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (userfault_is_absent(&f.uf, (first + i) * PAGE_SIZE))
			return true;
	return false;
}

/* How many pages from here on have the same value, or (SHOW) values that follow on each other. */
static unsigned int run_of(uint64_t first, unsigned int max, enum operation o)
{
	unsigned int n = 1;

	while (n < max && model[first + n] == model[first] + (o == SHOW ? n : 0) && model[first + n] < FIXTURE_VALUES)
		n++;
	return n;
}

static void exchange_some(struct random *r)
{
	uint64_t first = random_below(r, FIXTURE_RAM_PAGES);
	unsigned int room = (unsigned int)(FIXTURE_RAM_PAGES - first), pages = 1 + (unsigned int)random_below(r, 9);
	enum operation o = (enum operation)random_below(r, OPERATIONS);
	struct userfault_hold h;
	bool absent;

	pages = pages < room ? pages : room;
	absent = any_absent(first, pages);
	ck_assert_int_eq(userfault_hold(&f.uf, &h, first * PAGE_SIZE, pages), absent ? -EBUSY : 0);
	if (absent)
		return;
	for (unsigned int at = 0, n; at < pages; at += n) {
		n = run_of(first + at, pages - at, o);
		if (o != ZERO || !model[first + at])
			ck_assert_int_eq(exchange(&h, o, at, n, model[first + at]), 0);
	}
	userfault_let_go(&f.uf, &h);
}

static void write_some(struct random *r)
{
	uint64_t page = random_below(r, FIXTURE_RAM_PAGES), value = random_below(r, FIXTURE_VALUES);

	for (unsigned int n = 0; n < 4 && page + n < FIXTURE_RAM_PAGES; n++) {
		model[page + n] = (value + n) % FIXTURE_VALUES;
		if (random_below(r, 4))
			fixture_fill(fixture_at(&f, page + n), model[page + n]);
		else
			model[page + n] = fixture_value(fixture_at(&f, page + n));
	}
}

static void peek_some(struct random *r)
{
	uint64_t page = random_below(r, FIXTURE_RAM_PAGES), count = userfault_absent_count(&f.uf);
	unsigned int most = (unsigned int)(1 + random_below(r, FIXTURE_RAM_PAGES - page));
	const void *bytes;
	int n = userfault_peek(&f.uf, page * PAGE_SIZE, most, buffer, &bytes);

	ck_assert(n >= 1 && (unsigned int)n <= most);
	for (int i = 0; i < n; i++)
		ck_assert_uint_eq(bytes ? fixture_value((const uint8_t *)bytes + i * PAGE_SIZE) : 0, model[page + i]);
	ck_assert_uint_eq(userfault_absent_count(&f.uf), count);
}

static void make_lazy(struct random *r)
{
	uint64_t page = random_below(r, FIXTURE_RAM_PAGES);

	if (any_absent(page, 1)) {
		ck_assert_int_eq(userfault_absent(&f.uf, &f.lazy.pager, page * PAGE_SIZE, PAGE_SIZE),
				 fixture_has(&f.cold, page) ? -EBUSY : 0);
		return;
	}
	fixture_put(&f.lazy, page, model[page]);
	ck_assert_int_eq(userfault_absent(&f.uf, &f.lazy.pager, page * PAGE_SIZE, PAGE_SIZE), 0);
}

static void fetch_some(struct random *r)
{
	uint64_t page = random_below(r, FIXTURE_RAM_PAGES), pages = 1 + random_below(r, FIXTURE_RAM_PAGES - page) / 4;

	ck_assert_int_ge(userfault_prefetch(&f.uf, page * PAGE_SIZE, pages * PAGE_SIZE, buffer), 0);
	ck_assert(!any_absent(page, (unsigned int)pages));
}

static void check_all(void)
{
	uint64_t absent = 0;

	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++) {
		ck_assert(!(fixture_has(&f.cold, page) && fixture_has(&f.lazy, page)));
		ck_assert_int_eq(any_absent(page, 1), fixture_has(&f.cold, page) || fixture_has(&f.lazy, page));
		absent += any_absent(page, 1);
	}
	ck_assert_uint_eq(absent, userfault_absent_count(&f.uf));
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++)
		ck_assert_uint_eq(fixture_value(fixture_at(&f, page)), model[page]);
	ck_assert_uint_eq(userfault_absent_count(&f.uf), 0);
	ck_assert_str_eq(f.reason, "");
}

static void (*const steps[])(struct random *r) = {exchange_some, exchange_some, exchange_some, write_some, peek_some, make_lazy, fetch_some};

START_TEST(at_random)
{
	struct random r = random_start("userfault_exchange at_random");
	unsigned int count = effort(8000, 2000);

	memset(model, 0, sizeof(model));
	fixture_start(&f);
	for (int i = 0; i < 60; i++)
		write_some(&r);
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
	for (unsigned int i = 0; i < count; i++) {
		steps[random_below(&r, sizeof(steps) / sizeof(*steps))](&r);
		if (i % 1000 == 999)
			check_all();
	}
	check_all();
	printf("cold: %u fetches, %u brought, %u at a fault\n", f.cold.fetches, f.cold.brought, f.cold.at_fault);
	ck_assert_uint_gt(f.cold.brought, f.cold.at_fault);
	fixture_end(&f);
}
END_TEST

int main(void)
{
	const TTest *const all[] = {every_small_case, at_random};

	return RUN_TESTS("userfault_exchange", all);
}
