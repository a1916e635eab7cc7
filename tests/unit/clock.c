/*
 * The virtual clock: flow, order of timers against a sorted list, bounds, and its exact tick arithmetic.
 */
#include "vmm/clock.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/state.h"

#define TIMERS 5

struct bench {
	struct clock clock;
	uint64_t host;
	struct clock_timer timer[TIMERS];
	struct alarm {
		struct bench *bench;
		int n;
		uint64_t rearm; /* 0 = stays disarmed; else armed again that many ns after it fired */
	} alarm[TIMERS];
	int fired[1000];
	int count;
};

static uint64_t host_time(void *arg)
{
	return ((struct bench *)arg)->host;
}

static void fire(void *owner, uint64_t now)
{
	struct alarm *a = owner;
	struct bench *b = a->bench;

	expect_eq(b->timer[a->n].at, CLOCK_NEVER);
	expect_eq(now, clock_now(&b->clock));
	if (b->count < 1000)
		b->fired[b->count] = a->n;
	b->count++;
	if (a->rearm)
		clock_timer_set(&b->clock, &b->timer[a->n], now + a->rearm - 1);
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	b->host = 1000000;
	clock_init(&b->clock, host_time, b, 5000);
	for (int i = 0; i < TIMERS; i++) {
		b->alarm[i] = (struct alarm){ .bench = b, .n = i };
		clock_timer_add(&b->clock, &b->timer[i], fire, &b->alarm[i]);
	}
	clock_start(&b->clock);
}

START_TEST(stands_still_while_stopped)
{
	struct bench b;

	bench_init(&b);
	clock_stop(&b.clock);
	b.host += 100;
	expect_eq(clock_now(&b.clock), 0);
	clock_start(&b.clock);
	expect_eq(clock_now(&b.clock), 0);
	b.host += 7;
	expect_eq(clock_now(&b.clock), 7);
	clock_start(&b.clock);
	expect_eq(clock_now(&b.clock), 7);
	clock_stop(&b.clock);
	clock_stop(&b.clock);
	b.host += 50;
	expect_eq(clock_now(&b.clock), 7);
	expect_eq(clock_wall(&b.clock), 5007);
}
END_TEST

START_TEST(random_starts_and_stops)
{
	struct random r = random_start("clock flow");
	uint64_t expected = 0;
	bool running = true;
	struct bench b;

	bench_init(&b);
	for (int i = 0; i < 10000; i++) {
		uint64_t step = random_below(&r, 1000);

		b.host += step;
		expected += running ? step : 0;
		expect_eq(clock_now(&b.clock), expected);
		running = random_next(&r) & 1;
		if (running)
			clock_start(&b.clock);
		else
			clock_stop(&b.clock);
	}
}
END_TEST

/* A held clock against two numbers: what it shows, and what it would show if it had followed. */
START_TEST(held_moves_by_steps)
{
	struct random r = random_start("clock held");
	uint64_t shown, followed;
	bool running = true;
	struct bench b;

	bench_init(&b);
	b.host += 1234;
	clock_hold(&b.clock);
	shown = followed = 1234;
	for (int i = 0; i < 10000; i++) {
		uint64_t passed = random_below(&r, 1000), step = random_below(&r, 2) ? 0 : random_below(&r, followed - shown + 1);

		b.host += passed;
		followed += running ? passed : 0;
		clock_step(&b.clock, step);
		shown += step;
		expect_eq(clock_now(&b.clock), shown);
		expect_eq(clock_behind(&b.clock), followed - shown);
		clock_timer_set(&b.clock, &b.timer[0], shown + 500);
		expect_eq(clock_wait(&b.clock), shown + 500 > followed ? shown + 500 - followed : 0);
		running = random_next(&r) & 1;
		if (running)
			clock_start(&b.clock);
		else
			clock_stop(&b.clock);
	}
	clock_hold(&b.clock); /* twice is once */
	expect_eq(clock_now(&b.clock), shown);
	clock_release(&b.clock);
	expect_eq(clock_now(&b.clock), followed);
	clock_start(&b.clock);
	b.host += 10;
	expect_eq(clock_now(&b.clock), followed + 10);
}
END_TEST

START_TEST(held_timers_fire_with_steps)
{
	struct bench b;

	bench_init(&b);
	clock_hold(&b.clock);
	clock_timer_set(&b.clock, &b.timer[0], 100);
	b.host += 1000;
	clock_run(&b.clock);
	expect_eq(b.count, 0);
	expect_eq(clock_wait(&b.clock), 0);
	clock_step(&b.clock, 99);
	clock_run(&b.clock);
	expect_eq(b.count, 0);
	clock_step(&b.clock, 1);
	clock_run(&b.clock);
	expect_eq(b.count, 1);
	expect_eq(clock_wait(&b.clock), CLOCK_NEVER);
}
END_TEST

static void check_next(const struct bench *b)
{
	uint64_t next = CLOCK_NEVER;

	for (int i = 0; i < TIMERS; i++)
		next = b->timer[i].at < next ? b->timer[i].at : next;
	expect_eq(clock_next(&b->clock), next);
}

START_TEST(timers_fire_in_order_of_time)
{
	struct random r = random_start("clock timers");
	struct bench b;

	bench_init(&b);
	for (int round = 0; round < 20000; round++) {
		uint64_t now = clock_now(&b.clock), at[TIMERS], last = 0;
		int due = 0;

		for (int i = 0; i < TIMERS; i++) {
			if (random_below(&r, 3) == 0)
				clock_timer_set(&b.clock, &b.timer[i],
						random_below(&r, 4) ? now + random_below(&r, 100) : CLOCK_NEVER);
			check_next(&b);
		}
		b.host += random_below(&r, 80);
		for (int i = 0; i < TIMERS; i++) {
			at[i] = b.timer[i].at;
			due += at[i] <= clock_now(&b.clock);
		}
		b.count = 0;
		clock_run(&b.clock);
		expect_eq(b.count, due);
		for (int i = 0; i < b.count; i++) {
			expect(at[b.fired[i]] >= last);
			last = at[b.fired[i]];
		}
		check_next(&b);
	}
}
END_TEST

START_TEST(an_absurd_rate_is_bounded)
{
	struct bench b;

	bench_init(&b);
	b.alarm[2].rearm = 1; /* due again at once, for ever */
	clock_timer_set(&b.clock, &b.timer[2], 0);
	clock_timer_set(&b.clock, &b.timer[4], 0);
	clock_run(&b.clock);
	expect(b.count > 1);
	expect(b.count < 1000);
	expect_eq(b.fired[0], 2);
	expect_eq(clock_next(&b.clock), 0);
	b.alarm[2].rearm = 0;
	clock_run(&b.clock);
	expect_eq(b.timer[2].at, CLOCK_NEVER);
	expect_eq(b.timer[4].at, CLOCK_NEVER); /* it had its turn when the other one was done */
}
END_TEST

START_TEST(a_restored_clock_goes_on)
{
	struct bench a, b;
	struct state s, in;

	bench_init(&a);
	a.host += 12345;
	state_save_init(&s);
	clock_visit(&a.clock, &s);
	ck_assert_ptr_null(state_error(&s));
	bench_init(&b);
	b.host = 77;
	state_load_init(&in, s.bytes, s.size);
	clock_visit(&b.clock, &in);
	ck_assert_ptr_null(state_error(&in));
	b.host += 1000000;
	expect_eq(clock_now(&b.clock), 12345); /* stopped */
	expect_eq(clock_wall(&b.clock), 17345);
	clock_start(&b.clock);
	b.host += 5;
	expect_eq(clock_now(&b.clock), 12350);
	for (size_t i = 16; i < s.size; i++) {
		uint8_t old = s.bytes[i];

		s.bytes[i] = 0xff;
		state_load_init(&in, s.bytes, s.size);
		clock_visit(&b.clock, &in);
		expect_eq(state_error(&in) != NULL, (i - 16) % 8 == 7); /* beyond CLOCK_MAX_NS */
		s.bytes[i] = old;
	}
	state_free(&s);
}
END_TEST

START_TEST(follows_the_host_by_default)
{
	struct clock c;
	uint64_t before, after;

	clock_init(&c, NULL, NULL, 0);
	clock_start(&c);
	before = clock_now(&c);
	do
		after = clock_now(&c);
	while (after == before);
	expect(after > before);
	expect(after < CLOCK_NS_PER_S * 60);
}
END_TEST

/* clock_tick_ns(n) is the first ns of tick n, whatever the rate: that is all there is to know. */
START_TEST(ticks_are_exact)
{
	static const uint64_t rates[] = { 1, 18, 32768, 1193182, 999999999, CLOCK_NS_PER_S };
	struct random r = random_start("clock ticks");

	for (unsigned int i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (int round = 0; round < 20000; round++) {
			uint64_t tick = random_next(&r) >> (32 + random_below(&r, 31)), ns = clock_tick_ns(tick, rates[i]);

			expect_eq(clock_ticks(ns, rates[i]), tick);
			if (ns)
				expect(clock_ticks(ns - 1, rates[i]) < tick);
		}
		expect_eq(clock_ticks(CLOCK_NS_PER_S, rates[i]), rates[i]);
		expect_eq(clock_ticks(86400 * 366 * CLOCK_NS_PER_S, rates[i]), 86400 * 366 * rates[i]);
	}
	expect_eq(clock_tick_ns(UINT64_MAX, 1), CLOCK_NEVER);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		stands_still_while_stopped, random_starts_and_stops, held_moves_by_steps, held_timers_fire_with_steps, timers_fire_in_order_of_time,
		an_absurd_rate_is_bounded, a_restored_clock_goes_on, follows_the_host_by_default, ticks_are_exact,
	};

	return RUN_TESTS("clock", tests);
}
