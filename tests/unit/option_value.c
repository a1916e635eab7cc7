/*
 * Values of options: what is taken, and that a refusal is one line with the command's and the option's name. How the
 * commands use them is in tests/vm/bad_input.c and tests/vm/compare.c.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/capture.h"
#include "tests/vm/suite.h"
#include "vmm/option_value.h"

#define EXPECT_REFUSED(call, words)                                                                                    \
	do {                                                                                                           \
		struct capture c;                                                                                      \
		int r;                                                                                                 \
                                                                                                                       \
		capture_begin(&c);                                                                                     \
		r = call;                                                                                              \
		assert_one_line(capture_end(&c), words);                                                               \
		ck_assert_int_eq(r, -EINVAL);                                                                          \
	} while (0)

START_TEST(test_numbers)
{
	static const char *const bad[] = {"", "0", "8", "-1", "+1", " 1", "1 ", "1x", "0x1", "4294967297", "18446744073709551617"};
	unsigned int n = 0;
	char words[64];

	ck_assert_int_eq(option_number("run", "count", "1", 7, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(option_number("run", "count", "07", 7, &n), 0);
	ck_assert_uint_eq(n, 7);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(words, sizeof(words), "penumbra: what: --many=%s: give a number from 1 to 7\n", bad[i]);
		EXPECT_REFUSED(option_number("what", "many", bad[i], 7, &n), words);
	}
	ck_assert_uint_eq(n, 7);
}
END_TEST

START_TEST(test_timeouts)
{
	static const char *const bad[] = {"", "0", "-1", "nan", "inf", "1s", "1e10", "x"};
	uint64_t ms = 0;
	char words[96];

	ck_assert_int_eq(option_timeout("run", "0.0001", &ms), 0);
	ck_assert_uint_eq(ms, 1);
	ck_assert_int_eq(option_timeout("run", "1e9", &ms), 0);
	ck_assert_uint_eq(ms, 1000000000000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(words, sizeof(words), "penumbra: a: --timeout=%s: give a number of seconds above 0\n", bad[i]);
		EXPECT_REFUSED(option_timeout("a", bad[i], &ms), words);
	}
	ck_assert_uint_eq(ms, 1000000000000);
}
END_TEST

START_TEST(test_words)
{
	enum mem_huge huge = MEM_HUGE_NEVER;
	enum cpu_model cpu = CPU_MODEL_BASE;
	const char *file = NULL;

	ck_assert(option_huge("run", "on", &huge) == 0 && huge == MEM_HUGE_ADVISE);
	ck_assert(option_huge("run", "off", &huge) == 0 && huge == MEM_HUGE_NEVER);
	EXPECT_REFUSED(option_huge("b", "On", &huge), "penumbra: b: --hugepages=On: give on or off\n");
	ck_assert(option_cpu("run", "v2", &cpu) == 0 && cpu == CPU_MODEL_V2);
	ck_assert(option_cpu("run", "base", &cpu) == 0 && cpu == CPU_MODEL_BASE);
	EXPECT_REFUSED(option_cpu("c", "v3", &cpu), "penumbra: c: --cpu=v3: give base, v2 or notsc\n");
	ck_assert(option_file("run", "html", " ", &file) == 0 && !strcmp(file, " "));
	EXPECT_REFUSED(option_file("d", "html", "", &file), "penumbra: d: --html=: give the name of a file\n");
	ck_assert_str_eq(file, " ");
}
END_TEST

START_TEST(test_sizes)
{
	static const struct { const char *text; uint64_t bytes; } good[] = {
		{"1024k", 1 << 20}, {"64M", 64ull << 20}, {"3g", 3ull << 30}, {"1028K", 1028 << 10}, {"512G", 512ull << 30},
	};
	static const struct { const char *wanted, *text[14]; } bad[] = {
		{"give a number and K, M or G, such as 64M",
		 {"", "M", "64", "64MB", "64 M", "-1M", "+1M", "1.5G", "0x1M", "1B", "16777216T", "99999999999999999999K"}},
		{"must be between 1M and 512G", {"0K", "1020K", "513G", "1t", "16777215T"}},
		{"must be a multiple of 4K", {"1025K", "2050k"}},
	};
	uint64_t bytes = 0;
	char words[128];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ck_assert_msg(option_mem("run", good[i].text, &bytes) == 0, "'%s' is refused", good[i].text);
		ck_assert_uint_eq(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (size_t j = 0; bad[i].text[j]; j++) {
			snprintf(words, sizeof(words), "penumbra: a: --mem=%s: %s\n", bad[i].text[j], bad[i].wanted);
			EXPECT_REFUSED(option_mem("a", bad[i].text[j], &bytes), words);
		}
	ck_assert_uint_eq(bytes, 512ull << 30);
}
END_TEST

START_TEST(test_command_lines)
{
	static const struct { const char *word, *line; } steps[] = {
		{"", ""}, {"a", "a"}, {"bc", "a bc"}, {"", "a bc "}, {"d e", "a bc  d e"},
	};
	char *line = NULL;

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		ck_assert_int_eq(option_add_word("words", &line, steps[i].word), 0);
		ck_assert_str_eq(line, steps[i].line);
	}
	free(line);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_numbers, test_timeouts, test_words, test_sizes, test_command_lines};

	return RUN_TESTS("option-value", tests);
}
