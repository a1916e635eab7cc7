/*
 * At which instructions the asynchronous points of a log are, against a count of those that were put in; in logs that were cut off or
 * damaged as far as they are good, and while somebody else reads the file.
 */
#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/log_writer.h"
#include "replay/packed.h"
#include "replay/point_census.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define RIPS 40u
#define EVENTS 600u
#define FLUSHES 50u /* about so many events to a block */

/* Where each block ends, and how many points of each instruction there are up to there. */
struct log {
	int fd;
	unsigned int blocks;
	uint64_t end[EVENTS];
	size_t count[EVENTS][RIPS];
};

static uint64_t rip_of(unsigned int i)
{
	return 0xffffffff81000000 + 16 * (uint64_t)i;
}

static void put(struct log_writer *w, struct random *r, size_t count[RIPS])
{
	uint8_t state[EVENT_PACKED_MOST];
	struct event e = {.kind = EVENT_CLOCK, .position = w->position + random_below(r, 3), .ns = 1};
	unsigned int i = (unsigned int)(random_below(r, RIPS) * random_below(r, RIPS) / RIPS); /* some oftener than others, one never */
	const struct cpu_state cpu = {.rip = rip_of(i)};
	int64_t size;

	if (random_below(r, 3)) {
		size = packed_state(&cpu, state);
		ck_assert_int_gt(size, 0);
		e = (struct event){.kind = EVENT_STATE, .position = e.position, .packed = {.bytes = state, .size = (uint32_t)size}};
		count[i]++;
	}
	ck_assert_int_eq(log_writer_put(w, &e), 0);
}

static struct log make_log(struct random *r, unsigned int events)
{
	struct log l = {.fd = memfd_create("log", MFD_CLOEXEC)};
	static const uint8_t id[LOG_ID_BYTES];
	struct log_writer w;
	size_t count[RIPS] = {0};

	ck_assert_int_eq(log_writer_open(&w, l.fd, id, id, 0), 0);
	l.end[0] = w.at;
	for (unsigned int n = 0; n < events; n++) {
		put(&w, r, count);
		if (!random_below(r, FLUSHES) || n == events - 1) {
			ck_assert_int_eq(log_writer_flush(&w), 0);
			l.end[++l.blocks] = w.at;
			memcpy(l.count[l.blocks], count, sizeof(count));
		}
	}
	log_writer_close(&w);
	return l;
}

static void expect_up_to(const struct log *l, unsigned int blocks)
{
	off_t before = lseek(l->fd, 7, SEEK_SET);
	struct point_census c;

	ck_assert_int_eq(point_census_take(&c, l->fd, "log"), 0);
	for (unsigned int i = 0; i < RIPS; i++) {
		ck_assert_uint_eq(point_census_at(&c, rip_of(i)), l->count[blocks][i]);
		ck_assert_uint_eq(point_census_at(&c, rip_of(i) + 1), 0);
	}
	ck_assert_uint_eq(point_census_at(&c, 0), 0);
	ck_assert_uint_eq(point_census_at(&c, UINT64_MAX), 0);
	ck_assert_int_eq(lseek(l->fd, 0, SEEK_CUR), before);
	point_census_free(&c);
	ck_assert_uint_eq(point_census_at(&c, rip_of(0)), 0);
}

START_TEST(test_counts)
{
	struct random r = random_start("census");

	for (unsigned int events = 0; events < EVENTS; events += events < 5 ? 1 : 97) {
		struct log l = make_log(&r, events);

		expect_up_to(&l, l.blocks);
		close(l.fd);
	}
}
END_TEST

/* Up to the last whole block; and nothing, of what is not even a log. */
START_TEST(test_cut_off)
{
	struct random r = random_start("census, cut off");
	struct log l = make_log(&r, EVENTS);

	for (unsigned int blocks = l.blocks; blocks; blocks--) {
		ck_assert_int_eq(ftruncate(l.fd, (off_t)(l.end[blocks] - 1 - random_below(&r, l.end[blocks] - l.end[blocks - 1]))), 0);
		expect_up_to(&l, blocks - 1);
	}
	for (off_t size = (off_t)l.end[0]; size >= 0; size -= 9) {
		ck_assert_int_eq(ftruncate(l.fd, size), 0);
		expect_up_to(&l, 0);
	}
	close(l.fd);
}
END_TEST

START_TEST(test_damaged)
{
	struct random r = random_start("census, damaged");

	for (unsigned int n = 0; n < 50; n++) {
		struct log l = make_log(&r, EVENTS);
		unsigned int block = (unsigned int)random_below(&r, l.blocks);
		off_t at = (off_t)(l.end[block] + random_below(&r, l.end[block + 1] - l.end[block]));
		uint8_t byte;

		ck_assert_int_eq(pread(l.fd, &byte, 1, at), 1);
		byte ^= (uint8_t)(1u << random_below(&r, 8));
		ck_assert_int_eq(pwrite(l.fd, &byte, 1, at), 1);
		expect_up_to(&l, block);
		close(l.fd);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_counts, test_cut_off, test_damaged};

	return RUN_TESTS("census", tests);
}
