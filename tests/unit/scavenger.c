/*
 * The scavenger over guests without KVM: threads that write their RAM through the door, read all of it, and give some of it back, as a
 * vCPU's thread and its guest do. What is in RAM is always what was written; when the guests are quiet, everything is shared that can be.
 */
#include "dedup/scavenger.h"

#include <check.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/page_contents.h"
#include "tests/unit/random.h"
#include "tests/unit/thread_vm.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"
#include "vmm/userfault_discard.h"
#include "vmm/vm.h"

#define GUESTS 3u
#define PAGES 1024u
#define RAM (PAGES * PAGE_SIZE)
#define FREED 64u /* pages */
#define QUIET_MS 240000u

enum order { STAND, WRITE, FREE, LEAVE };

struct guest {
	struct vm vm;
	struct page_content model[PAGES];
	pthread_t thread;
	_Atomic int order;
	_Atomic bool stands; /* as it was ordered to */
	_Atomic uint64_t rounds;
	uint64_t given; /* the vCPU's thread: pages that it had no use for */
	_Atomic bool freed;
	uint64_t seed;
	bool watched; /* the vCPU's thread: what it reads is */
};

static struct guest guests[GUESTS];
static void *scavenger;
static struct scavenge_options options;

/* As a guest does it: what keeps its pages right is their protection, which ThreadSanitizer does not know of. */
__attribute__((no_sanitize("thread"))) static void store(void *to, const uint64_t *from)
{
	volatile uint64_t *words = to;

	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		words[i] = from[i];
}

__attribute__((no_sanitize("thread"))) static bool holds(const void *page, const uint64_t *expected)
{
	const volatile uint64_t *words = page;

	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++)
		if (words[i] != expected[i])
			return false;
	return true;
}

static void write_page(struct guest *g, uint64_t page, struct page_content c)
{
	uint64_t words[PAGE_SIZE / 8];

	page_content_make(&c, words);
	store(mem_at(&g->vm.mem, page * PAGE_SIZE, PAGE_SIZE, MEM_WRITE), words);
	g->model[page] = c;
}

static void verify_page(struct guest *g, uint64_t page)
{
	uint64_t words[PAGE_SIZE / 8];

	page_content_make(&g->model[page], words);
	ck_assert_msg(holds(mem_page_hva(&g->vm.mem, page), words), "guest %u: page %lu is not what was written (kind %d)",
		      g->vm.number, (unsigned long)page, g->model[page].kind);
}

static struct page_content random_content(struct random *r)
{
	return (struct page_content){(enum content)random_below(r, CONTENTS), random_next(r)};
}

/* Pages that it has no use for; rarely so many that a mapping pays, wherever they come from. */
static void discard(struct guest *g, struct random *r)
{
	uint64_t most = random_below(r, 16) ? 8 : PAGES, first = random_below(r, PAGES), n = 1 + random_below(r, most);
	uint64_t given;

	n = n < PAGES - first ? n : PAGES - first;
	given = userfault_discard(&g->vm.userfault, first * PAGE_SIZE, n * PAGE_SIZE);
	ck_assert_uint_le(given, n);
	g->given += given;
	for (uint64_t page = first; page < first + n; page++)
		g->model[page] = (struct page_content){.kind = CONTENT_ZERO};
}

/* Once: pages that are resident. */
static void free_some(struct guest *g)
{
	if (g->freed)
		return;
	for (uint64_t page = 0; page < FREED; page++)
		write_page(g, page, (struct page_content){CONTENT_RANDOM, page});
	g->given += userfault_discard(&g->vm.userfault, 0, FREED * PAGE_SIZE);
	for (uint64_t page = 0; page < FREED; page++)
		g->model[page] = (struct page_content){.kind = CONTENT_ZERO};
	atomic_store(&g->freed, true);
}

static void live(struct guest *g, struct random *r)
{
	uint64_t first = random_below(r, PAGES), n = 1 + random_below(r, 8);

	if (random_below(r, 32) == 0)
		discard(g, r);
	for (uint64_t page = first; page < first + n && page < PAGES; page++) {
		if (random_below(r, 3))
			verify_page(g, page);
		else
			write_page(g, page, random_content(r));
	}
	atomic_fetch_add(&g->rounds, 1);
}

static void *run_guest(void *arg)
{
	struct guest *g = arg;
	struct random r = {.state = g->seed};
	int order;

	while ((order = atomic_load(&g->order)) != LEAVE) {
		vcpu_take_work(&g->vm.vcpu);
		atomic_store(&g->stands, order == STAND);
		if (order == WRITE)
			live(g, &r);
		else if (order == FREE)
			free_some(g);
		else
			usleep(1000);
	}
	vcpu_close_mailbox(&g->vm.vcpu);
	return NULL;
}

/* An MMU mode that can tell what is read, at a cost. */
static _Atomic unsigned int watched; /* guests */
static const struct mmu_ops *mmu;

static int watch(struct vm *vm, uint64_t *pages)
{
	struct guest *g = (struct guest *)((char *)vm - offsetof(struct guest, vm));

	if (g->watched != (pages != NULL))
		atomic_fetch_add(&watched, pages ? 1 : -1);
	g->watched = pages;
	return pages != NULL;
}

static void make_guest(struct guest *g, unsigned int number, struct random *r)
{
	*g = (struct guest){.seed = random_next(r)};
	g->vm.mmu = mmu;
	thread_vm_open(&g->vm, number, RAM);
	for (uint64_t page = 0; page < PAGES; page++)
		if (random_below(r, 4))
			write_page(g, page, random_content(r));
	ck_assert_int_eq(scavenging.add(scavenger, &g->vm), 0);
	ck_assert_int_eq(pthread_create(&g->thread, NULL, run_guest, g), 0);
}

static void end_guest(struct guest *g)
{
	atomic_store(&g->order, LEAVE);
	pthread_join(g->thread, NULL);
	scavenging.remove(scavenger, &g->vm);
	thread_vm_close(&g->vm);
}

static void start(struct random *r, enum scavenge_stage last)
{
	options = (struct scavenge_options){.on = true, .last = last, .cpu_percent = 100, .refaults = 1000000, .idle_ms = 20};
	ck_assert_int_eq(scavenging.start(&scavenger, &options), 0);
	for (unsigned int i = 0; i < GUESTS; i++)
		make_guest(&guests[i], i, r);
}

static void end(void)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		end_guest(&guests[i]);
	scavenging.stop(scavenger);
}

static void order_all(enum order o)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		atomic_store(&guests[i].order, o);
	for (unsigned int i = 0; i < GUESTS; i++)
		while (o == STAND && !atomic_load(&guests[i].stands))
			usleep(1000);
}

static uint64_t stat_of(const struct guest *g, const char *name)
{
	json_t *o = scavenging.stats(scavenger, &g->vm);
	json_int_t value;

	ck_assert_ptr_nonnull(json_object_get(o, name));
	value = json_integer_value(json_object_get(o, name));
	json_decref(o);
	return (uint64_t)value;
}

static uint64_t count(const struct guest *g, enum content kind)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < PAGES; page++)
		n += g->model[page].kind == kind;
	return n;
}

/* What is random stays, and the similar pages that are not found: the index is bounded, and more is not promised. */
static bool is_quiet(const struct guest *g)
{
	uint64_t missed = CONTENT_FAMILIES + count(g, CONTENT_SIMILAR) / 8;

	return stat_of(g, "resident_kib") <= (count(g, CONTENT_RANDOM) + missed) * 4;
}

static void complain(const struct guest *g)
{
	json_t *o = scavenging.stats(scavenger, &g->vm);
	char *text = json_dumps(o, JSON_COMPACT);

	ck_abort_msg("guest %u: too much stays resident of %lu random, %lu similar and other pages: %s", g->vm.number,
		     (unsigned long)count(g, CONTENT_RANDOM), (unsigned long)count(g, CONTENT_SIMILAR), text);
}

static void await_quiet(void)
{
	for (unsigned int i = 0; i < GUESTS; i++)
		for (unsigned int ms = 0; !is_quiet(&guests[i]); ms += 10) {
			if (ms > QUIET_MS)
				complain(&guests[i]);
			usleep(10000);
		}
}

static void verify_all(struct guest *g)
{
	for (uint64_t page = 0; page < PAGES; page++)
		verify_page(g, page);
}

START_TEST(squeezes_what_it_can)
{
	struct random r = random_start("squeezes_what_it_can");

	start(&r, SCAVENGE_COMPRESS);
	await_quiet();
	for (unsigned int i = 0; i < GUESTS; i++) {
		struct guest *g = &guests[i];

		ck_assert_uint_eq(stat_of(g, "zero_kib"), count(g, CONTENT_ZERO) * 4);
		ck_assert_uint_ge(stat_of(g, "shared_kib") + stat_of(g, "same_kib"), (count(g, CONTENT_SAME) - 1) * 4);
		verify_all(g);
	}
	end();
}
END_TEST

START_TEST(keeps_what_is_written)
{
	struct random r = random_start("keeps_what_is_written");
	unsigned int phases = getenv("PENUMBRA_LONG") ? 60 : 4;

	start(&r, SCAVENGE_COMPRESS);
	for (unsigned int phase = 0; phase < phases; phase++) {
		uint64_t rounds = atomic_load(&guests[0].rounds);

		scavenging.turn(scavenger, phase % 2 == 0);
		order_all(WRITE);
		while (atomic_load(&guests[0].rounds) < rounds + 4000)
			usleep(1000);
		order_all(STAND);
		scavenging.turn(scavenger, true);
		await_quiet();
		/* At first it may not have begun yet. */
		ck_assert(!phase || stat_of(&guests[0], "reported") > 0);
		ck_assert_uint_le(stat_of(&guests[0], "reported"), guests[0].given);
	}
	order_all(WRITE);
	usleep(100000);
	end();
}
END_TEST

/* Without a look at them: it rests. */
START_TEST(knows_what_is_freed)
{
	struct random r = random_start("knows_what_is_freed");
	struct guest *g = &guests[1];
	uint64_t zero;

	start(&r, SCAVENGE_COMPRESS);
	await_quiet();
	scavenging.turn(scavenger, false);
	while (stat_of(g, "scanned") != (usleep(100000), stat_of(g, "scanned")))
		;
	zero = stat_of(g, "zero_kib");
	for (uint64_t page = 0; page < FREED; page++)
		zero -= g->model[page].kind == CONTENT_ZERO ? 4 : 0;
	atomic_store(&g->order, FREE);
	while (!atomic_load(&g->freed))
		usleep(1000);
	/* Single pages of the pool are written instead, and found later. */
	ck_assert_uint_ge(g->given, FREED / 4);
	ck_assert_uint_eq(stat_of(g, "reported"), g->given);
	ck_assert_uint_ge(stat_of(g, "zero_kib"), zero + g->given * 4);
	scavenging.turn(scavenger, true);
	await_quiet();
	for (unsigned int i = 0; i < GUESTS; i++)
		verify_all(&guests[i]);
	end();
}
END_TEST

static void await_watched(unsigned int n)
{
	while (atomic_load(&watched) != n)
		usleep(1000);
}

/* Who has it off does not pay for it. */
START_TEST(off_does_not_watch)
{
	static const struct mmu_ops watching = {.name = "watching", .accessed = watch};
	struct random r = random_start("off_does_not_watch");

	mmu = &watching;
	start(&r, SCAVENGE_COMPRESS);
	for (unsigned int i = 0; i < 3; i++) {
		await_watched(GUESTS);
		scavenging.turn(scavenger, false);
		await_watched(0);
		usleep(50000);
		ck_assert_uint_eq(atomic_load(&watched), 0);
		scavenging.turn(scavenger, true);
	}
	for (unsigned int i = 0; i < GUESTS; i++)
		verify_all(&guests[i]);
	end();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenger");

	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, squeezes_what_it_can);
	tcase_add_test(tcase, keeps_what_is_written);
	tcase_add_test(tcase, knows_what_is_freed);
	tcase_add_test(tcase, off_does_not_watch);
	return run_case("scavenger", tcase);
}
