/*
 * Marks in a log: where a snapshot was taken is found, also by a copy of it, and what is half written at the end is not used.
 */
#include "replay/mark_find.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "snapshot/reason.h"
#include "tests/vm/suite.h"

#define BEGINS 1000u

static const uint8_t log_id[LOG_ID_BYTES] = {1}, start[LOG_ID_BYTES] = {2}, first[EVENT_ID_BYTES] = {3}, second[EVENT_ID_BYTES] = {4},
		     copy[EVENT_ID_BYTES] = {5}, nobody[EVENT_ID_BYTES] = {6};

static struct event mark(uint64_t position, enum event_mark what, const uint8_t *id, const uint8_t *of, uint64_t digest)
{
	struct event e = {.kind = EVENT_MARK, .position = position, .mark = {.what = what, .digest = digest}};

	memcpy(e.mark.id, id, sizeof(e.mark.id));
	if (of)
		memcpy(e.mark.of, of, sizeof(e.mark.of));
	return e;
}

static struct event clock_step(uint64_t position)
{
	return (struct event){.kind = EVENT_CLOCK, .position = position, .ns = 5};
}

static struct event page(uint64_t position)
{
	return (struct event){.kind = EVENT_PAGE, .position = position, .packed = {1, 0, ""}};
}

/* A log of these events, each in a block of its own, and bytes behind them. */
static int make_log(const struct event *e, size_t count, size_t behind)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct log_writer w;

	ck_assert_int_eq(log_writer_open(&w, fd, log_id, start, BEGINS), 0);
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_eq(log_writer_put(&w, &e[i]), 0);
		ck_assert_int_eq(log_writer_flush(&w), 0);
	}
	ck_assert_int_eq(ftruncate(fd, (off_t)(w.at + behind)), 0);
	log_writer_close(&w);
	return fd;
}

static int find(int fd, const uint8_t *id, struct mark_place *p)
{
	struct reason why = {.text = ""};

	return mark_find(fd, "log", id, p, &why);
}

static void assert_place(int fd, const uint8_t *id, struct mark_place wanted)
{
	struct mark_place p;

	ck_assert_int_eq(find(fd, id, &p), 1);
	ck_assert_uint_eq(p.events, wanted.events);
	ck_assert_uint_eq(p.position, wanted.position);
	ck_assert_uint_eq(p.digest, wanted.digest);
	ck_assert_uint_eq(p.use, wanted.use);
	ck_assert_uint_eq(p.ends, wanted.ends);
	ck_assert_uint_eq(p.unused, wanted.unused);
}

START_TEST(found)
{
	const struct event e[] = {
		clock_step(1001), mark(1002, MARK_SAVED, first, NULL, 11), clock_step(1003), mark(1003, MARK_SAVED, second, NULL, 12),
		mark(1004, MARK_BEGUN, nobody, NULL, 0), mark(1005, MARK_COPIED, copy, second, 0), clock_step(1006),
	};
	struct mark_place p;
	int fd = make_log(e, sizeof(e) / sizeof(*e), 0);

	assert_place(fd, start, (struct mark_place){0, BEGINS, 0, 7, 1006, 0});
	assert_place(fd, first, (struct mark_place){2, 1002, 11, 5, 1006, 0});
	assert_place(fd, second, (struct mark_place){4, 1003, 12, 3, 1006, 0});
	assert_place(fd, copy, (struct mark_place){4, 1003, 12, 3, 1006, 0});
	ck_assert_int_eq(find(fd, nobody, &p), 0);
	close(fd);
}
END_TEST

/* A copy of one that was not the last one, or of none, says nothing. */
START_TEST(odd_copies)
{
	const struct event e[] = {
		mark(1000, MARK_COPIED, nobody, start, 0), mark(1002, MARK_SAVED, first, NULL, 11), mark(1003, MARK_SAVED, second, NULL, 12),
		mark(1005, MARK_COPIED, copy, first, 0),
	};
	struct mark_place p;
	int fd = make_log(e, sizeof(e) / sizeof(*e), 0);

	ck_assert_int_eq(find(fd, copy, &p), 0);
	ck_assert_int_eq(find(fd, nobody, &p), 0);
	close(fd);
}
END_TEST

/* Pages without their state are as if they were not there; with it they are. */
START_TEST(half_points)
{
	const struct event e[] = {
		mark(1002, MARK_SAVED, first, NULL, 11), page(1003), {.kind = EVENT_STATE, .position = 1003, .packed = {0, 0, ""}}, page(1007), page(1007),
	};
	int fd = make_log(e, 5, 17);

	assert_place(fd, first, (struct mark_place){1, 1002, 11, 2, 1003, 17});
	close(fd);
	fd = make_log(e, 2, 0);
	assert_place(fd, first, (struct mark_place){1, 1002, 11, 0, 1002, 0});
	close(fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {found, odd_copies, half_points};

	return RUN_TESTS("replay_mark", tests);
}
