/* The table of `ctl stats --watch`: what stands in it, against the numbers it is made of, on terminals of any size. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/stats_table.h"

static json_t *make_guest(int number, const char *how, json_int_t wall_us, json_int_t exits)
{
	return json_pack("{s:i, s:{s:s}, s:s, s:{s:I, s:I}, s:I}", "number", number, "ended", "how", how, "mmu_now", "shadow", "exits",
			 "io", exits, "interrupted", (json_int_t)0, "wall_us", wall_us);
}

static void give_scavenger(json_t *guest, json_int_t kib, json_int_t refaults, json_int_t cpu_us)
{
	json_object_set_new(guest, "scavenger",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "resident_kib", kib, "zero_kib", kib * 2, "shared_kib",
				      kib * 3, "same_kib", kib, "delta_kib", kib * 2, "compressed_kib", kib * 3, "saved_kib", -kib, "refaults",
				      refaults, "cpu_us", cpu_us));
}

/* The caller frees it. */
static char *print(const json_t *guests, const json_t *before, unsigned int width, unsigned int height, unsigned int *lines)
{
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);

	*lines = stats_table_print(out, guests, before, width, height, "|\n");
	fclose(out);
	return text;
}

static void check_table(const json_t *guests, const json_t *before, unsigned int width, unsigned int height, const char *wanted)
{
	unsigned int lines;
	char *text = print(guests, before, width, height, &lines);

	ck_assert_str_eq(text, wanted);
	free(text);
}

START_TEST(test_without_scavenger)
{
	json_t *before = json_pack("[o, o]", make_guest(0, "running", 1000000, 100), make_guest(1, "running", 900000, 7));
	json_t *now = json_pack("[o, o]", make_guest(0, "running", 3000000, 1100), make_guest(1, "timed out", 900000, 7));

	check_table(before, NULL, 80, 24,
		    "guest mode          exits/s|\n"
		    "    0 shadow              -|\n"
		    "    1 shadow              -|\n"
		    "  all                     -|\n");
	check_table(now, before, 80, 24,
		    "guest mode          exits/s|\n"
		    "    0 shadow            500|\n"
		    "    1 timed out           0|\n"
		    "  all                   500|\n");
	check_table(now, before, 26, 3,
		    "guest mode        |\n"
		    "  and 2 more|\n"
		    "  all             |\n");
	check_table(now, before, 7, 24,
		    "guest m|\n"
		    "    0 s|\n"
		    "    1 t|\n"
		    "  all  |\n");
	json_decref(before);
	json_decref(now);
}
END_TEST

START_TEST(test_with_scavenger)
{
	json_t *before = json_pack("[o]", make_guest(3, "running", 1000000, 0));
	json_t *now = json_pack("[o]", make_guest(3, "running", 1500000, 100000));

	give_scavenger(json_array_get(before, 0), 0, 10, 5000);
	give_scavenger(json_array_get(now, 0), 999, 12, 55000);
	check_table(now, before, 84, 24,
		    "guest mode         resident    zero  shared    cold   saved faults/s    cpu  exits/s|\n"
		    "    3 shadow           999K    2.0M    2.9M    5.9M   -999K      4.0  10.0%     200k|\n");
	check_table(now, NULL, 83, 24,
		    "guest mode         resident    zero  shared    cold   saved faults/s    cpu|\n"
		    "    3 shadow           999K    2.0M    2.9M    5.9M   -999K        -      -|\n");
	check_table(now, before, 41, 2,
		    "guest mode         resident    zero|\n"
		    "    3 shadow           999K    2.0M|\n");
	json_decref(before);
	json_decref(now);
}
END_TEST

START_TEST(test_sizes)
{
	static const struct { json_int_t kib; const char *said; } sizes[] = {
		{0, "   0K|\n"}, {1, "   1K|\n"}, {999, " 999K|\n"}, {1000, " 1.0M|\n"}, {64 << 10, "64.0M|\n"}, {256 << 10, " 256M|\n"}, {1 << 20, " 1.0G|\n"},
		{100ll << 20, " 100G|\n"}, {512ll << 20, " 512G|\n"}, {4096ll << 20, " 4.0T|\n"}, {-1, "  -1K|\n"}, {-(5ll << 10), "-5.0M|\n"},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		json_t *guests = json_pack("[o]", make_guest(0, "running", 1, 0));
		unsigned int lines;
		char *text;

		give_scavenger(json_array_get(guests, 0), sizes[i].kib, 0, 0);
		text = print(guests, NULL, 27, 24, &lines);
		ck_assert_str_eq(text + strlen(text) - 7, sizes[i].said);
		free(text);
		json_decref(guests);
	}
}
END_TEST

/* Nothing goes beyond the terminal; what is shown of the guests is its beginning. */
START_TEST(test_any_terminal)
{
	struct random r = random_start("stats-table");

	for (int round = 0; round < 300; round++) {
		unsigned int count = (unsigned int)random_below(&r, 30), width = 1 + (unsigned int)random_below(&r, 120);
		unsigned int height = (unsigned int)random_below(&r, 40), lines, counted = 0, shown = 0;
		json_t *guests = json_array();
		char *text, *rest, *line;

		for (unsigned int i = 0; i < count; i++) {
			json_t *guest = make_guest((int)i, random_below(&r, 2) ? "running" : "cannot in this mode on this host",
						   (json_int_t)random_below(&r, 1 << 30), (json_int_t)(random_next(&r) >> 2));

			give_scavenger(guest, (json_int_t)random_below(&r, 1ull << random_below(&r, 40)), (json_int_t)(random_next(&r) >> 2),
				       (json_int_t)(random_next(&r) >> 2));
			json_array_append_new(guests, guest);
		}
		rest = text = print(guests, random_below(&r, 2) ? guests : NULL, width, height, &lines);
		while (line = strsep(&rest, "\n"), rest) {
			expect_msg(strlen(line) <= width + 1, "%u columns: '%s'", width, line);
			counted++;
			shown += strlen(line) > 4 && strspn(line, " ") < 5 && line[4] >= '0' && line[4] <= '9';
		}
		expect_eq(counted, lines);
		if (height > 3)
			expect(lines <= height);
		if (width >= 5 && (count + 2 <= height))
			expect_eq(shown, count);
		free(text);
		json_decref(guests);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_without_scavenger, test_with_scavenger, test_sizes, test_any_terminal};

	return RUN_TESTS("stats-table", tests);
}
