/*
 * Hostile text on its way to a terminal: exhaustive over short sequences, with the C library's own
 * UTF-8 decoder as the oracle.
 */
#include "vmm/printable.h"

#include <check.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "tests/vm/suite.h"

static const struct {
	const char *in, *out;
} cases[] = {
	{ "", "" },
	{ "kmain", "kmain" },
	{ "a\tb\nc\033[31md\177", "a?b?c?[31md?" },
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ "\xc2\x9b" "31m", "??31m" },		 /* CSI of the C1 controls */
	{ "\xc0\xaf\xe0\x80\xaf", "?????" },	 /* longer than it need be */
	{ "\xed\xa0\x80", "???" },		 /* half of a surrogate pair */
	{ "\xf4\x90\x80\x80", "????" },		 /* beyond Unicode */
	{ "\xe2\x80\xae" "evil", "???evil" },	 /* turns the order of reading */
	{ "\xe2\x82", "??" },			 /* ends too early */
	{ "\x80\xff\xfe", "???" },
};

START_TEST(known)
{
	char out[64];

	ck_assert_str_eq(printable(out, sizeof(out), cases[_i].in, SIZE_MAX), cases[_i].out);
}
END_TEST

START_TEST(room)
{
	char out[8] = "zzzzzzz";

	ck_assert_str_eq(printable(out, 1, "abc", SIZE_MAX), "");
	ck_assert_str_eq(printable(out, 4, "abcdef", SIZE_MAX), "abc");
	ck_assert_int_eq(out[4], 'z');
	ck_assert_str_eq(printable(out, 4, "ab\xe2\x82\xac", SIZE_MAX), "ab");
	ck_assert_str_eq(printable(out, 8, "abcdef", 2), "ab");
	ck_assert_str_eq(printable(out, 8, "\xe2\x82\xac", 2), "??");
}
END_TEST

/* What the C library takes for one whole character, which is not a control of any kind. */
static bool decodes(const char *in, size_t size)
{
	mbstate_t state = { 0 };
	wchar_t c;

	if (mbrtowc(&c, in, size, &state) != size)
		return false;
	if (c < 0x20 || (c >= 0x7f && c < 0xa0))
		return false;
	return !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

/* Whether text consists of such characters alone. */
static bool decodes_all(const char *text, size_t size)
{
	size_t at = 0;

	while (at < size) {
		size_t part = 1;

		while (part <= size - at && !decodes(text + at, part))
			part++;
		if (part > size - at)
			return false;
		at += part;
	}
	return true;
}

/* Such text is kept as it is, other text is not, and neither changes its length. */
static void check_text(const char *text)
{
	char out[8];
	size_t size = strlen(text);

	printable(out, sizeof(out), text, size);
	if (strlen(out) != size || decodes_all(text, size) != !strcmp(out, text))
		ck_abort_msg("%02x %02x ...", text[0] & 0xff, text[1] & 0xff);
}

/* Up to two bytes, and three of which the first begins something. */
START_TEST(all_short)
{
	if (!setlocale(LC_ALL, "C.UTF-8"))
		ck_abort_msg("the C library has no C.UTF-8");
	for (uint32_t n = 1; n < 1 << 16; n++) {
		char two[3] = { (char)(n >> 8), (char)n, '\0' };

		check_text(n >> 8 ? two : two + 1);
	}
	for (uint32_t n = 0xc0 << 16; n < 1 << 24; n++) {
		char three[4] = { (char)(n >> 16), (char)(n >> 8), (char)n, '\0' };

		check_text(three);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("printable");

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, known, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tcase, room);
	tcase_add_test(tcase, all_short);
	return run_case("printable", tcase);
}
