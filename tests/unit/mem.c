/*
 * Guest RAM against a naive oracle: which single bytes are RAM, in 128-bit arithmetic.
 */
#include "vmm/mem.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "guest/abi.h"
#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/sanitized.h"
#include "tests/vm/suite.h"

#define GIB (1ull << 30)

typedef unsigned __int128 wide;

static const uint64_t ram_sizes[] = {
	MEM_MIN_BYTES, 64ull << 20,
	3 * GIB - PAGE_SIZE, 3 * GIB, 3 * GIB + PAGE_SIZE, 5 * GIB + PAGE_SIZE,
};

/* Oracle: the region that holds byte gpa, -1 for none. */
static int region_of_byte(uint64_t ram, wide gpa)
{
	uint64_t low = ram < 3 * GIB ? ram : 3 * GIB;

	if (gpa < low)
		return 0;
	if (gpa >= 4 * GIB && gpa < (wide)4 * GIB + (ram - low))
		return 1;
	return -1;
}

/* Oracle: regions are convex, so a range is in one when its ends are. */
static int region_of_range(uint64_t ram, uint64_t gpa, uint64_t size)
{
	int first;

	if (!size)
		return -1;
	first = region_of_byte(ram, gpa);
	return first == region_of_byte(ram, (wide)gpa + size - 1) ? first : -1;
}

static void check_door(struct mem *m, uint64_t gpa, uint64_t size)
{
	int region = region_of_range(m->size, gpa, size);
	const uint8_t *hva = mem_at(m, gpa, size, MEM_READ);

	if (region < 0) {
		ck_assert_msg(!hva, "0x%" PRIx64 "+0x%" PRIx64 " opened", gpa, size);
		return;
	}
	ck_assert_msg(hva, "0x%" PRIx64 "+0x%" PRIx64 " stayed shut", gpa, size);
	ck_assert_ptr_eq(hva, m->region[region].hva + (gpa - (region ? 4 * GIB : 0)));
}

/* Every gpa near every border, with every size that ends near every border. */
START_TEST(door_near_borders)
{
	uint64_t ram = ram_sizes[_i];
	uint64_t borders[] = {
		0, PAGE_SIZE, ram, 3 * GIB, 4 * GIB, 1 * GIB + ram, ram / 2, 1ull << 63,
	};
	const size_t count = sizeof(borders) / sizeof(borders[0]);
	struct mem m;

	ck_assert_int_eq(mem_create(&m, ram, MEM_HUGE_NEVER), 0);
	for (size_t from = 0; from < count; from++) {
		for (size_t to = 0; to < count; to++) {
			for (uint64_t d = 0; d < 19; d++) {
				for (uint64_t e = 0; e < 19; e++) {
					uint64_t gpa = borders[from] + d - 9;

					check_door(&m, gpa, borders[to] + e - 9 - gpa);
					check_door(&m, gpa, borders[to] + e - 9);
				}
			}
		}
	}
	mem_destroy(&m);
}
END_TEST

START_TEST(door_at_random)
{
	struct random r = random_start("door_at_random");
	struct mem m;

	ck_assert_int_eq(mem_create(&m, 5 * GIB, MEM_HUGE_NEVER), 0);
	for (int i = 0; i < 300000; i++) {
		uint64_t gpa = random_next(&r) >> random_below(&r, 64);

		check_door(&m, gpa, random_next(&r) >> random_below(&r, 64));
	}
	mem_destroy(&m);
}
END_TEST

/* Numbers count the pages of RAM in order of gpa, and every way there and back fits. */
START_TEST(page_numbers)
{
	uint64_t ram = ram_sizes[_i], pages = ram / PAGE_SIZE;
	struct random r = random_start("page_numbers");
	struct mem m;

	ck_assert_int_eq(mem_create(&m, ram, MEM_HUGE_NEVER), 0);
	for (int i = 0; i < 20000; i++) {
		uint64_t page = i < 10 ? (uint64_t)i : i < 20 ? pages - 1 - (uint64_t)i % 10 : random_below(&r, pages);
		uint64_t low = page * PAGE_SIZE, gpa = low < 3 * GIB ? low : low + GIB;
		uint64_t in_page = random_below(&r, PAGE_SIZE), end = low < 3 * GIB && ram > 3 * GIB ? 3 * GIB : ram;

		expect_eq(mem_page_gpa(&m, page), gpa);
		expect_eq(mem_page_number(&m, gpa + in_page), page);
		expect(mem_page_hva(&m, page) == mem_at(&m, gpa, PAGE_SIZE, MEM_READ));
		expect_eq(mem_page_at(&m, mem_page_hva(&m, page) + in_page), page);
		expect_eq(mem_page_room(&m, page), (end - low) / PAGE_SIZE);
	}
	mem_destroy(&m);
}
END_TEST

START_TEST(page_number_outside_is_our_bug)
{
	struct mem m;

	ck_assert_int_eq(mem_create(&m, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	if (_i == 0)
		mem_page_number(&m, MEM_MIN_BYTES);
	else if (_i == 1)
		mem_page_gpa(&m, MEM_MIN_BYTES / PAGE_SIZE);
	else
		mem_page_at(&m, &m);
}
END_TEST

START_TEST(regions)
{
	uint64_t ram = ram_sizes[_i], total = 0;
	struct mem m;

	ck_assert_int_eq(mem_create(&m, ram, _i % 2 ? MEM_HUGE_ADVISE : MEM_HUGE_NEVER), 0);
	ck_assert_uint_eq(m.size, ram);
	ck_assert_uint_eq(m.region_count, ram > 3 * GIB ? 2 : 1);
	for (unsigned int i = 0; i < m.region_count; i++) {
		ck_assert_uint_eq(m.region[i].gpa, i ? 4 * GIB : 0);
		ck_assert_uint_eq((uintptr_t)m.region[i].hva % (2u << 20), 0);
		total += m.region[i].size;
	}
	ck_assert_uint_eq(total, ram);
	mem_destroy(&m);
	ck_assert_uint_eq(m.region_count, 0);
	ck_assert_ptr_null(mem_at(&m, 0, 1, MEM_READ));
}
END_TEST

START_TEST(bad_sizes)
{
	static const uint64_t sizes[] = {
		0, 1, PAGE_SIZE, MEM_MIN_BYTES - PAGE_SIZE, MEM_MIN_BYTES - 1, MEM_MIN_BYTES + 1,
		MEM_MAX_BYTES + 1, MEM_MAX_BYTES + PAGE_SIZE, 1ull << 63, -PAGE_SIZE, UINT64_MAX,
	};
	struct mem m;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(mem_create(&m, sizes[i], MEM_HUGE_NEVER), -EINVAL);
		ck_assert_uint_eq(m.region_count, 0);
	}
}
END_TEST

/* Finds what /proc says about the mapping that holds p: the line that begins with `field`. */
static bool smaps_line(const void *p, const char *field, char *line, int size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	uintptr_t start, end;
	bool here = false, found = false;

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, size, f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			here = (uintptr_t)p >= start && (uintptr_t)p < end;
		found = here && !strncmp(line, field, strlen(field));
	}
	fclose(f);
	return found;
}

START_TEST(untouched_and_advised)
{
	static const struct {
		enum mem_huge huge;
		const char *flag;
	} cases[] = { { MEM_HUGE_ADVISE, " hg" }, { MEM_HUGE_NEVER, " nh" } };
	char line[512];
	struct mem m;

	ck_assert_int_eq(mem_create(&m, 64ull << 20, cases[_i].huge), 0);
	ck_assert(smaps_line(m.region[0].hva, "Rss:", line, sizeof(line)));
	ck_assert_int_eq(atoi(line + 4), 0);
	ck_assert(smaps_line(m.region[0].hva, "VmFlags:", line, sizeof(line)));
	/* A kernel without huge pages has neither flag. */
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0)
		ck_assert_msg(strstr(line, cases[_i].flag), "no%s in %s", cases[_i].flag, line);
	mem_destroy(&m);
}
END_TEST

static int count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	int c, lines = 0;

	ck_assert_ptr_nonnull(f);
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

static uint64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	uint64_t pages = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%" SCNu64, &pages), 1);
	fclose(f);
	return pages * PAGE_SIZE;
}

#define ROUNDS 20

/* A sanitizer maps something of its own now and then. */
START_TEST(nothing_left)
{
	uint64_t bytes;
	struct mem m;
	int before;

	ck_assert_int_eq(mem_create(&m, 5 * GIB, MEM_HUGE_ADVISE), 0);
	mem_destroy(&m);
	before = count_mappings();
	bytes = address_space();
	for (int i = 0; i < ROUNDS; i++) {
		ck_assert_int_eq(mem_create(&m, ram_sizes[i % 6], MEM_HUGE_ADVISE), 0);
		mem_destroy(&m);
	}
	ck_assert_int_lt(count_mappings(), before + (SANITIZED ? ROUNDS : 1));
	ck_assert_uint_lt(address_space(), bytes + GIB);
}
END_TEST

/* The limit lets the first region pass and stops the second: the first must be given back. */
START_TEST(no_address_space)
{
	struct rlimit limit;
	struct capture c;
	struct mem m;
	int before = count_mappings(), err;

	if (address_space() > 3 * GIB) {
		puts("no_address_space: skipped, a sanitizer has taken more than the limit");
		return;
	}
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = 4 * GIB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	capture_begin(&c);
	err = mem_create(&m, 8 * GIB, MEM_HUGE_NEVER);
	ck_assert_int_eq(err, -ENOMEM);
	assert_one_line(capture_end(&c), "Cannot allocate memory");
	ck_assert_int_eq(count_mappings(), before);
}
END_TEST

struct witness {
	struct mem_listener listener;
	int dirtied, remapped;
	uint64_t gpa, size;
};

static void witness_dirtied(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct witness *w = (struct witness *)l;

	w->dirtied++;
	w->gpa = gpa;
	w->size = size;
}

static void witness_remapped(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct witness *w = (struct witness *)l;

	w->remapped++;
	w->gpa = gpa;
	w->size = size;
}

START_TEST(copies)
{
	struct random r = random_start("copies");
	struct witness w = { .listener.dirtied = witness_dirtied };
	uint8_t *model = calloc(1, MEM_MIN_BYTES), bytes[9000];
	struct mem m;

	ck_assert_ptr_nonnull(model);
	ck_assert_int_eq(mem_create(&m, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	mem_listen(&m, &w.listener);
	for (int i = 0; i < 5000; i++) {
		uint64_t gpa = random_below(&r, MEM_MIN_BYTES + 5000);
		uint64_t size = random_below(&r, sizeof(bytes));
		bool ram = !size || gpa + size <= MEM_MIN_BYTES;
		int dirtied = w.dirtied;

		memset(bytes, i, sizeof(bytes));
		ck_assert_int_eq(mem_write(&m, gpa, bytes, size), ram ? 0 : -EFAULT);
		ck_assert_int_eq(w.dirtied - dirtied, ram && size);
		if (ram && size) {
			memset(model + gpa, i, size);
			ck_assert_uint_eq(w.gpa, gpa / PAGE_SIZE * PAGE_SIZE);
			ck_assert_uint_eq((w.gpa + w.size) % PAGE_SIZE, 0);
			ck_assert_uint_ge(w.gpa + w.size, gpa + size);
			ck_assert_uint_lt(w.gpa + w.size, gpa + size + PAGE_SIZE);
		}
		ck_assert_int_eq(mem_read(&m, gpa, bytes, size), ram ? 0 : -EFAULT);
		if (ram && size)
			ck_assert_mem_eq(bytes, model + gpa, size);
	}
	ck_assert_mem_eq(m.region[0].hva, model, MEM_MIN_BYTES);
	mem_destroy(&m);
	free(model);
}
END_TEST

START_TEST(copies_at_the_hole)
{
	struct witness w = { .listener.dirtied = witness_dirtied };
	uint8_t bytes[32], before[sizeof(bytes)];
	struct mem m;

	ck_assert_int_eq(mem_create(&m, 4 * GIB, MEM_HUGE_NEVER), 0);
	memset(bytes, 0x5a, sizeof(bytes));
	memcpy(before, bytes, sizeof(bytes));
	ck_assert_int_eq(mem_write(&m, 3 * GIB - 16, bytes, 16), 0);
	ck_assert_int_eq(mem_write(&m, 4 * GIB, bytes, 16), 0);
	mem_listen(&m, &w.listener);
	ck_assert_int_eq(mem_write(&m, 3 * GIB - 8, bytes, 9), -EFAULT);
	ck_assert_int_eq(mem_write(&m, 4 * GIB - 1, bytes, 9), -EFAULT);
	ck_assert_int_eq(mem_write(&m, 3 * GIB - 8, bytes, GIB + 16), -EFAULT);
	ck_assert_int_eq(mem_write(&m, UINT64_MAX - 3, bytes, 16), -EFAULT);
	ck_assert_int_eq(mem_read(&m, 3 * GIB - 8, bytes, 9), -EFAULT);
	ck_assert_int_eq(mem_read(&m, 5 * GIB - 1, bytes, 2), -EFAULT);
	ck_assert_int_eq(mem_read(&m, UINT64_MAX, bytes, 2), -EFAULT);
	ck_assert_int_eq(mem_read(&m, 0, bytes, UINT64_MAX), -EFAULT);
	ck_assert_mem_eq(bytes, before, sizeof(bytes));
	ck_assert_int_eq(w.dirtied, 0);
	mem_destroy(&m);
}
END_TEST

static void leave(struct mem_listener *l, uint64_t gpa, uint64_t size);

struct leaver {
	struct mem_listener listener;
	struct mem *mem;
	int calls;
};

static void leave(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct leaver *leaver = (struct leaver *)l;

	leaver->calls++;
	mem_unlisten(leaver->mem, l);
	l->next = NULL;
}

START_TEST(listeners)
{
	struct witness both = {
		.listener = { .dirtied = witness_dirtied, .remapped = witness_remapped },
	};
	struct witness none = { .dirtied = 0 };
	struct leaver leaver = { .listener.dirtied = leave };
	struct mem m;

	ck_assert_int_eq(mem_create(&m, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	leaver.mem = &m;
	mem_listen(&m, &both.listener);
	mem_listen(&m, &leaver.listener);
	mem_listen(&m, &none.listener);
	ck_assert_ptr_nonnull(mem_at(&m, 4095, 2, MEM_WRITE));
	ck_assert_int_eq(both.dirtied, 1);
	ck_assert_uint_eq(both.gpa, 0);
	ck_assert_uint_eq(both.size, 8192);
	ck_assert_ptr_nonnull(mem_at(&m, 0, MEM_MIN_BYTES, MEM_WRITE));
	ck_assert_uint_eq(both.size, MEM_MIN_BYTES);
	ck_assert_int_eq(leaver.calls, 1);
	ck_assert_ptr_null(mem_at(&m, MEM_MIN_BYTES - 1, 2, MEM_WRITE));
	ck_assert_ptr_nonnull(mem_at(&m, 0, 1, MEM_READ));
	ck_assert_int_eq(both.dirtied, 2);
	mem_remapped(&m, 8192, 4096);
	ck_assert_int_eq(both.remapped, 1);
	ck_assert_uint_eq(both.gpa, 8192);
	mem_unlisten(&m, &both.listener);
	mem_unlisten(&m, &both.listener);
	mem_dirtied(&m, 0, 1);
	ck_assert_int_eq(both.dirtied, 2);
	mem_destroy(&m);
}
END_TEST

/* Random pins that come and go, against a count for every page. */
START_TEST(pins)
{
	enum { PINS = 40, PAGES = MEM_MIN_BYTES / PAGE_SIZE };
	struct random r = random_start("mem pins");
	static struct mem_pin pin[PINS];
	static unsigned int count[PAGES];
	bool held[PINS] = {false};
	struct witness c = {.listener.dirtied = witness_dirtied};
	struct mem m;

	ck_assert_int_eq(mem_create(&m, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	mem_listen(&m, &c.listener);
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int n = (unsigned int)random_below(&r, PINS);
		uint64_t gpa = random_below(&r, MEM_MIN_BYTES + 100), size = random_below(&r, 3 * PAGE_SIZE);
		bool fits = size && gpa + size <= MEM_MIN_BYTES, write = random_below(&r, 2), pinned = false;
		int before = c.dirtied;

		if (held[n]) {
			for (uint64_t p = pin[n].gpa / PAGE_SIZE; p <= (pin[n].gpa + pin[n].size - 1) / PAGE_SIZE; p++)
				count[p]--;
			write = pin[n].use == MEM_WRITE;
			mem_unpin(&m, &pin[n]);
			held[n] = false;
			ck_assert_int_eq(c.dirtied - before, write);
		} else {
			held[n] = mem_pin(&m, &pin[n], gpa, size, write ? MEM_WRITE : MEM_READ) != NULL;
			ck_assert_int_eq(held[n], fits);
			ck_assert_int_eq(c.dirtied - before, fits && write);
			for (uint64_t p = gpa / PAGE_SIZE; fits && p <= (gpa + size - 1) / PAGE_SIZE; p++)
				count[p]++;
		}
		gpa = random_below(&r, MEM_MIN_BYTES - PAGE_SIZE);
		size = 1 + random_below(&r, PAGE_SIZE);
		for (uint64_t p = gpa / PAGE_SIZE; p <= (gpa + size - 1) / PAGE_SIZE; p++)
			pinned |= count[p] > 0;
		ck_assert_msg(mem_is_pinned(&m, gpa, size) == pinned, "0x%" PRIx64 "+0x%" PRIx64, gpa, size);
	}
	mem_destroy(&m);
}
END_TEST

START_TEST(dirtied_outside_is_our_bug)
{
	struct mem m;

	ck_assert_int_eq(mem_create(&m, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	mem_dirtied(&m, MEM_MIN_BYTES - 1, 2);
}
END_TEST

int main(void)
{
	const int sizes = sizeof(ram_sizes) / sizeof(ram_sizes[0]);
	TCase *tcase = tcase_create("mem");

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, door_near_borders, 0, sizes);
	tcase_add_test(tcase, door_at_random);
	tcase_add_loop_test(tcase, page_numbers, 0, sizes);
	tcase_add_loop_test_raise_signal(tcase, page_number_outside_is_our_bug, SIGABRT, 0, 3);
	tcase_add_loop_test(tcase, regions, 0, sizes);
	tcase_add_test(tcase, bad_sizes);
	tcase_add_loop_test(tcase, untouched_and_advised, 0, 2);
	tcase_add_test(tcase, nothing_left);
	tcase_add_test(tcase, no_address_space);
	tcase_add_test(tcase, copies);
	tcase_add_test(tcase, copies_at_the_hole);
	tcase_add_test(tcase, listeners);
	tcase_add_test(tcase, pins);
	tcase_add_test_raise_signal(tcase, dirtied_outside_is_our_bug, SIGABRT);
	return run_case("mem", tcase);
}
