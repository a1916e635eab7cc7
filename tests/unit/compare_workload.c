/* The table of workloads: what everything that reads it takes for granted, and that the guest knows what it asks for. */
#include <check.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "compare/benchmark_guest_image.h"
#include "compare/comparison.h"
#include "compare/workload.h"
#include "tests/vm/suite.h"

#define LIST_WIDTH 20 /* of --list */
#define SENTENCE_MAX 300

static bool is_name(const char *name, size_t size)
{
	return strlen(name) > 0 && strlen(name) < size && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

/* Words of a line: no spaces at the ends or in a row, nothing that is not to be printed. */
static bool is_line(const char *text, size_t size)
{
	size_t length = strlen(text);

	if (length == 0 || length >= size || text[0] == ' ' || text[length - 1] == ' ' || strstr(text, "  "))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isprint((unsigned char)text[i]))
			return false;
	return true;
}

START_TEST(names_are_unique)
{
	for (size_t i = 0; i < workload_count; i++) {
		ck_assert_msg(is_name(workloads[i].name, LIST_WIDTH + 1), "'%s'", workloads[i].name);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(workloads[i].name, workloads[j].name);
		for (int group = 0; group < WORKLOAD_GROUPS; group++)
			ck_assert_str_ne(workloads[i].name, workload_group_name((enum workload_group)group));
	}
}
END_TEST

START_TEST(work_is_unique)
{
	for (size_t i = 0; i < workload_count; i++)
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(strcmp(workloads[i].operation, workloads[j].operation) || workloads[i].reach != workloads[j].reach,
				      "%s and %s do the same", workloads[i].name, workloads[j].name);
}
END_TEST

START_TEST(groups_are_in_order_and_used)
{
	unsigned int used[WORKLOAD_GROUPS] = {0};

	for (size_t i = 0; i < workload_count; i++) {
		ck_assert_uint_lt(workloads[i].group, WORKLOAD_GROUPS);
		ck_assert_uint_ge(workloads[i].group, i ? workloads[i - 1].group : 0);
		used[workloads[i].group]++;
	}
	for (int group = 0; group < WORKLOAD_GROUPS; group++) {
		ck_assert_uint_gt(used[group], 0);
		ck_assert(is_name(workload_group_name((enum workload_group)group), sizeof(((struct row *)0)->group)));
		for (int other = 0; other < group; other++)
			ck_assert_str_ne(workload_group_name((enum workload_group)group),
					 workload_group_name((enum workload_group)other));
	}
}
END_TEST

START_TEST(texts_are_sentences)
{
	for (size_t i = 0; i < workload_count; i++) {
		const struct workload *w = &workloads[i];

		ck_assert_msg(is_line(w->what, sizeof(((struct row *)0)->what)), "%s: '%s'", w->name, w->what);
		ck_assert_msg(w->what[strlen(w->what) - 1] != '.', "%s: '%s'", w->name, w->what);
		ck_assert_msg(is_line(w->isolates, SENTENCE_MAX), "%s: '%s'", w->name, w->isolates);
		ck_assert_msg(isupper((unsigned char)w->isolates[0]), "%s: '%s'", w->name, w->isolates);
		ck_assert_msg(w->isolates[strlen(w->isolates) - 1] == '.', "%s: '%s'", w->name, w->isolates);
	}
}
END_TEST

/* Work of one that maps large pages says so, and memory is from half the reach of the TLB to eight times. */
START_TEST(numbers_are_sound)
{
	for (size_t i = 0; i < workload_count; i++) {
		const struct workload *w = &workloads[i];

		ck_assert_uint_gt(w->count, 0);
		ck_assert_int_eq(w->pages == WORKLOAD_2M, strstr(w->operation, "-2m") != NULL);
		ck_assert(w->pages == WORKLOAD_4K || w->pages == WORKLOAD_2M);
		ck_assert_int_eq(w->group == WORKLOAD_REACH, w->reach > 0);
		ck_assert(w->reach == 0 || (w->reach >= 4 && w->reach <= 64));
	}
}
END_TEST

START_TEST(workloads_are_found_by_name)
{
	static const char *const unknown[] = {"", "x", "system-cal", "system-calls", "System-call", "nanobenchmarks"};

	for (size_t i = 0; i < workload_count; i++)
		ck_assert_ptr_eq(workload_find(workloads[i].name), &workloads[i]);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		ck_assert_ptr_null(workload_find(unknown[i]));
}
END_TEST

static bool guest_holds(const char *word)
{
	size_t size = (size_t)(benchmark_guest_image_end - benchmark_guest_image);

	return memmem(benchmark_guest_image, size, word, strlen(word) + 1) != NULL;
}

/* Each operation is a string of the guest; that it does what it should is for the tests that run it (tests/vm). */
START_TEST(the_guest_knows_the_operations)
{
	for (size_t i = 0; i < workload_count; i++)
		ck_assert_msg(guest_holds(workloads[i].operation), "%s", workloads[i].operation);
	ck_assert(!guest_holds("no-such-operation"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		names_are_unique, work_is_unique, groups_are_in_order_and_used, texts_are_sentences, numbers_are_sound,
		workloads_are_found_by_name, the_guest_knows_the_operations,
	};

	return RUN_TESTS("compare-workload", tests);
}
