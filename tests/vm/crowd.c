/*
 * More guests than processors, all of which live on system calls by INT 4 under a timer: the host interrupts them at every place
 * there is, the middle of an INT among them. One that KVM had to deliver yet and the VMM lost, or delivered twice or
 * elsewhere, breaks a guest. Seconds of that, over and over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define GUESTS 6u
#define SECONDS 5

static unsigned int count_lines(const char *text, const char *part)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

static void run_crowd(void)
{
	char line[64];
	struct outcome o;

	snprintf(line, sizeof(line), "run --count %u --mem 8M @procs -- 2", GUESTS);
	o = spawn_line(line, NULL);
	ck_assert_msg(o.status == 0 && o.err.size == 0, "status %d, complained '%.1000s'", o.status, o.err.data);
	ck_assert_msg(count_lines(o.out.data, "procs: all good") == GUESTS, "'%s'", o.out.data);
	outcome_free(&o);
}

START_TEST(test_crowd)
{
	time_t end = time(NULL) + SECONDS;
	unsigned int runs = 0;

	do {
		run_crowd();
		runs++;
	} while (time(NULL) < end);
	printf("crowd: %u guests %u times\n", GUESTS, runs);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {test_crowd};

	return RUN_TESTS("crowd", tests);
}
