/*
 * Catches what the code under test says on stderr, so that a test can look at its words.
 */
#pragma once

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int saved, file;
	char text[4096];
};

/* From here on stderr goes into the capture, until capture_end(). */
static inline void capture_begin(struct capture *c)
{
	fflush(stderr);
	c->saved = dup(STDERR_FILENO);
	c->file = memfd_create("stderr", MFD_CLOEXEC);
	ck_assert_int_ge(c->saved, 0);
	ck_assert_int_ge(c->file, 0);
	ck_assert_int_ge(dup2(c->file, STDERR_FILENO), 0);
}

/* Puts stderr back; returns what was said, NUL-terminated, in c. */
static inline const char *capture_end(struct capture *c)
{
	ssize_t n;

	fflush(stderr);
	ck_assert_int_ge(dup2(c->saved, STDERR_FILENO), 0);
	n = pread(c->file, c->text, sizeof(c->text) - 1, 0);
	ck_assert_int_ge((int)n, 0);
	c->text[n] = '\0';
	close(c->saved);
	close(c->file);
	return c->text;
}

/* Exactly one line of the program's form, with `part` in it. */
static inline void assert_one_line(const char *text, const char *part)
{
	const char *end = strchr(text, '\n');

	ck_assert_msg(!strncmp(text, "penumbra: ", 10), "not our form: '%s'", text);
	ck_assert_msg(end && !end[1], "not one line: '%s'", text);
	ck_assert_msg(strstr(text, part), "'%s' is not in '%s'", part, text);
}
