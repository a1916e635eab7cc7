/*
 * The command line of `penumbra compare`, and what it takes for a misspelt name. Most refusals are in tests/vm/compare.c.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compare/choice.h"
#include "compare/compare_options.h"
#include "compare/workload.h"
#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

#define MAX_WORDS 16
#define MAX_LINE 256

static const struct mmu_ops one = {.name = "one"}, two = {.name = "two"};
static const struct mmu_ops *const mmus[] = {&one, &two, NULL};
static const struct program program = {.mmus = mmus};

/* Words with single spaces between. The options point to them, and are good until the next line. */
static int parse(struct compare_options *o, const char *line)
{
	static char words[MAX_LINE];
	char *rest = words, *argv[MAX_WORDS + 1];
	int argc = 0;

	ck_assert_uint_lt(strlen(line), sizeof(words));
	strcpy(words, line);
	while (rest && argc < MAX_WORDS)
		argv[argc++] = strsep(&rest, " ");
	argv[0] = (char[]){"penumbra compare"};
	argv[argc] = NULL;
	return compare_options_parse(o, &program, argc, argv);
}

START_TEST(test_defaults)
{
	struct compare_options o;

	ck_assert_int_eq(parse(&o, "compare"), 0);
	ck_assert(o.modes == 2 && o.mmu[0] == &one && o.mmu[1] == &two);
	ck_assert(o.rounds == 5 && o.workloads == workload_count && !o.image && !o.html && !o.mem && !o.timeout_ms);
	ck_assert(!o.json && !o.list && !o.joining);
	for (size_t i = 0; i < workload_count; i++)
		ck_assert_ptr_eq(o.workload[i], &workloads[i]);
	compare_options_free(&o);
}
END_TEST

START_TEST(test_values)
{
	struct compare_options o;

	ck_assert_int_eq(parse(&o, "compare --mmu two,one --rounds=100 --mem 96M --timeout 0.25 --json --html x --hugepages on"), 0);
	ck_assert(o.modes == 2 && o.mmu[0] == &two && o.mmu[1] == &one && o.rounds == 100 && o.mem == 96ull << 20);
	ck_assert(o.timeout_ms == 250 && o.json && o.huge == MEM_HUGE_ADVISE && !strcmp(o.html, "x"));
	compare_options_free(&o);
	ck_assert_int_eq(parse(&o, "compare --mmu two"), 0);
	ck_assert(o.modes == 1 && o.mmu[0] == &two);
	compare_options_free(&o);
}
END_TEST

START_TEST(test_image)
{
	struct compare_options o;

	ck_assert_int_eq(parse(&o, "compare --rounds 2 some/image -- a -b --json"), 0);
	ck_assert_str_eq(o.image, "some/image");
	ck_assert_str_eq(o.arguments, "a -b --json");
	ck_assert(!o.json && o.workloads == 0);
	compare_options_free(&o);
	ck_assert_int_eq(parse(&o, "compare some/image"), 0);
	ck_assert_str_eq(o.arguments, "");
	compare_options_free(&o);
}
END_TEST

START_TEST(test_join)
{
	struct compare_options o;

	ck_assert_int_eq(parse(&o, "compare --join a b --html c d"), 0);
	ck_assert(o.joining && o.joined == 3 && !o.image && !strcmp(o.join[1], "b") && !strcmp(o.join[2], "d"));
	compare_options_free(&o);
}
END_TEST

/* All of the table once, in its order, however they were named. */
START_TEST(test_choice)
{
	const struct workload **list = calloc(workload_count, sizeof(*list));
	struct random r = random_start("choice");

	ck_assert_ptr_nonnull(list);
	for (int i = 0; i < 200; i++) {
		bool *chosen = calloc(workload_count, sizeof(*chosen));
		char text[4096] = "";
		int n, expected = 0;

		for (uint64_t words = 1 + random_below(&r, 8); words; words--) {
			size_t w = random_below(&r, workload_count);
			bool group = random_below(&r, 6) == 0;

			for (size_t j = 0; j < workload_count; j++)
				chosen[j] |= j == w || (group && workloads[j].group == workloads[w].group);
			strcat(text, *text ? "," : "");
			strcat(text, group ? workload_group_name(workloads[w].group) : workloads[w].name);
		}
		n = choice_parse(text, list);
		for (size_t j = 0; j < workload_count; j++)
			if (chosen[j])
				expect(list[expected++] == &workloads[j]);
		expect_eq(n, expected);
		free(chosen);
	}
	free(list);
}
END_TEST

/* Levenshtein's distance by its definition. */
static size_t naive_distance(const char *a, const char *b)
{
	size_t best, other;

	if (!*a || !*b)
		return strlen(a) + strlen(b);
	if (*a == *b)
		return naive_distance(a + 1, b + 1);
	best = naive_distance(a + 1, b);
	other = naive_distance(a, b + 1);
	best = other < best ? other : best;
	other = naive_distance(a + 1, b + 1);
	return 1 + (other < best ? other : best);
}

static char names[4][8];

static const char *name_at(size_t i)
{
	return names[i];
}

static void random_name(struct random *r, char *name)
{
	size_t length = 1 + random_below(r, 6);

	for (size_t i = 0; i < length; i++)
		name[i] = (char)('a' + random_below(r, 3));
	name[length] = '\0';
}

START_TEST(test_nearest)
{
	struct random r = random_start("nearest");

	for (int i = 0; i < 3000; i++) {
		const char *expected = NULL, *near;
		size_t least = 3;
		char typed[8];

		random_name(&r, typed);
		for (size_t j = 0; j < 4; j++) {
			size_t d;

			random_name(&r, names[j]);
			d = strncmp(typed, names[j], strlen(typed)) ? naive_distance(typed, names[j]) : 1;
			if (d < least) {
				least = d;
				expected = names[j];
			}
		}
		near = choice_nearest(typed, name_at, 4);
		expect_msg(near == expected, "%s for %s", near ? near : "none", typed);
	}
}
END_TEST

static void expect_refused(const char *line, const char *part)
{
	struct compare_options o;
	struct capture said;
	int r;

	capture_begin(&said);
	r = parse(&o, line);
	assert_one_line(capture_end(&said), part);
	ck_assert_msg(r != 0, "%s", line);
	compare_options_free(&o);
}

START_TEST(test_refused)
{
	expect_refused("compare --mmu=three", "--mmu=three: no such mode");
	expect_refused("compare --mmu=one,one", "twice");
	expect_refused("compare --mmu=", "no such mode");
	expect_refused("compare --only=page-falt", "did you mean page-fault?");
	expect_refused("compare --only=page-fau", "did you mean page-fault?");
	expect_refused("compare --only=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "no such workload; `penumbra");
	expect_refused("compare --only=compute,", "(empty name)");
	expect_refused("compare --join --rounds 2 x", "--rounds: has no meaning with --join");
	expect_refused("compare --join --mem 64M x", "--mem: has no meaning");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_defaults, test_values, test_image, test_join, test_choice, test_nearest, test_refused};

	return RUN_TESTS("compare-options", tests);
}
