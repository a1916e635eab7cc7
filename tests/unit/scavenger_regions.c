/*
 * A guest of more than 3 GiB has RAM in two places. Pages that lie on both sides of the gap are equal to pages of another guest that lie
 * side by side: all of them are shared, and hold what they held.
 */
#include <check.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "dedup/scavenger.h"
#include "tests/unit/thread_vm.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

#define GUESTS 2u
#define GAP_PAGE ((3ull << 30) / PAGE_SIZE) /* the first behind it */
#define SMALL (1ull << 20)
#define RUN 32u
#define MOST_MS 120000u

static struct guest {
	struct vm vm;
	pthread_t thread;
	uint64_t first; /* of the run of pages that both have */
	_Atomic bool leave;
} guests[GUESTS];

static void *scavenger;

static void *run_guest(void *arg)
{
	struct guest *g = arg;

	while (!atomic_load(&g->leave)) {
		vcpu_take_work(&g->vm.vcpu);
		usleep(1000);
	}
	vcpu_close_mailbox(&g->vm.vcpu);
	return NULL;
}

static void start_guest(struct guest *g, unsigned int number, uint64_t ram, uint64_t first)
{
	g->first = first;
	thread_vm_open(&g->vm, number, ram);
	for (uint64_t i = 0; i < RUN; i++)
		memset(mem_page_hva(&g->vm.mem, first + i), (int)i + 1, PAGE_SIZE);
	ck_assert_int_eq(scavenging.add(scavenger, &g->vm), 0);
	ck_assert_int_eq(pthread_create(&g->thread, NULL, run_guest, g), 0);
}

static void end_guest(struct guest *g)
{
	atomic_store(&g->leave, true);
	pthread_join(g->thread, NULL);
	scavenging.remove(scavenger, &g->vm);
	thread_vm_close(&g->vm);
}

static uint64_t pages_of(const struct guest *g, const char *kib)
{
	json_t *o = scavenging.stats(scavenger, &g->vm);
	json_int_t n = json_integer_value(json_object_get(o, kib));

	json_decref(o);
	return (uint64_t)n / (PAGE_SIZE >> 10);
}

static void await(const struct guest *g, const char *kib, uint64_t pages)
{
	for (unsigned int ms = 0; pages_of(g, kib) != pages; ms += 10) {
		ck_assert_msg(ms < MOST_MS, "guest %u: %s: %lu pages", g->vm.number, kib, (unsigned long)pages_of(g, kib));
		usleep(10000);
	}
}

static void check_guest(const struct guest *g)
{
	await(g, "shared_kib", RUN);
	for (uint64_t i = 0; i < RUN; i++) {
		const uint8_t *page = mem_page_hva(&g->vm.mem, g->first + i);

		ck_assert(page[0] == i + 1 && !memcmp(page, page + 1, PAGE_SIZE - 1));
	}
}

START_TEST(across_the_gap)
{
	static const struct scavenge_options options = {
		.on = true, .last = SCAVENGE_SAME, .cpu_percent = 100, .refaults = 1000000, .idle_ms = 20};

	ck_assert_int_eq(scavenging.start(&scavenger, &options), 0);
	start_guest(&guests[0], 0, GAP_PAGE * PAGE_SIZE + SMALL, GAP_PAGE - RUN / 2);
	ck_assert_uint_eq(mem_page_room(&guests[0].vm.mem, guests[0].first), RUN / 2);
	await(&guests[0], "zero_kib", GAP_PAGE + SMALL / PAGE_SIZE - RUN);
	start_guest(&guests[1], 1, SMALL, 0);
	for (unsigned int i = 0; i < GUESTS; i++)
		check_guest(&guests[i]);
	for (unsigned int i = 0; i < GUESTS; i++)
		end_guest(&guests[i]);
	scavenging.stop(scavenger);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenger_regions");

	tcase_set_timeout(tcase, 200);
	tcase_add_test(tcase, across_the_gap);
	return run_case("scavenger_regions", tcase);
}
