/*
 * The state visitor: golden bytes written by hand, round trips, and every way in which bytes can be wrong.
 */
#include "vmm/state.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

struct thing {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	bool e;
	uint8_t raw[3];
	uint8_t inner;
};

static void thing_visit(struct thing *t, struct state *s)
{
	state_begin(s, "thing", 3);
	state_u8(s, &t->a);
	state_u16(s, &t->b);
	state_u32(s, &t->c);
	state_begin(s, "12345678", 1);
	state_u8(s, &t->inner);
	state_check(s, t->inner < 200, "inner is too large");
	state_end(s);
	state_u64(s, &t->d);
	state_bool(s, &t->e);
	state_bytes(s, t->raw, sizeof(t->raw));
	state_end(s);
}

static const struct thing example = {
	.a = 0x11, .b = 0x2233, .c = 0x44556677, .d = 0x8899aabbccddeeff, .e = true, .raw = { 1, 2, 3 }, .inner = 0x99,
};

static const uint8_t golden[] = {
	't', 'h', 'i', 'n', 'g', 0, 0, 0, 3, 0, 0, 0, 36, 0, 0, 0,
	0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44,
	'1', '2', '3', '4', '5', '6', '7', '8', 1, 0, 0, 0, 1, 0, 0, 0, 0x99,
	0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 1, 1, 2, 3,
};

static const char *load(struct thing *t, const uint8_t *bytes, size_t size)
{
	/* A copy of exactly this size, so that a sanitizer sees any byte read past it. */
	uint8_t *copy = malloc(size ? size : 1);
	struct state s;
	const char *error;

	memcpy(copy, bytes, size);
	state_load_init(&s, copy, size);
	thing_visit(t, &s);
	error = state_error(&s);
	state_free(&s);
	free(copy);
	return error;
}

START_TEST(saves_golden_bytes)
{
	struct thing t = example;
	struct state s;

	state_save_init(&s);
	expect(!state_loading(&s));
	thing_visit(&t, &s);
	ck_assert_ptr_null(state_error(&s));
	expect_eq(s.size, sizeof(golden));
	ck_assert_mem_eq(s.bytes, golden, sizeof(golden));
	state_free(&s);
}
END_TEST

START_TEST(loads_golden_bytes)
{
	struct thing t = { 0 };

	ck_assert_ptr_null(load(&t, golden, sizeof(golden)));
	expect_eq(t.a, example.a);
	expect_eq(t.b, example.b);
	expect_eq(t.c, example.c);
	expect_eq(t.d, example.d);
	expect(t.e);
	ck_assert_mem_eq(t.raw, example.raw, sizeof(t.raw));
	expect_eq(t.inner, example.inner);
}
END_TEST

START_TEST(every_truncation_is_an_error)
{
	struct thing t;

	for (size_t size = 0; size < sizeof(golden); size++)
		ck_assert_ptr_nonnull(load(&t, golden, size));
}
END_TEST

START_TEST(a_byte_too_many_is_an_error)
{
	uint8_t longer[sizeof(golden) + 1] = { 0 };
	struct thing t;

	memcpy(longer, golden, sizeof(golden));
	ck_assert_ptr_nonnull(load(&t, longer, sizeof(longer)));
	longer[12]++; /* and so it is if the section claims it */
	ck_assert_ptr_nonnull(load(&t, longer, sizeof(longer)));
}
END_TEST

/* Header bytes and flags: which values of which byte may load. */
static bool may_load(size_t at, uint8_t value)
{
	if (at == 8)
		return value >= 1 && value <= 3; /* version of the outer section */
	if (at < 16 || (at >= 23 && at < 39))
		return value == golden[at];
	if (at == 39)
		return value < 200;
	if (at == 48)
		return value <= 1;
	return true;
}

START_TEST(every_value_of_every_byte)
{
	for (size_t at = 0; at < sizeof(golden); at++) {
		for (unsigned int value = 0; value < 256; value++) {
			uint8_t bytes[sizeof(golden)];
			struct thing t;

			memcpy(bytes, golden, sizeof(golden));
			bytes[at] = (uint8_t)value;
			expect_msg(may_load(at, (uint8_t)value) == !load(&t, bytes, sizeof(bytes)), "byte %zu = %u",
				      at, value);
		}
	}
}
END_TEST

START_TEST(tells_the_version_found)
{
	static const uint8_t bytes[] = { 'x', 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0 };
	struct state s;

	state_load_init(&s, bytes, sizeof(bytes));
	expect_eq(state_begin(&s, "x", 5), 2);
	state_end(&s);
	ck_assert_ptr_null(state_error(&s));
	state_load_init(&s, bytes, sizeof(bytes));
	expect_eq(state_begin(&s, "x", 1), 0);
	state_end(&s);
	ck_assert_ptr_nonnull(state_error(&s));
	state_save_init(&s);
	expect_eq(state_begin(&s, "x", 5), 5);
	state_end(&s);
	state_free(&s);
}
END_TEST

START_TEST(first_error_sticks_and_gives_zeros)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4 };
	uint64_t wide = 77;
	uint8_t byte = 77, raw[2] = { 77, 77 };
	bool flag = true;
	struct state s;

	state_load_init(&s, bytes, sizeof(bytes));
	state_u8(&s, &byte);
	expect_eq(byte, 1);
	state_check(&s, false, "first");
	state_check(&s, false, "second");
	state_u8(&s, &byte);
	state_u64(&s, &wide);
	state_bool(&s, &flag);
	state_bytes(&s, raw, sizeof(raw));
	expect_eq(byte, 0);
	expect_eq(wide, 0);
	expect(!flag);
	expect_eq(raw[0] + raw[1], 0);
	ck_assert_str_eq(state_error(&s), "first");
}
END_TEST

START_TEST(nothing_is_read_past_the_end)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

	for (size_t size = 0; size < 12; size++) {
		for (size_t n = 0; n < 12; n++) {
			uint8_t first[12], second[12];
			struct state s;

			state_load_init(&s, bytes, size);
			state_bytes(&s, first, n);
			state_bytes(&s, second, 12 - n);
			ck_assert_ptr_nonnull(state_error(&s));
			expect(n == 0 || first[0] == (n <= size));
			expect_eq(second[0], 0);
		}
	}
}
END_TEST

START_TEST(an_inner_section_cannot_outgrow_its_outer)
{
	static const uint8_t bytes[] = {
		'o', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 17, 0, 0, 0,
		'i', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 6,
	};
	struct state s;
	uint8_t byte;

	state_load_init(&s, bytes, sizeof(bytes));
	state_begin(&s, "o", 1);
	state_begin(&s, "i", 1);
	ck_assert_ptr_nonnull(s.error);
	state_u8(&s, &byte);
	state_u8(&s, &byte);
	state_end(&s);
	state_end(&s);
	ck_assert_ptr_nonnull(state_error(&s));
}
END_TEST

START_TEST(an_open_section_is_an_error)
{
	struct state s;

	state_save_init(&s);
	state_begin(&s, "x", 1);
	ck_assert_ptr_nonnull(state_error(&s));
	state_free(&s);
}
END_TEST

START_TEST(grows_with_what_is_saved)
{
	struct random r = random_start("state");
	size_t size = 100000 + random_below(&r, 1000);
	uint8_t *bytes = malloc(size), *back = malloc(size);
	struct state s, in;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)random_next(&r);
	state_save_init(&s);
	for (size_t at = 0, n; at < size; at += n) {
		n = 1 + random_below(&r, size - at);
		state_bytes(&s, bytes + at, n);
	}
	expect_eq(s.size, size);
	state_load_init(&in, s.bytes, s.size);
	state_bytes(&in, back, size);
	ck_assert_ptr_null(state_error(&in));
	ck_assert_mem_eq(bytes, back, size);
	state_free(&s);
	free(bytes);
	free(back);
}
END_TEST

START_TEST(saving_what_does_not_hold_is_our_bug)
{
	struct state s;

	state_save_init(&s);
	state_check(&s, false, "this cannot be");
}
END_TEST

START_TEST(a_long_name_is_our_bug)
{
	struct state s;

	state_save_init(&s);
	state_begin(&s, "123456789", 1);
}
END_TEST

START_TEST(deep_nesting_is_our_bug)
{
	struct state s;

	state_save_init(&s);
	for (int i = 0; i <= STATE_MAX_DEPTH; i++)
		state_begin(&s, "x", 1);
}
END_TEST

START_TEST(an_end_without_begin_is_our_bug)
{
	struct state s;

	state_save_init(&s);
	state_end(&s);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("state");

	tcase_add_test(tcase, saves_golden_bytes);
	tcase_add_test(tcase, loads_golden_bytes);
	tcase_add_test(tcase, every_truncation_is_an_error);
	tcase_add_test(tcase, a_byte_too_many_is_an_error);
	tcase_add_test(tcase, every_value_of_every_byte);
	tcase_add_test(tcase, tells_the_version_found);
	tcase_add_test(tcase, first_error_sticks_and_gives_zeros);
	tcase_add_test(tcase, nothing_is_read_past_the_end);
	tcase_add_test(tcase, an_inner_section_cannot_outgrow_its_outer);
	tcase_add_test(tcase, an_open_section_is_an_error);
	tcase_add_test(tcase, grows_with_what_is_saved);
	if (suite_forks()) {
		tcase_add_test_raise_signal(tcase, saving_what_does_not_hold_is_our_bug, SIGABRT);
		tcase_add_test_raise_signal(tcase, a_long_name_is_our_bug, SIGABRT);
		tcase_add_test_raise_signal(tcase, deep_nesting_is_our_bug, SIGABRT);
		tcase_add_test_raise_signal(tcase, an_end_without_begin_is_our_bug, SIGABRT);
	}
	return run_case("state", tcase);
}
