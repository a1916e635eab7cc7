/*
 * What the shadow mode may cost, in exits an operation. Counts, not times, so they hold on every host. Each is what lies
 * between two marks of the image mmucost, less what the marks themselves cost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "compare/marks.h"
#include "guest/lib/mmucost.h"
#include "shadow/shadow.h"
#include "tests/vm/inside.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"

#define PAGES 256
#define MANY 100
#define TABLE 512
#define SPACES 32
#define REFERENCES 100000

struct bound {
	const char *operation;
	unsigned int count;
	bool kernel;	    /* an operation of ring 0 */
	unsigned int exits; /* at most, in all */
	int hidden;	    /* hidden faults at most, -1 = no matter */
};

/*
 * What operations of several parts may cost. A call is two exits; a fault of ring 3 one more, as the kernel reads CR2. Memory
 * that is mapped, used and unmapped costs two calls, a CR3 load, the first use of its pages, and a store to each of its
 * tables when it comes and when it goes: from then on a table is written to without us.
 */
#define CALL 2
#define FAULT 3
#define FIRST_USE(n) (((n) + 7) / 8 + 1)
#define MAP(n, tables) (2 * CALL + 1 + FIRST_USE(n) + 2 * (tables))
#define DEMAND (FAULT + 1)

static const struct bound bounds[] = {
	{"touch", PAGES, false, PAGES / 8, -1},
	{"kernel-touch", PAGES, true, PAGES / 8, -1},
	{"touch-clear", PAGES, false, PAGES, -1},
	{"kernel-touch-clear", PAGES, true, PAGES, -1},
	{"pte-write", TABLE, true, 8, -1},
	{"fork", 1, false, 40, -1},
	{"fork", 8, false, 8 * 40, -1},
	{"switch", MANY, true, MANY, 0},
	{"switch-8", MANY, true, MANY, 0},
	{"syscall", MANY, false, 2 * MANY, 0},
	{"privileged", MANY, true, MANY, 0},
	{"port-in", MANY, true, MANY, 0},
	{"invlpg", MANY, true, 2 * MANY, -1},
	{"cr0-write", MANY, true, MANY, 0},
	{"cr3-write", MANY, true, MANY, 0},
	{"switch-32", 4 * SPACES, true, 4 * SPACES, 0},
	{"kernel-fault", MANY, true, 2 * MANY, 0},
	{"page-fault", MANY, false, FAULT * MANY, 0},
	{"divide-fault", MANY, false, 2 * MANY, 0},
	{"pte-modify", MANY, true, 2 * MANY, -1},
	{"pte-batch", 4 * TABLE, true, 4 * (8 + FIRST_USE(TABLE)), -1},
	{"pde-write", MANY, true, 4 * MANY, -1},
	{"touch-alias", PAGES, false, PAGES / 8, -1},
	{"touch-alias-clear", PAGES, false, PAGES, -1},
	{"map-1", MANY, false, MAP(1, 1) * MANY, -1},
	{"map-32", MANY, false, MAP(32, 1) * MANY, -1},
	{"map-1024", 4, false, MAP(1024, 3) * 4, -1},
	{"demand-zero", PAGES, false, DEMAND * PAGES + FIRST_USE(PAGES), -1},
	{"units", 4, false, 4 * (40 + 40 + DEMAND * 24), -1},
	{"call", 1000, false, 0, 0},
	{"compute", 1000, false, 0, 0},
	{"kernel-compute", 1000, true, 0, 0},
};

static struct kvm kvm;

static struct marks run(const char *operation, unsigned int count, unsigned int pages)
{
	char *path = build_path("guest/mmucost"), arguments[64];
	struct marks_config config = {.kvm = &kvm, .mmu = &shadow_mmu, .arguments = arguments};
	struct image image;
	struct marks marks;

	snprintf(arguments, sizeof(arguments), pages ? "%s %u %u" : "%s %u", operation, count, pages);
	ck_assert_int_eq(image_open(&image, path), 0);
	config.image = &image;
	ck_assert_msg(marks_run(&config, &marks) == 0, "mmucost %s: %s", arguments, marks.why);
	image_close(&image);
	free(path);
	return marks;
}

static uint64_t exits_between(const struct marks *marks, uint32_t from, uint32_t to)
{
	const struct mark *a = marks_find(marks, from), *b = marks_find(marks, to);

	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	return mark_exits_between(a, b);
}

/* What marks cost in that ring. */
static uint64_t exits_of_nothing(bool kernel)
{
	struct marks marks = run(kernel ? "kernel-nothing" : "nothing", 1, 0);

	return exits_between(&marks, MMUCOST_BEGIN, MMUCOST_END);
}

static void list_causes(const struct mark *begin, const struct mark *end)
{
	for (unsigned int i = 0; i < end->stats.count; i++) {
		uint64_t n = end->stats.counter[i].value - begin->stats.counter[i].value;

		if (n)
			printf(" %s %llu", end->stats.counter[i].name, (unsigned long long)n);
	}
	puts("");
}

static void check_bound(const struct bound *b)
{
	struct marks marks = run(b->operation, b->count, 0);
	uint64_t exits = exits_between(&marks, MMUCOST_BEGIN, MMUCOST_END) - exits_of_nothing(b->kernel);
	const struct mark *begin = marks_find(&marks, MMUCOST_BEGIN), *end = marks_find(&marks, MMUCOST_END);
	uint64_t hidden = mark_counter(end, "hidden_faults") - mark_counter(begin, "hidden_faults");

	printf("| %s × %u | %llu | ≤ %u |", b->operation, b->count, (unsigned long long)exits, b->exits);
	list_causes(begin, end);
	ck_assert_msg(exits <= b->exits, "%s × %u: %llu exits, not %u at most", b->operation, b->count,
		      (unsigned long long)exits, b->exits);
	if (b->hidden >= 0)
		ck_assert_msg(hidden <= (uint64_t)b->hidden, "%s × %u: %llu hidden faults", b->operation, b->count,
			      (unsigned long long)hidden);
}

START_TEST(exits_are_bounded)
{
	inside_open(&kvm);
	check_bound(&bounds[_i]);
	kvm_close(&kvm);
}
END_TEST

/* Memory beyond the TLB costs time, but nobody is called for. */
START_TEST(references_cost_nothing)
{
	static const char *const operations[] = {"chase-4k", "chase-2m", "update-4k", "update-2m"};

	inside_open(&kvm);
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		struct marks marks = run(operations[i], REFERENCES, 3 * TABLE);
		uint64_t exits = exits_between(&marks, MMUCOST_BEGIN, MMUCOST_END) - exits_of_nothing(false);

		printf("| %s × %u | %llu | ≤ 0 |\n", operations[i], REFERENCES, (unsigned long long)exits);
		ck_assert_uint_eq(exits, 0);
	}
	kvm_close(&kvm);
}
END_TEST

/* Entries that were written in a batch are found again like any others: in groups. */
START_TEST(a_rewritten_table_is_used_in_groups)
{
	struct marks marks;
	uint64_t exits;

	inside_open(&kvm);
	marks = run("pte-write", TABLE, 0);
	exits = exits_between(&marks, MMUCOST_END, MMUCOST_USED) - exits_of_nothing(true);
	printf("| use of %u rewritten entries | %llu | ≤ %u |\n", TABLE, (unsigned long long)exits, TABLE / 8);
	ck_assert_uint_le(exits, TABLE / 8);
	kvm_close(&kvm);
}
END_TEST

/* The counting itself: what must cost an exit each is seen to. */
START_TEST(exits_are_counted)
{
	struct marks marks;

	inside_open(&kvm);
	ck_assert_uint_ge(exits_of_nothing(true), 1);
	ck_assert_uint_ge(exits_of_nothing(false), 3);
	marks = run("privileged", MANY, 0);
	ck_assert_uint_ge(exits_between(&marks, MMUCOST_BEGIN, MMUCOST_END), MANY);
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow-cost");

	/* Of a test that fails, too, the line is to be seen. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, exits_are_bounded, 0, sizeof(bounds) / sizeof(*bounds));
	tcase_add_test(tcase, references_cost_nothing);
	tcase_add_test(tcase, a_rewritten_table_is_used_in_groups);
	tcase_add_test(tcase, exits_are_counted);
	return run_case("shadow-cost", tcase);
}
