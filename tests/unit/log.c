/*
 * Log lines: their form whatever is put into them, levels, return values.
 */
#include "vmm/log.h"

#include <check.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/capture.h"
#include "tests/vm/suite.h"
#include "vmm/ensure.h"

START_TEST(levels_select_lines)
{
	for (int limit = LOG_ERROR; limit <= LOG_DEBUG; limit++) {
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			struct capture c;

			log_set_level((enum log_level)limit);
			ck_assert_int_eq(log_get_level(), limit);
			capture_begin(&c);
			log_print((enum log_level)level, "one %d", 2);
			ck_assert_str_eq(capture_end(&c), level <= limit ? "penumbra: one 2\n" : "");
		}
	}
}
END_TEST

START_TEST(parses_names_and_nothing_else)
{
	static const char *const bad[] = { "", "err", "errors", "Error", " error", "0", "warning" };
	static const char *const good[] = { "error", "warn", "info", "debug" };
	enum log_level level = LOG_INFO;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(log_level_parse(bad[i], &level), -EINVAL);
	ck_assert_int_eq(level, LOG_INFO);
	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(log_level_parse(good[i], &level), 0);
		ck_assert_int_eq(level, i);
	}
}
END_TEST

START_TEST(no_byte_makes_a_second_line)
{
	char text[256];
	struct capture c;
	const char *said;

	for (int i = 1; i < 256; i++)
		text[i - 1] = (char)i;
	text[255] = '\0';
	capture_begin(&c);
	log_print(LOG_ERROR, "a%sz", text);
	said = capture_end(&c);
	assert_one_line(said, "a????");
	ck_assert_uint_eq(strlen(said), strlen("penumbra: az\n") + 255);
	for (const char *p = said; p[1]; p++)
		ck_assert_msg((unsigned char)*p >= 0x20 && *p != 0x7f, "control character 0x%02x", *p);
}
END_TEST

/* 0x9b is to many terminals what ESC and [ are, in UTF-8 as well as on its own. */
START_TEST(other_than_text_is_not_shown)
{
	struct capture c;

	capture_begin(&c);
	log_print(LOG_ERROR, "\xc3\xa4 \x9b" "31m \xc2\x9b" "31m \xe2\x80\xae \xff");
	ck_assert_str_eq(capture_end(&c), "penumbra: \xc3\xa4 ?31m ??31m ??? ?\n");
}
END_TEST

START_TEST(a_long_line_stays_one_line)
{
	char text[3000];
	struct capture c;
	const char *said;

	for (size_t length = 900; length < sizeof(text); length++) {
		memset(text, 'x', length);
		text[length] = '\0';
		capture_begin(&c);
		log_errno(ENOENT, "%s", text);
		said = capture_end(&c);
		assert_one_line(said, "xxx");
		if (length < 950)
			ck_assert_ptr_nonnull(strstr(said, "x: No such file or directory\n"));
		if (length > 1100)
			length += 97;
	}
}
END_TEST

START_TEST(errors_say_why_and_return_it)
{
	struct capture c;

	log_set_level(LOG_ERROR);
	capture_begin(&c);
	ck_assert_int_eq(log_errno(EACCES, "open %s", "disk"), -EACCES);
	ck_assert_str_eq(capture_end(&c), "penumbra: open disk: Permission denied\n");
	capture_begin(&c);
	ck_assert_int_eq(log_bad(EINVAL, "size %d: odd", 3), -EINVAL);
	ck_assert_str_eq(capture_end(&c), "penumbra: size 3: odd\n");
	capture_begin(&c);
	ck_assert_int_eq(log_errno(99999, "odd"), -99999);
	assert_one_line(capture_end(&c), "odd: ");
}
END_TEST

START_TEST(errno_survives)
{
	struct capture c;

	capture_begin(&c);
	errno = 1234;
	log_print(LOG_ERROR, "x");
	ck_assert_int_eq(errno, 1234);
	capture_end(&c);
}
END_TEST

static sigjmp_buf after_abort;

static void on_abort(int signal)
{
	siglongjmp(after_abort, signal);
}

START_TEST(a_bug_names_its_place)
{
	static struct capture c;
	struct sigaction action = { .sa_handler = on_abort }, old;
	const char *said;

	ensure(1 + 1 == 2);
	ck_assert_int_eq(sigaction(SIGABRT, &action, &old), 0);
	capture_begin(&c);
	if (!sigsetjmp(after_abort, 1))
		ensure(1 + 1 == 3);
	said = capture_end(&c);
	sigaction(SIGABRT, &old, NULL);
	assert_one_line(said, "tests/unit/log.c:");
	assert_one_line(said, "1 + 1 == 3");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		levels_select_lines, parses_names_and_nothing_else, no_byte_makes_a_second_line, other_than_text_is_not_shown,
		a_long_line_stays_one_line, errors_say_why_and_return_it, errno_survives, a_bug_names_its_place,
	};

	return RUN_TESTS("log", tests);
}
