/*
 * A board for one device under test: a bus, a clock whose time the test sets, and interrupt lines that count their edges.
 * And the trials every device must pass: a saved copy behaves like its original, a reset one like a new one, and no
 * saved bytes, however bad, do harm.
 */
#pragma once

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/irq.h"
#include "vmm/state.h"

#define BOARD_LINES 16

struct board {
	struct bus bus;
	struct clock clock;
	uint64_t now; /* host time in ns */
	bool level[BOARD_LINES];
	unsigned int rises[BOARD_LINES];
};

static inline uint64_t board_host_time(void *board)
{
	return ((struct board *)board)->now;
}

static inline void board_line(void *board, unsigned int n, bool level)
{
	struct board *b = board;

	b->rises[n] += level && !b->level[n];
	b->level[n] = level;
}

static inline struct irq_line board_irq(struct board *b, unsigned int n)
{
	return (struct irq_line){ .set = board_line, .controller = b, .n = n };
}

/* An empty board whose clock runs from 0. */
static inline void board_init(struct board *b, uint64_t wall_ns)
{
	memset(b, 0, sizeof(*b));
	bus_init(&b->bus);
	clock_init(&b->clock, board_host_time, b, wall_ns);
	clock_start(&b->clock);
}

/* Lets the clock show `now` and runs what is due. */
static inline void board_set_time(struct board *b, uint64_t now)
{
	b->now = now;
	clock_run(&b->clock);
}

static inline uint64_t board_in(struct board *b, uint64_t port, uint8_t size)
{
	struct access a = { .kind = ACCESS_PORT_READ, .size = size, .addr = port };

	bus_access(&b->bus, &a);
	return a.value;
}

static inline void board_out(struct board *b, uint64_t port, uint8_t size, uint64_t value)
{
	struct access a = { .kind = ACCESS_PORT_WRITE, .size = size, .addr = port, .value = value };

	bus_access(&b->bus, &a);
}

static inline uint8_t board_inb(struct board *b, uint64_t port)
{
	return (uint8_t)board_in(b, port, 1);
}

static inline void board_outb(struct board *b, uint64_t port, uint8_t value)
{
	board_out(b, port, 1, value);
}

static inline void board_visit(struct board *b, struct state *s)
{
	clock_visit(&b->clock, s);
	bus_visit(&b->bus, s);
}

/* Loads bytes into a board, which then runs at the saved time if they were good. Returns state_error(). */
static inline const char *board_load(struct board *b, const void *bytes, size_t size)
{
	struct state s;
	const char *error;

	state_load_init(&s, bytes, size);
	board_visit(b, &s);
	error = state_error(&s);
	clock_start(&b->clock);
	return error;
}

/* How a test makes and uses its device. */
struct trial {
	const char *name;
	size_t size;		   /* of what init() makes: a structure that begins with a board */
	void (*init)(void *bench); /* puts the device on a new board */
	uint64_t (*use)(struct board *b, uint64_t dice); /* does something that depends on dice only; what was seen */
	void (*quiet)(struct board *b); /* takes away what a reset must keep: inputs. May be NULL */
	void (*end)(struct board *b);	/* frees what the device holds. May be NULL */
};

static inline struct board *trial_make(const struct trial *t)
{
	void *bench = malloc(t->size);

	ck_assert_ptr_nonnull(bench);
	t->init(bench);
	return bench;
}

static inline void trial_free(const struct trial *t, struct board *b)
{
	if (t->end)
		t->end(b);
	free(b);
}

static inline void trial_compare(struct board *a, struct board *b)
{
	struct state sa, sb;

	ck_assert_mem_eq(a->level, b->level, sizeof(a->level));
	state_save_init(&sa);
	state_save_init(&sb);
	board_visit(a, &sa);
	board_visit(b, &sb);
	ck_assert_ptr_null(state_error(&sa));
	expect_eq(sa.size, sb.size);
	ck_assert_mem_eq(sa.bytes, sb.bytes, sa.size);
	state_free(&sa);
	state_free(&sb);
}

/* Random use, save, load into a new board: then both do the same for the same further use. */
static inline void trial_copy(const struct trial *t, struct random *r, unsigned int steps)
{
	struct board *a = trial_make(t), *b = trial_make(t);
	struct state s;

	for (unsigned int i = random_below(r, steps); i; i--)
		t->use(a, random_next(r));
	state_save_init(&s);
	board_visit(a, &s);
	ck_assert_ptr_null(state_error(&s));
	b->now = random_next(r) >> 8; /* another host, another uptime */
	ck_assert_ptr_null(board_load(b, s.bytes, s.size));
	memcpy(b->level, a->level, sizeof(b->level)); /* the controller's, which would have been loaded too */
	clock_start(&b->clock);
	state_free(&s);
	trial_compare(a, b);
	expect_eq(clock_next(&b->clock), clock_next(&a->clock));
	memset(a->rises, 0, sizeof(a->rises));
	memset(b->rises, 0, sizeof(b->rises));
	for (unsigned int i = 0; i < steps; i++) {
		uint64_t dice = random_next(r), seen = t->use(a, dice);

		expect_msg(t->use(b, dice) == seen, "%s: the copy differs at step %u", t->name, i);
		expect(!memcmp(a->level, b->level, sizeof(a->level)));
		expect(!memcmp(a->rises, b->rises, sizeof(a->rises)));
	}
	trial_compare(a, b);
	trial_free(t, a);
	trial_free(t, b);
}

/* Random use, reset: then it is like a new one. */
static inline void trial_reset(const struct trial *t, struct random *r, unsigned int steps)
{
	struct board *a = trial_make(t), *b = trial_make(t);

	for (unsigned int i = random_below(r, steps); i; i--)
		t->use(a, random_next(r));
	if (t->quiet)
		t->quiet(a);
	b->now = a->now;
	bus_reset(&a->bus);
	bus_reset(&b->bus);
	trial_compare(a, b);
	expect_eq(clock_next(&a->clock), clock_next(&b->clock));
	trial_free(t, a);
	trial_free(t, b);
}

/* Damages good bytes and loads them: an error, or a device that can be used and saved. Returns whether it loaded. */
static inline bool trial_damage(const struct trial *t, struct random *r, unsigned int steps)
{
	struct board *a = trial_make(t), *b = trial_make(t);
	struct state s, again;
	bool loaded;

	for (unsigned int i = random_below(r, steps); i; i--)
		t->use(a, random_next(r));
	state_save_init(&s);
	board_visit(a, &s);
	for (uint64_t i = random_below(r, 4); i; i--)
		s.bytes[random_below(r, s.size)] ^= (uint8_t)(1u << random_below(r, 8));
	for (uint64_t i = random_below(r, 3); i; i--)
		s.bytes[random_below(r, s.size)] = (uint8_t)random_next(r);
	if (random_below(r, 8) == 0)
		s.size = random_below(r, s.size);
	loaded = !board_load(b, s.bytes, s.size);
	for (unsigned int i = 0; i < steps; i++)
		t->use(b, random_next(r));
	state_save_init(&again);
	board_visit(b, &again);
	ck_assert_ptr_null(state_error(&again));
	state_free(&again);
	state_free(&s);
	trial_free(t, a);
	trial_free(t, b);
	return loaded;
}

/* Every value of every saved byte: an error, or a device that can be used. For sanitizers to watch. */
static inline void trial_every_byte(const struct trial *t, struct random *r)
{
	struct board *a = trial_make(t), *b = trial_make(t);
	struct state s;

	for (unsigned int i = 0; i < 100; i++)
		t->use(a, random_next(r));
	state_save_init(&s);
	board_visit(a, &s);
	for (size_t at = 0; at < s.size; at++) {
		uint8_t good = s.bytes[at];

		for (unsigned int value = 0; value < 256; value++) {
			s.bytes[at] = (uint8_t)value;
			board_load(b, s.bytes, s.size);
			for (unsigned int i = 0; i < 12; i++)
				t->use(b, random_next(r));
		}
		s.bytes[at] = good;
	}
	state_free(&s);
	trial_free(t, a);
	trial_free(t, b);
}

/* A value that a field of the device may never have. */
struct bad_field {
	size_t offset; /* in the structure `device` points to */
	uint8_t size;
	uint64_t value;
};

/* Puts it there and saves, which must end the program: the same check that refuses it in saved bytes. */
static inline void trial_bad_field(struct board *b, void *device, const struct bad_field *bad)
{
	struct state s;

	memcpy((uint8_t *)device + bad->offset, &bad->value, bad->size);
	state_save_init(&s);
	board_visit(b, &s);
	state_free(&s);
}

#define BAD(type, field, bad_value) \
	{ .offset = offsetof(type, field), .size = sizeof(((type *)0)->field), .value = (uint64_t)(bad_value) }

/* Many of each; some damage must be noticed and some must not, or the trial tries nothing. */
static inline void trial_run(const struct trial *t, unsigned int rounds, unsigned int steps)
{
	struct random r = random_start(t->name);
	unsigned int loaded = 0;

	for (unsigned int i = 0; i < rounds; i++)
		trial_copy(t, &r, steps);
	for (unsigned int i = 0; i < rounds; i++)
		trial_reset(t, &r, steps);
	for (unsigned int i = 0; i < rounds; i++)
		loaded += trial_damage(t, &r, steps);
	trial_every_byte(t, &r);
	expect(loaded > 0);
	expect(loaded < rounds);
}

/* Runs a device's tests, and `bad` for each of its bad fields: 0 .. bad_count - 1. Returns main()'s status. */
static inline int board_run_tests(const char *name, TCase *tcase, const TTest *bad, int bad_count)
{
	if (bad_count && suite_forks())
		tcase_add_loop_test_raise_signal(tcase, bad, SIGABRT, 0, bad_count);
	tcase_set_timeout(tcase, 50);
	return run_case(name, tcase);
}
