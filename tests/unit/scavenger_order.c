/*
 * In which order the scavenger looks at a guest's pages first: those that its image has brought, then the others, and each of them once.
 */
#include <check.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "dedup/look.h"
#include "dedup/scavenger.h"
#include "tests/unit/random.h"
#include "tests/unit/thread_vm.h"
#include "tests/vm/suite.h"
#include "vmm/vm.h"

#define GAP_PAGE ((3ull << 30) / PAGE_SIZE) /* the first behind it */
#define SMALL_PAGES 1024u
#define BEHIND_GAP 256u
#define MOST_PAGES (GAP_PAGE + BEHIND_GAP)
#define PART 40u
#define MOST_MS 120000u

static struct vm vm;
static void *scavenger;
static _Atomic bool leave;
static bool loaded[MOST_PAGES];
static uint32_t place[MOST_PAGES]; /* in the order of looks, from 1 */
static unsigned int again;	   /* pages that were looked at once more */
static _Atomic uint32_t looked;

void __real_look_at_idle(struct look *l, struct ward *w, uint64_t page, unsigned int n);
void __wrap_look_at_idle(struct look *l, struct ward *w, uint64_t page, unsigned int n);

void __wrap_look_at_idle(struct look *l, struct ward *w, uint64_t page, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		again += place[page + i] > 0;
		place[page + i] = looked + i + 1;
	}
	__real_look_at_idle(l, w, page, n);
	atomic_fetch_add(&looked, n);
}

static void *run_guest(void *arg)
{
	while (!atomic_load(&leave)) {
		vcpu_take_work(&vm.vcpu);
		usleep(1000);
	}
	vcpu_close_mailbox(&vm.vcpu);
	return arg;
}

static void load_page(uint64_t page)
{
	memset(mem_at(&vm.mem, mem_page_gpa(&vm.mem, page), PAGE_SIZE, MEM_WRITE), (int)page | 1, PAGE_SIZE);
	loaded[page] = true;
}

/* As an image does, a piece in each of these parts of RAM, which follow each other. */
static void load(struct random *r, uint64_t first, unsigned int parts, uint64_t part)
{
	loaded_begin(&vm.loaded, &vm.mem);
	for (; parts; parts--, first += part) {
		uint64_t at = random_below(r, part - 1), n = 1 + random_below(r, part - 1 - at);

		for (uint64_t page = first + at; page < first + at + n; page++)
			load_page(page);
	}
	loaded_end(&vm.loaded, &vm.mem);
}

static uint64_t count_loaded(uint64_t pages)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < pages; page++)
		n += loaded[page];
	return n;
}

/* No second epoch comes, in which they would be looked at again. */
static void scavenge_until(uint64_t pages)
{
	static const struct scavenge_options options = {
		.on = true, .last = SCAVENGE_SAME, .cpu_percent = 100, .refaults = 1000000, .idle_ms = 2 * MOST_MS};
	pthread_t thread;

	ck_assert_int_eq(scavenging.start(&scavenger, &options), 0);
	ck_assert_int_eq(scavenging.add(scavenger, &vm), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_guest, NULL), 0);
	for (unsigned int ms = 0; atomic_load(&looked) < pages; ms++) {
		ck_assert_uint_lt(ms, MOST_MS);
		usleep(1000);
	}
	atomic_store(&leave, true);
	pthread_join(thread, NULL);
	scavenging.remove(scavenger, &vm);
	scavenging.stop(scavenger);
}

static void check_order(uint64_t pages)
{
	uint64_t first = count_loaded(pages);

	ck_assert_uint_eq(again, 0);
	for (uint64_t page = 0; page < pages; page++)
		ck_assert_msg(loaded[page] == (place[page] && place[page] <= first), "page %lu was the %uth of %lu", (unsigned long)page,
			      place[page], (unsigned long)first);
}

START_TEST(all_pages)
{
	struct random r = random_start("all_pages");

	thread_vm_open(&vm, 0, SMALL_PAGES * PAGE_SIZE);
	load(&r, 0, LOADED_EXTENTS, SMALL_PAGES / LOADED_EXTENTS);
	scavenge_until(SMALL_PAGES);
	ck_assert_uint_eq(atomic_load(&looked), SMALL_PAGES);
	check_order(SMALL_PAGES);
	thread_vm_close(&vm);
}
END_TEST

/* A piece that lies on both sides is two. */
START_TEST(across_the_gap)
{
	struct random r = random_start("across_the_gap");

	thread_vm_open(&vm, 0, MOST_PAGES * PAGE_SIZE);
	load(&r, GAP_PAGE - 3 * PART - PART / 2, LOADED_EXTENTS - 1, PART);
	scavenge_until(count_loaded(MOST_PAGES) + 1);
	check_order(MOST_PAGES);
	thread_vm_close(&vm);
}
END_TEST

/* Nothing is known, and all are looked at. */
START_TEST(nothing_loaded)
{
	thread_vm_open(&vm, 0, SMALL_PAGES * PAGE_SIZE);
	scavenge_until(SMALL_PAGES);
	check_order(SMALL_PAGES);
	thread_vm_close(&vm);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenger_order");

	tcase_set_timeout(tcase, 200);
	tcase_add_test(tcase, all_pages);
	tcase_add_test(tcase, across_the_gap);
	tcase_add_test(tcase, nothing_loaded);
	return run_case("scavenger_order", tcase);
}
