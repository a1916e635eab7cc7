/*
 * The digest of RAM that is brought up to date against one that is made anew from all of RAM each time, and the parts that are told against
 * what was written, over random writes, zeroing and writing back of what was there; and what is said where two RAMs or two vCPUs differ
 * in one page or one register.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "replay/boundary.h"
#include "replay/digest_compare.h"
#include "replay/ram_digest.h"
#include "replay/state_digest.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"

#define GIB (1ull << 30)
#define EDGE 100u /* pages that are written: at the start of RAM, and on both sides of the hole */
#define TRIED (3 * EDGE)

struct machine {
	struct mem mem;
	struct dirty dirty;
	struct state_digest digest;
};

static bool has_hole; /* RAM lies on both sides of it; to look at all of that takes its time */

static uint64_t gpa_of(unsigned int i)
{
	if (i < EDGE || !has_hole)
		return i * PAGE_SIZE;
	return i < 2 * EDGE ? 3 * GIB - (2 * EDGE - i) * PAGE_SIZE : 4 * GIB + (i - 2 * EDGE) * PAGE_SIZE;
}

static void make(struct machine *m)
{
	ck_assert_int_eq(mem_create(&m->mem, has_hole ? 4 * GIB : 4 << 20, MEM_HUGE_NEVER), 0);
	dirty_init(&m->dirty, &m->mem, NULL);
	state_digest_init(&m->digest, &m->mem, &m->dirty);
}

static void unmake(struct machine *m)
{
	state_digest_end(&m->digest);
	state_digest_free(&m->digest);
	dirty_destroy(&m->dirty);
	mem_destroy(&m->mem);
}

static uint8_t *page_of(struct machine *m, unsigned int i)
{
	return mem_at(&m->mem, gpa_of(i), PAGE_SIZE, MEM_WRITE);
}

/* Few different contents, so that a page often becomes what it was. */
static void write_some(struct machine *m, struct random *r)
{
	for (uint64_t n = random_below(r, random_below(r, 2) ? 5 : 200); n; n--) {
		uint8_t *page = page_of(m, (unsigned int)random_below(r, TRIED));

		if (random_below(r, 3))
			page[random_below(r, 2) ? 0 : PAGE_SIZE - 1] = (uint8_t)random_below(r, 3);
		else
			memset(page, 0, PAGE_SIZE);
	}
}

static uint32_t naive_sum(struct machine *m, const struct event_row *row)
{
	uint64_t sum = 0;

	for (uint64_t i = row->page; i < (uint64_t)row->page + row->pages; i++)
		sum += page_digest(mem_page_hva(&m->mem, i), mem_page_gpa(&m->mem, i));
	return (uint32_t)sum;
}

/* Rows ascend, each has the sum of its pages, each page that is another is in one, and each begins and ends with such a page. */
static void check_rows(struct machine *m, const bool *is_other, unsigned int others, unsigned int most)
{
	struct event_row rows[EVENT_DIGEST_ROWS_MOST];
	unsigned int n = state_digest_rows(&m->digest, rows, most), covered = 0;

	ck_assert_uint_eq(m->digest.changes, others);
	ck_assert_uint_le(n, most);
	if (others <= most)
		ck_assert_uint_eq(n, others);
	for (unsigned int i = 0; i < n; i++) {
		ck_assert(!i || rows[i].page >= rows[i - 1].page + rows[i - 1].pages);
		ck_assert_uint_eq(rows[i].sum, naive_sum(m, &rows[i]));
	}
	for (unsigned int i = 0; i < TRIED; i++) {
		uint64_t page = mem_page_number(&m->mem, gpa_of(i));

		for (unsigned int k = 0; k < n && is_other[i]; k++)
			covered += page >= rows[k].page && page < (uint64_t)rows[k].page + rows[k].pages;
	}
	ck_assert_uint_eq(covered, others);
}

static void compare_with_naive(struct random *r, unsigned int rounds)
{
	static uint8_t before[TRIED][PAGE_SIZE];
	bool is_other[TRIED];
	struct machine m;

	memset(before, 0, sizeof(before));
	make(&m);
	write_some(&m, r);
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int others = 0;
		uint64_t anew;

		ck_assert_int_eq(state_digest_take(&m.digest), 0);
		ck_assert_int_eq(ram_digest(&m.mem, &anew), 0);
		ck_assert_uint_eq(m.digest.ram, anew);
		for (unsigned int k = 0; k < TRIED; k++) {
			const uint8_t *page = mem_at(&m.mem, gpa_of(k), PAGE_SIZE, MEM_READ);

			is_other[k] = memcmp(before[k], page, PAGE_SIZE) != 0;
			others += is_other[k];
			memcpy(before[k], page, PAGE_SIZE);
		}
		check_rows(&m, is_other, others, EVENT_DIGEST_ROWS_MOST);
		check_rows(&m, is_other, others, 1 + (unsigned int)random_below(r, EVENT_DIGEST_ROWS_MOST));
		write_some(&m, r);
	}
	unmake(&m);
}

START_TEST(as_made_anew)
{
	struct random r = random_start("replay_digest");

	compare_with_naive(&r, effort(2000, 300));
	has_hole = true;
	compare_with_naive(&r, effort(20, 3));
}
END_TEST

/* Two machines that differ in which pages were looked at, and not in what is in them. */
START_TEST(whatever_was_looked_at)
{
	struct random r = random_start("whatever_was_looked_at");
	struct machine a, b;

	make(&a);
	make(&b);
	for (unsigned int i = 0; i < 200; i++) {
		unsigned int page = (unsigned int)random_below(&r, TRIED);
		uint8_t byte = (uint8_t)random_below(&r, 3);

		page_of(&a, page)[7] = byte;
		page_of(&b, page)[7] = byte;
		(void)page_of(&b, (unsigned int)random_below(&r, TRIED));
		ck_assert_int_eq(state_digest_take(&b.digest), 0);
	}
	ck_assert_int_eq(state_digest_take(&a.digest), 0);
	ck_assert_uint_eq(a.digest.ram, b.digest.ram);
	unmake(&a);
	unmake(&b);
}
END_TEST

struct event_room {
	struct event e;
	struct event_row rows[EVENT_DIGEST_ROWS_MOST];
	uint64_t registers[BOUNDARY_REGISTERS];
};

static void note(struct event_room *to, const struct machine *m, const struct boundary *at)
{
	boundary_registers(at, to->registers);
	to->e = (struct event){.kind = EVENT_DIGEST, .digest = {.registers = BOUNDARY_REGISTERS, .size = 1, .paging = "x", .ram = m->digest.ram}};
	to->e.digest.rows = (uint8_t)state_digest_rows(&m->digest, to->rows, EVENT_DIGEST_ROWS_MOST);
	to->e.digest.row_bytes = to->rows;
	to->e.digest.register_bytes = to->registers;
}

START_TEST(each_register_is_named)
{
	struct event_room expected;
	struct boundary at = {.open = true};
	struct digest_difference d;
	struct machine m;

	make(&m);
	ck_assert_int_eq(state_digest_take(&m.digest), 0);
	note(&expected, &m, &at);
	ck_assert_int_eq(digest_compare(&expected.e, &at, &m.digest, true, &d), DIGEST_SAME);
	for (unsigned int i = 0; i < BOUNDARY_REGISTERS; i++) {
		expected.registers[i] ^= 0x10;
		ck_assert_int_eq(digest_compare(&expected.e, &at, &m.digest, true, &d), DIGEST_REGISTERS_DIFFER);
		ck_assert_ptr_nonnull(strstr(d.expected, boundary_register_names[i]));
		ck_assert_ptr_nonnull(strstr(d.expected, " 0x10"));
		ck_assert_ptr_nonnull(strstr(d.found, " 0x0"));
		ck_assert_int_eq(digest_compare(&expected.e, NULL, &m.digest, true, &d), DIGEST_SAME);
		expected.registers[i] ^= 0x10;
	}
	unmake(&m);
}
END_TEST

/* The recording's RAM and the replay's: after the first digest, in which they are the same, both write, and one page becomes another. */
static void assert_page_named(struct random *r, bool stray)
{
	struct event_room first, second;
	struct boundary at = {.open = true};
	struct digest_difference d;
	struct machine a, b;
	char gpa[40];
	unsigned int page = (unsigned int)random_below(r, 40);

	make(&a);
	make(&b);
	for (unsigned int i = 0; i < 50; i++)
		page_of(&a, i)[0] = page_of(&b, i)[0] = 1;
	ck_assert_int_eq(state_digest_take(&a.digest), 0);
	ck_assert_int_eq(state_digest_take(&b.digest), 0);
	note(&first, &a, &at);
	ck_assert_int_eq(digest_compare(&first.e, &at, &b.digest, true, &d), DIGEST_SAME);
	for (unsigned int i = 45; i < 50; i++)
		page_of(&a, i)[0] = page_of(&b, i)[0] = 2;
	if (!stray)
		page_of(&a, page)[100] = 3;
	page_of(&b, page)[100] = 4;
	ck_assert_int_eq(state_digest_take(&a.digest), 0);
	ck_assert_int_eq(state_digest_take(&b.digest), 0);
	note(&second, &a, &at);
	ck_assert_int_eq(digest_compare(&second.e, &at, &b.digest, true, &d), DIGEST_RAM_DIFFERS);
	snprintf(gpa, sizeof(gpa), "page at gpa 0x%llx", (unsigned long long)gpa_of(page));
	ck_assert_msg(strstr(d.what, gpa) && *d.expected && *d.found && strcmp(d.expected, d.found) != 0, "%s: %s", gpa, d.what);
	ck_assert_int_eq(digest_compare(&second.e, &at, &b.digest, false, &d), DIGEST_RAM_DIFFERS);
	ck_assert_int_eq(!strstr(d.what, gpa), stray);
	unmake(&a);
	unmake(&b);
}

START_TEST(the_page_is_named)
{
	struct random r = random_start("the_page_is_named");

	for (unsigned int i = 0; i < 20; i++)
		assert_page_named(&r, i % 2);
}
END_TEST

START_TEST(rows_that_cannot_be)
{
	static const struct event_row none[][2] = {
		{{5, 1, 0}, {5, 1, 0}}, {{5, 2, 0}, {6, 1, 0}}, {{6, 1, 0}, {5, 1, 0}}, {{5, 0, 0}, {7, 1, 0}},
		{{5, 1, 0}, {1 << 10, 1, 0}}, {{5, 1, 0}, {(1 << 10) - 1, 2, 0}}, {{5, 1, 0}, {UINT32_MAX, UINT32_MAX, 0}},
	};
	struct event_room e;
	struct boundary at = {.open = true};
	struct digest_difference d;
	struct machine m;

	make(&m);
	ck_assert_int_eq(state_digest_take(&m.digest), 0);
	note(&e, &m, &at);
	e.e.digest.rows = 2;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		memcpy(e.rows, none[i], sizeof(none[i]));
		ck_assert_int_eq(digest_compare(&e.e, &at, &m.digest, true, &d), DIGEST_NONSENSE);
	}
	unmake(&m);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {as_made_anew, whatever_was_looked_at, each_register_is_named, the_page_is_named, rows_that_cannot_be};

	return RUN_TESTS("replay_digest", tests);
}
