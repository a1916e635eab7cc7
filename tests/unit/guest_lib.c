/*
 * The pure parts of the guest library: formatting against the C library's own, numbers against arithmetic in 128 bits,
 * words against cases.
 */
#include <check.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "guest/lib/format.h"
#include "guest/lib/lcg.h"
#include "guest/lib/parse.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define ROUNDS 200000

static size_t ours(char *to, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = format(to, size, fmt, args);
	va_end(args);
	return length;
}

/* A conversion with random flags and width, such as "%-012lx"; the zero flag only where C defines it. */
static void random_spec(struct random *r, char *spec, const char *conversion)
{
	bool number = strchr("sc", conversion[strlen(conversion) - 1]) == NULL;

	*spec++ = '%';
	if (random_below(r, 3) == 0)
		*spec++ = '-';
	if (number && random_below(r, 3) == 0)
		*spec++ = '0';
	if (random_below(r, 2) == 0)
		spec += sprintf(spec, "%d", 1 + (int)random_below(r, 25));
	strcpy(spec, conversion);
}

static uint64_t random_value(struct random *r)
{
	static const uint64_t edges[] = { 0, 1, 9, 10, INT32_MAX, 1ull << 31, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX };

	if (random_below(r, 4) == 0)
		return edges[random_below(r, sizeof(edges) / sizeof(edges[0]))];
	return random_next(r) >> random_below(r, 64);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

START_TEST(formats_like_libc)
{
	static const char *const conversions[] = { "d", "i", "u", "x", "ld", "lu", "lx", "zu", "llu", "c", "s" };
	struct random r = random_start("guest_lib");
	char spec[64], fmt[96], got[64], wanted[256];

	for (int i = 0; i < ROUNDS; i++) {
		size_t kind = random_below(&r, sizeof(conversions) / sizeof(conversions[0]));
		size_t size = 1 + random_below(&r, sizeof(got) - 1);
		uint64_t value = random_value(&r);
		size_t length;

		random_spec(&r, spec, conversions[kind]);
		sprintf(fmt, "a%%%%b %s|", spec);
		memset(got, 'z', sizeof(got));
		if (kind == 10) {
			length = ours(got, size, fmt, "some text");
			snprintf(wanted, sizeof(wanted), fmt, "some text");
		} else if (kind == 9) {
			length = ours(got, size, fmt, 'q');
			snprintf(wanted, sizeof(wanted), fmt, 'q');
		} else {
			length = ours(got, size, fmt, value);
			snprintf(wanted, sizeof(wanted), fmt, value);
		}
		if (strlen(wanted) >= size)
			wanted[size - 1] = '\0';
		ck_assert_msg(strcmp(got, wanted) == 0, "'%s': '%s', not '%s'", fmt, got, wanted);
		ck_assert_uint_eq(length, strlen(wanted));
		ck_assert_msg(length + 1 == sizeof(got) || got[length + 1] == 'z', "wrote beyond the NUL");
	}
}
END_TEST

START_TEST(formats_oddities)
{
	char got[32];

	ours(got, sizeof(got), "%p", (void *)0x1234);
	ck_assert_str_eq(got, "0x1234");
	ours(got, sizeof(got), "100%");
	ck_assert_str_eq(got, "100%");
	ours(got, sizeof(got), "%5");
	ck_assert_str_eq(got, "%5");
	ours(got, sizeof(got), "%q%d", 7);
	ck_assert_str_eq(got, "%q7");
	ck_assert_uint_eq(ours(got, 1, "abc"), 0);
	ck_assert_str_eq(got, "");
}
END_TEST

#pragma GCC diagnostic pop

/* Whether `text` is a number below 2^64, the plain way. */
static bool number_oracle(const char *text, uint64_t *value)
{
	bool hex = strncmp(text, "0x", 2) == 0;
	const char *digits = hex ? "0123456789abcdef" : "0123456789";
	unsigned __int128 sum = 0;

	text += hex ? 2 : 0;
	if (strlen(text) == 0 || strlen(text) > 24 || strspn(text, digits) != strlen(text))
		return false;
	for (; *text; text++)
		sum = sum * (hex ? 16 : 10) + (unsigned int)(strchr(digits, *text) - digits);
	*value = (uint64_t)sum;
	return sum <= UINT64_MAX;
}

START_TEST(numbers)
{
	static const char alphabet[] = "0123456789abcdefx -g";
	struct random r = random_start("guest_lib");
	uint64_t got, wanted;
	char text[32];

	for (int i = 0; i < ROUNDS; i++) {
		size_t length = random_below(&r, 24);
		size_t letters = random_below(&r, 4) == 0 ? sizeof(alphabet) - 1 : 10;
		size_t at = 0;
		bool good;

		if (random_below(&r, 3) == 0)
			at = (size_t)sprintf(text, "0x");
		for (size_t j = 0; j < length; j++)
			text[at++] = alphabet[random_below(&r, letters)];
		text[at] = '\0';
		good = number_oracle(text, &wanted);
		ck_assert_msg(parse_number(text, &got) == good, "'%s'", text);
		ck_assert_msg(!good || got == wanted, "'%s' read as %" PRIu64, text, got);
	}
	ck_assert(parse_number("18446744073709551615", &got) && got == UINT64_MAX);
	ck_assert(!parse_number("18446744073709551616", &got));
}
END_TEST

START_TEST(options)
{
	uint64_t value = 5;

	ck_assert(parse_option("zero=12", "zero", &value) && value == 12);
	ck_assert(!parse_option("zero", "zero", &value));
	ck_assert(!parse_option("zer=1", "zero", &value));
	ck_assert(!parse_option("zeros=1", "zero", &value));
	ck_assert(!parse_option("zero=", "zero", &value));
	ck_assert(!parse_option("zero=x", "zero", &value));
	ck_assert(!parse_option("", "zero", &value));
}
END_TEST

START_TEST(words)
{
	static const struct {
		const char *line;
		int max, count;
		const char *last;
	} cases[] = {
		{ "", 4, 0, NULL },	       { "   ", 4, 0, NULL },  { "one", 4, 1, "one" },
		{ "  one   two ", 4, 2, "two" }, { "a b c", 3, 3, "c" }, { "a b c d", 3, 3, "c d" },
		{ "a b", 1, 1, "a b" },	       { "a", 0, 0, NULL },
	};
	char *found[4];
	char line[32];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(line, cases[i].line);
		ck_assert_int_eq(parse_words(line, found, cases[i].max), cases[i].count);
		if (cases[i].count > 0)
			ck_assert_str_eq(found[cases[i].count - 1], cases[i].last);
	}
}
END_TEST

/* The chain step by step against its end in one go, from any state; steps beyond any loop, by going them in two parts. */
START_TEST(chains)
{
	struct random r = random_start("guest_lib chains");

	for (uint64_t steps = 0; steps < 3000; steps++) {
		uint64_t start = random_next(&r), state = start;

		for (uint64_t i = 0; i < steps; i++)
			state = lcg_next(state);
		ck_assert_uint_eq(lcg_after(start, steps), state);
	}
	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t start = random_next(&r), first = random_next(&r) >> 1, second = random_next(&r) >> 1;

		ck_assert_uint_eq(lcg_after(start, first + second), lcg_after(lcg_after(start, first), second));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {formats_like_libc, formats_oddities, numbers, options, words, chains};

	return RUN_TESTS("guest_lib", tests);
}
