/*
 * Progress of long work: what a terminal shows of it, and that nothing else does.
 */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/vm/suite.h"
#include "vmm/progress.h"

/* Standard error is a terminal of so many columns, whose other end is returned. */
static int open_terminal(unsigned short columns)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct winsize size = {.ws_row = 24, .ws_col = columns};

	ck_assert_int_ge(master, 0);
	ck_assert(grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(slave, 0);
	ck_assert_int_eq(ioctl(slave, TIOCSWINSZ, &size), 0);
	ck_assert_int_ge(dup2(slave, STDERR_FILENO), 0);
	close(slave);
	ck_assert_int_eq(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	return master;
}

/* All of it: what was written may come in pieces. */
static char *shown(int terminal)
{
	static char text[65536];
	struct pollfd ready = {.fd = terminal, .events = POLLIN};
	size_t used = 0;
	ssize_t n;

	while (poll(&ready, 1, 200) > 0 && (n = read(terminal, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return text;
}

static void work(const char *what, unsigned int ms)
{
	struct progress p;

	progress_begin(&p, what, 10 << 20);
	for (unsigned int i = 0; i < 10; i++) {
		usleep(ms * 100);
		progress_add(&p, 1 << 20);
	}
	progress_end(&p);
}

START_TEST(long_work)
{
	int terminal = open_terminal(80);
	const char *text, *line;

	work("a \033[2J path", 1000);
	text = shown(terminal);
	line = strstr(text, " of 10 MiB, ");
	ck_assert_msg(line && strstr(line, " MB/s  a ?[2J path"), "'%s'", text);
	ck_assert_msg(strstr(text, " 90 %  9 of 10 MiB"), "'%s'", text);
	ck_assert_ptr_null(strchr(text, '\n'));
	ck_assert_str_eq(text + strlen(text) - 4, "\r\033[K");
}
END_TEST

START_TEST(short_work)
{
	int terminal = open_terminal(80);

	work("a path", 100);
	ck_assert_str_eq(shown(terminal), "");
}
END_TEST

START_TEST(narrow)
{
	int terminal = open_terminal(20);

	work("a path that is longer than this", 1000);
	for (char *at = strtok(shown(terminal), "\r"); at; at = strtok(NULL, "\r"))
		ck_assert_uint_le(strlen(at), strlen("\033[K") + 19);
}
END_TEST

START_TEST(no_terminal)
{
	int file = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
	work("a path", 1000);
	progress_line("a line");
	progress_no_line();
	ck_assert_int_eq(lseek(file, 0, SEEK_END), 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {long_work, short_work, narrow, no_terminal};

	return RUN_TESTS("progress", tests);
}
