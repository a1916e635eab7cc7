/*
 * The real-time clock against the C library's calendar, an alarm searched second by second, and rates checked as
 * inequalities of whole numbers.
 */
#include "vmm/rtc.h"

#include <time.h>

#include "tests/unit/board.h"

#define SECOND CLOCK_NS_PER_S

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D,
       CENTURY = 0x32 };

#define SET 0x80
#define PERIODIC 0x40
#define ALARM 0x20
#define UPDATE 0x10
#define BINARY 4
#define H24 2

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct rtc rtc;
};

static void bench_init(struct bench *b, uint64_t wall_ns)
{
	memset(b, 0, sizeof(*b));
	board_init(&b->board, wall_ns);
	rtc_init(&b->rtc, &b->board.bus, &b->board.clock, board_irq(&b->board, 8));
}

static uint8_t get(struct bench *b, uint8_t reg)
{
	board_outb(&b->board, 0x70, reg);
	return board_inb(&b->board, 0x71);
}

static void put(struct bench *b, uint8_t reg, uint8_t value)
{
	board_outb(&b->board, 0x70, reg);
	board_outb(&b->board, 0x71, value);
}

static void wait(struct bench *b, uint64_t ns)
{
	board_set_time(&b->board, b->board.now + ns);
}

/* How a byte of the time looks in a format. */
static uint8_t shown(int n, int format)
{
	return (uint8_t)(format & BINARY ? n : n / 10 % 10 * 16 + n % 10);
}

static uint8_t shown_hour(int hour, int format)
{
	if (format & H24)
		return shown(hour, format);
	if (hour == 0)
		return shown(12, format);
	if (hour <= 11)
		return shown(hour, format);
	return shown(hour == 12 ? 12 : hour - 12, format) + 0x80;
}

static void check_time(struct bench *b, time_t t, int format, int weekday)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	expect_eq(get(b, SECONDS), shown(tm.tm_sec, format));
	expect_eq(get(b, MINUTES), shown(tm.tm_min, format));
	expect_eq(get(b, HOURS), shown_hour(tm.tm_hour, format));
	expect_eq(get(b, WEEKDAY), weekday);
	expect_eq(get(b, DAY), shown(tm.tm_mday, format));
	expect_eq(get(b, MONTH), shown(tm.tm_mon + 1, format));
	expect_eq(get(b, YEAR), shown((tm.tm_year + 1900) % 100, format));
	expect_eq(get(b, CENTURY), shown((tm.tm_year + 1900) / 100, format));
}

static int weekday_of(time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	return tm.tm_wday + 1;
}

START_TEST(shows_wall_time)
{
	struct random r = random_start("rtc wall");

	for (int round = 0; round < 3000; round++) {
		uint64_t wall = random_next(&r) >> 3;
		struct bench b;

		bench_init(&b, wall);
		check_time(&b, (time_t)(wall / SECOND), H24, weekday_of((time_t)(wall / SECOND)));
		for (int i = 0; i < 5; i++) {
			time_t t;

			wait(&b, random_next(&r) >> (4 + random_below(&r, 40)));
			t = (time_t)((wall + b.board.now) / SECOND);
			check_time(&b, t, H24, weekday_of(t));
		}
	}
}
END_TEST

static void set_time(struct bench *b, time_t t, int format, int weekday)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	put(b, B, (uint8_t)(SET | format));
	put(b, SECONDS, shown(tm.tm_sec, format));
	put(b, MINUTES, shown(tm.tm_min, format));
	put(b, HOURS, shown_hour(tm.tm_hour, format));
	put(b, WEEKDAY, (uint8_t)weekday);
	put(b, DAY, shown(tm.tm_mday, format));
	put(b, MONTH, shown(tm.tm_mon + 1, format));
	put(b, YEAR, shown((tm.tm_year + 1900) % 100, format));
	put(b, CENTURY, shown((tm.tm_year + 1900) / 100, format));
}

/* Any second of the years 0 to 9999. */
static time_t random_date(struct random *r)
{
	return (time_t)random_below(r, 315569520000) - 62167219200;
}

START_TEST(a_guest_sets_it)
{
	struct random r = random_start("rtc set");

	for (int round = 0; round < 4000; round++) {
		uint64_t step = random_next(&r) >> (6 + random_below(&r, 40));
		int format = (int)random_below(&r, 4) * 2, weekday = 1 + (int)random_below(&r, 7);
		time_t t = random_date(&r), later;
		struct bench b;

		bench_init(&b, random_next(&r) >> 3);
		wait(&b, random_below(&r, 5 * SECOND));
		set_time(&b, t, format, weekday);
		wait(&b, random_below(&r, 5 * SECOND));
		check_time(&b, t, format, weekday); /* SET: it stands */
		put(&b, B, (uint8_t)format);
		check_time(&b, t, format, weekday);
		later = t - (time_t)((b.board.clock.wall_base_ns + b.board.now) / SECOND);
		wait(&b, step);
		later += (time_t)((b.board.clock.wall_base_ns + b.board.now) / SECOND);
		if (later >= 253402300800) /* the year 10000 */
			later -= 315569520000;
		weekday += (int)(((later + 62167219200) / 86400 - (t + 62167219200) / 86400) % 7);
		if (later < t) /* 10000 years have 3652425 days */
			weekday += 3652425 % 7;
		check_time(&b, later, format, (weekday + 6) % 7 + 1);
	}
}
END_TEST

static bool fits(uint8_t alarm, uint8_t now)
{
	return alarm >= 0xc0 || alarm == now;
}

/* Oracle: seconds after t until the alarm fits, at least 1; 0 = not within a day. */
static unsigned int alarm_after(time_t t, const uint8_t alarm[3], int format)
{
	for (unsigned int n = 1; n <= 86400; n++) {
		int of_day = (int)(((t + n) % 86400 + 86400) % 86400);

		if (fits(alarm[0], shown(of_day % 60, format)) && fits(alarm[1], shown(of_day / 60 % 60, format)) &&
		    fits(alarm[2], shown_hour(of_day / 3600, format)))
			return n;
	}
	return 0;
}

static uint8_t random_alarm(struct random *r, uint8_t good)
{
	switch (random_below(r, 8)) {
	case 0:
		return (uint8_t)random_next(r);
	case 1:
	case 2:
		return 0xc0 | (uint8_t)random_next(r);
	}
	return good;
}

START_TEST(alarms)
{
	struct random r = random_start("rtc alarm");
	unsigned int found = 0;

	for (int round = 0; round < 400; round++) {
		int format = (int)random_below(&r, 4) * 2;
		time_t t = random_date(&r);
		uint8_t alarm[3];
		unsigned int n, step;
		struct bench b;

		bench_init(&b, 1000 * SECOND);
		set_time(&b, t, format, 1);
		alarm[0] = random_alarm(&r, shown((int)random_below(&r, 60), format));
		alarm[1] = random_alarm(&r, shown((int)random_below(&r, 60), format));
		alarm[2] = random_alarm(&r, shown_hour((int)random_below(&r, 24), format));
		for (uint8_t i = 0; i < 3; i++)
			put(&b, (uint8_t)(SECONDS_ALARM + 2 * i), alarm[i]);
		put(&b, B, (uint8_t)(format | ALARM));
		n = alarm_after(t, alarm, format);
		found += n > 0;
		expect_eq(clock_next(&b.board.clock), n ? n * SECOND : CLOCK_NEVER);
		step = (unsigned int)random_below(&r, random_below(&r, 2) ? 100000 : 100);
		if (n && random_below(&r, 2))
			step = n - (unsigned int)random_below(&r, 2);
		wait(&b, step * SECOND);
		expect_eq(b.board.level[8], n && step >= n);
		expect_eq(get(&b, C) & ~PERIODIC, (n && step >= n ? 0x80 | ALARM : 0) | (step ? UPDATE : 0));
		expect(!b.board.level[8]);
		expect_eq(get(&b, C), 0);
	}
	expect(found > 40);
	expect(found < 390);
}
END_TEST

START_TEST(updates_interrupt_each_second)
{
	struct bench b;

	bench_init(&b, 12345 * SECOND + 250000000);
	put(&b, B, H24 | UPDATE);
	for (unsigned int i = 0; i < 20; i++) {
		expect_eq(clock_next(&b.board.clock), i * SECOND + 750000000);
		wait(&b, i * SECOND + 750000000 - 1 - b.board.now);
		expect(!b.board.level[8]);
		wait(&b, 1);
		expect(b.board.level[8]);
		expect_eq(clock_next(&b.board.clock), CLOCK_NEVER); /* until it is answered */
		expect_eq(get(&b, C) & ~PERIODIC, 0x80 | UPDATE);
	}
	put(&b, B, H24 | UPDATE | SET);
	expect_eq(get(&b, B), H24 | SET); /* SET switches it off */
	expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
}
END_TEST

/* Edge k of rate s is the first ns t with t / 10^9 >= k * 2^(s-1) / 32768. */
START_TEST(periodic_rates)
{
	struct random r = random_start("rtc periodic");

	for (uint8_t rate = 0; rate < 16; rate++) {
		uint64_t units = 1ull << (rate < 3 ? rate + 6 : rate - 1), last = 0;
		struct bench b;

		bench_init(&b, random_below(&r, 1000000) * SECOND);
		put(&b, A, 0x20 | rate);
		put(&b, B, H24 | PERIODIC);
		if (rate == 0) {
			expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
			continue;
		}
		for (int i = 0; i < 500; i++) {
			uint64_t t = clock_next(&b.board.clock), k = t * 32768 / (units * SECOND);

			expect(t * 32768 >= k * units * SECOND);
			expect((t - 1) * 32768 < k * units * SECOND);
			expect(k > last);
			expect_eq(get(&b, C) & PERIODIC, 0);
			wait(&b, t - 1 - b.board.now);
			expect(!b.board.level[8]);
			wait(&b, 1);
			expect(b.board.level[8]);
			expect_eq(get(&b, C) & 0xc0, 0x80 | PERIODIC);
			last = k;
			if (i % 3 == 0)
				wait(&b, random_below(&r, SECOND));
			else
				expect_eq(clock_next(&b.board.clock) * 32768 / (units * SECOND), k + 1);
			get(&b, C);
		}
	}
}
END_TEST

START_TEST(update_in_progress)
{
	struct random r = random_start("rtc uip");
	struct bench b;

	for (int i = 0; i < 20000; i++) {
		uint64_t in_second = random_below(&r, 2) ? SECOND - random_below(&r, 500000) - 1 : random_below(&r, SECOND);
		bool soon = in_second >= SECOND - 244000;

		bench_init(&b, 77 * SECOND + in_second);
		expect_eq(get(&b, A), 0x26 | soon << 7);
		put(&b, B, SET);
		expect_eq(get(&b, A), 0x26);
		put(&b, B, H24);
		put(&b, A, 0xff); /* UIP cannot be written; the divider is held */
		expect_eq(get(&b, A), 0x7f);
	}
}
END_TEST

START_TEST(the_divider_starts_anew)
{
	struct random r = random_start("rtc divider");

	for (int round = 0; round < 1000; round++) {
		uint64_t wall = random_next(&r) >> 3;
		uint8_t second;
		struct bench b;

		bench_init(&b, wall);
		put(&b, A, 0x66);
		second = get(&b, SECONDS);
		put(&b, B, H24 | UPDATE | PERIODIC);
		expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
		wait(&b, random_below(&r, 10 * SECOND));
		expect_eq(get(&b, SECONDS), second);
		expect_eq(get(&b, C), 0);
		put(&b, B, H24 | UPDATE);
		put(&b, A, 0x26);
		expect_eq(clock_next(&b.board.clock), b.board.now + SECOND / 2);
		wait(&b, SECOND / 2 - 1);
		expect_eq(get(&b, SECONDS), second);
		wait(&b, 1);
		expect_eq(get(&b, C) & (0x80 | UPDATE), 0x80 | UPDATE);
		expect(get(&b, SECONDS) != second);
		expect_eq(clock_next(&b.board.clock), b.board.now + SECOND);
	}
}
END_TEST

static int number(uint8_t byte, int format)
{
	return format & BINARY ? byte : (byte >> 4) * 10 + (byte & 15);
}

/* Whatever a guest leaves in the time bytes stays until the next update, which makes a date of it. */
START_TEST(any_bytes_become_a_date)
{
	static const uint8_t regs[] = { SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY };
	struct random r = random_start("rtc bytes");

	for (int round = 0; round < 20000; round++) {
		int format = (int)random_below(&r, 4) * 2;
		uint8_t bytes[sizeof(regs)];
		struct tm tm = { 0 };
		struct bench b;
		time_t t;

		bench_init(&b, 5 * SECOND);
		put(&b, B, (uint8_t)format);
		for (unsigned int i = 0; i < sizeof(regs); i++)
			put(&b, regs[i], bytes[i] = (uint8_t)random_next(&r));
		wait(&b, SECOND - 1);
		for (unsigned int i = 0; i < sizeof(regs); i++)
			expect_eq(get(&b, regs[i]), bytes[i]);
		wait(&b, 1);
		tm.tm_mday = number(get(&b, DAY), format);
		tm.tm_mon = number(get(&b, MONTH), format) - 1;
		tm.tm_year = number(get(&b, YEAR), format) + number(get(&b, CENTURY), format) * 100 - 1900;
		tm.tm_hour = number(get(&b, HOURS) & 0x7f, format);
		if (!(format & H24))
			tm.tm_hour = tm.tm_hour % 12 + (get(&b, HOURS) & 0x80 ? 12 : 0);
		tm.tm_min = number(get(&b, MINUTES), format);
		tm.tm_sec = number(get(&b, SECONDS), format);
		t = timegm(&tm); /* repairs what is no date, so the bytes would differ */
		expect(get(&b, WEEKDAY) >= 1);
		expect(get(&b, WEEKDAY) <= 7);
		check_time(&b, t, format, get(&b, WEEKDAY));
	}
}
END_TEST

START_TEST(cmos_keeps_bytes)
{
	struct bench b;

	bench_init(&b, 0);
	expect_eq(get(&b, D), 0x80);
	put(&b, D, 0);
	put(&b, C, 0xff);
	expect_eq(get(&b, D), 0x80);
	expect_eq(get(&b, C), 0);
	for (uint8_t i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			put(&b, i, (uint8_t)(i * 3));
	wait(&b, 3 * SECOND);
	for (uint8_t i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			expect_eq(get(&b, i | 0x80), (uint8_t)(i * 3)); /* bit 7 is the NMI mask */
	expect_eq(board_inb(&b.board, 0x70), 0xff);
	board_out(&b.board, 0x70, 2, 0x5a40); /* index and data at once */
	expect_eq(get(&b, 0x40), 0x5a);
	expect_eq(board_in(&b.board, 0x70, 4), 0xffff5aff);
}
END_TEST

START_TEST(reset_is_power_on)
{
	struct bench b, fresh;

	bench_init(&b, 1000000 * SECOND);
	for (uint8_t i = 0; i < 0x80; i++)
		put(&b, i, 0xff);
	put(&b, A, 0x23);
	wait(&b, 5 * SECOND);
	bench_init(&fresh, 1000000 * SECOND);
	wait(&fresh, 5 * SECOND);
	bus_reset(&b.board.bus);
	bus_reset(&fresh.board.bus);
	trial_compare(&b.board, &fresh.board);
	expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
	check_time(&b, 1000005, H24, weekday_of(1000005));
}
END_TEST

static void trial_init(void *bench)
{
	bench_init(bench, 1700000000 * SECOND);
}

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	struct random r = { dice };
	struct bench *b = (struct bench *)board;
	uint8_t reg = (uint8_t)(random_below(&r, 8) ? random_below(&r, 14) : random_next(&r));
	uint8_t size = (uint8_t)(1 + random_below(&r, 8));
	uint64_t value = random_next(&r);

	board_set_time(board, board->now + random_below(&r, random_below(&r, 4) ? SECOND : 1ull << random_below(&r, 50)));
	switch (random_below(&r, 8)) {
	case 0:
		board_out(board, 0x70, size, value);
		return clock_next(&board->clock);
	case 1:
		return board_in(board, 0x6e + random_below(&r, 4), size);
	case 2:
	case 3:
	case 4:
		put(b, reg, reg == B ? value & 0x7f : (uint8_t)value);
		return clock_next(&board->clock);
	}
	return get(b, reg);
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "rtc trial", .size = sizeof(struct bench), .init = trial_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

static const struct bad_field bad_fields[] = {
	BAD(struct rtc, index, 128),
	BAD(struct rtc, phase, CLOCK_NS_PER_S),
	BAD(struct rtc, second, UINT64_MAX / CLOCK_NS_PER_S),
	BAD(struct rtc, cycle, UINT64_MAX / 4),
	BAD(struct rtc, cmos[10], 0x80),
	BAD(struct rtc, cmos[12], 0x80),
	BAD(struct rtc, cmos[12], 1),
	BAD(struct rtc, cmos[13], 0),
};

START_TEST(bad_fields_are_refused)
{
	struct bench b;

	bench_init(&b, SECOND);
	trial_bad_field(&b.board, &b.rtc, &bad_fields[_i]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("rtc");

	tcase_add_test(tcase, shows_wall_time);
	tcase_add_test(tcase, a_guest_sets_it);
	tcase_add_test(tcase, alarms);
	tcase_add_test(tcase, updates_interrupt_each_second);
	tcase_add_test(tcase, periodic_rates);
	tcase_add_test(tcase, update_in_progress);
	tcase_add_test(tcase, the_divider_starts_anew);
	tcase_add_test(tcase, any_bytes_become_a_date);
	tcase_add_test(tcase, cmos_keeps_bytes);
	tcase_add_test(tcase, reset_is_power_on);
	tcase_add_test(tcase, copies_and_damage);
	return board_run_tests("rtc", tcase, bad_fields_are_refused, 8);
}
