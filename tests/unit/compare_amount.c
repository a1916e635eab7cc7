/*
 * Numbers and texts for people, read back.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/amount.h"
#include "compare/label.h"
#include "compare/markup.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define RUNS 200000
#define ODD 0xff /* a byte that is in no UTF-8 */

static double unit_us(const char *unit)
{
	static const struct {
		const char *name;
		double us;
	} units[] = {{"ns", 1e-3}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!strncmp(unit, units[i].name, strlen(units[i].name)))
			return units[i].us;
	ck_abort_msg("unit %s", unit);
	return 0;
}

static void expect_close(double got, double value, double tolerance, const char *text)
{
	expect_msg(fabs(got - value) <= tolerance * fabs(value), "%s is not %g", text, value);
}

/* Between 10^low and 10^high. */
static double random_size(struct random *r, double low, double high)
{
	return pow(10, low + (high - low) * (double)random_below(r, 1 << 20) / (1 << 20));
}

START_TEST(times)
{
	struct random r = random_start("times");

	for (unsigned int i = 0; i < RUNS; i++) {
		double us = random_size(&r, -4, 9);
		char text[AMOUNT_ROOM], *unit;
		double number = strtod(amount_time(text, us), &unit);

		expect(*unit == ' ');
		expect_close(number * unit_us(unit + 1), us, us < 1e-3 ? 0.051 : 0.0051, text);
		expect_msg(unit - text <= 7, "%s", text);
		expect_msg(number < 1000.5 || us > 1e9 || unit_us(unit + 1) == 1e6, "%s", text);
	}
}
END_TEST

START_TEST(counts_and_ratios)
{
	struct random r = random_start("counts_and_ratios");

	for (unsigned int i = 0; i < RUNS; i++) {
		struct verdict v = {.kind = VERDICT_DIFFERS, .ratio = random_size(&r, -8, 12)};
		double n = random_size(&r, -4, 12);
		char text[AMOUNT_ROOM];

		amount_count(text, n);
		expect_close(strtod(text, NULL), n, n < 0.001 || n > 1e6 ? 0.5 : 0.051, text);
		expect_msg(strlen(text) <= 7, "%s", text);
		amount_verdict(text, &v);
		expect(text[0] == 'x');
		expect_close(strtod(text + 1, NULL), v.ratio, v.ratio < 0.001 || v.ratio > 1e6 ? 0.5 : 0.051, text);
		expect_msg(strlen(text) <= 8, "%s", text);
	}
}
END_TEST

START_TEST(spreads)
{
	struct random r = random_start("spreads");

	for (unsigned int i = 0; i < RUNS; i++) {
		double median = random_size(&r, -4, 7), min = median * 0.7, max = median * 1.9, low, high;
		struct spread s = {.n = 5, .median = median, .min = min, .max = max};
		char text[AMOUNT_ROOM], *at;

		amount_spread(text, &s);
		low = strtod(strchr(text, '(') + 1, &at);
		expect(*at == '-');
		high = strtod(at + 1, &at);
		expect_msg(!strcmp(at, ")"), "%s", text);
		at = strchr(text, ' ') + 1;
		expect_close(low * unit_us(at), min, 0.051, text);
		expect_close(high * unit_us(at), max, 0.051, text);
		expect_msg(strlen(text) <= 20, "%s", text);
	}
}
END_TEST

START_TEST(words)
{
	static const struct {
		double us;
		const char *text;
	} known[] = {{0.25e-3, "0.25 ns"}, {0, "0.00 ns"}, {1, "1.00 us"}, {999.4, "999 us"}, {12.34, "12.3 us"}, {4.5e3, "4.50 ms"},
		     {61e6, "61.0 s"}, {INFINITY, "? s"}, {NAN, "? ns"}};
	char text[AMOUNT_ROOM];

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		ck_assert_str_eq(amount_time(text, known[i].us), known[i].text);
	ck_assert_str_eq(amount_spread(text, &(struct spread){1, 12.5, 12.5, 12.5}), "12.5 us");
	ck_assert_str_eq(amount_count(text, 0), "0");
	ck_assert_str_eq(amount_count(text, 1e-9), "~0");
	ck_assert_str_eq(amount_verdict(text, &(struct verdict){.kind = VERDICT_NOISE, .ratio = 3}), "noise");
	ck_assert_str_eq(amount_verdict(text, &(struct verdict){.kind = VERDICT_SAME, .ratio = 1}), "same");
	ck_assert_str_eq(amount_verdict(text, &(struct verdict){.kind = VERDICT_NONE}), "-");
	ck_assert_str_eq(amount_bytes(text, 4096), "4 KiB");
	ck_assert_str_eq(amount_bytes(text, 2 << 20), "2 MiB");
	ck_assert_str_eq(amount_bytes(text, 1536ull * 4096), "6 MiB");
	ck_assert_str_eq(amount_bytes(text, 1537), "1537 bytes");
	ck_assert_str_eq(amount_bytes(text, 0), "unknown");
	ck_assert_str_eq(amount_share(text, 0.256), "26 %");
	ck_assert_str_eq(amount_share(text, 0.001), "less than 1 %");
}
END_TEST

/* Any bytes: what comes out has neither markup nor control characters in it, and reading it gives the text back. */
START_TEST(markup)
{
	static const struct {
		const char *name;
		char c;
	} entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}};
	struct random r = random_start("markup");

	for (unsigned int n = 0; n < 20000; n++) {
		char in[64], clean[LABEL_ROOM], back[LABEL_ROOM], *out = NULL;
		size_t size, length = random_below(&r, sizeof(in)), used = 0;
		FILE *f = open_memstream(&out, &size);

		for (size_t i = 0; i < length; i++)
			in[i] = random_below(&r, 3) ? "<>&\"'x;#\x01\n"[random_below(&r, 10)] : (char)(1 + random_below(&r, ODD));
		in[length] = '\0';
		markup_label(f, in);
		ck_assert_int_eq(fclose(f), 0);
		for (char *c = out; *c; c++) {
			size_t e = 0;

			expect(*c != '<' && *c != '>' && *c != '"' && *c != '\'' && (unsigned char)*c >= ' ' && *c != 0x7f);
			while (*c == '&' && e < 5 && strncmp(c, entities[e].name, strlen(entities[e].name)))
				e++;
			expect(e < 5);
			back[used++] = *c == '&' ? entities[e].c : *c;
			c += *c == '&' ? strlen(entities[e].name) - 1 : 0;
		}
		back[used] = '\0';
		expect(!strcmp(back, label(clean, in)));
		free(out);
	}
}
END_TEST

START_TEST(widths)
{
	ck_assert_uint_eq(label_width("abc"), 3);
	ck_assert_uint_eq(label_width("\303\251t\303\251"), 3);
	ck_assert_uint_eq(label_prefix("\303\251t\303\251", 1), 2);
	ck_assert_uint_eq(label_prefix("\303\251t\303\251", 3), 5);
	ck_assert_uint_eq(label_prefix("abc", 7), 3);
	ck_assert_uint_eq(label_prefix("abc", 0), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {times, counts_and_ratios, spreads, words, markup, widths};

	return RUN_TESTS("compare_amount", tests);
}
