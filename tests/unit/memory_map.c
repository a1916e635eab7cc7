/* The memory map of PCs, for every interesting size of RAM, page by page against what a PC has where. */
#include "vmm/memory_map.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tests/unit/expect.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* 0: nothing is said of it. */
static uint32_t type_at(const struct memory_map *map, uint64_t gpa)
{
	uint32_t type = 0;

	for (unsigned int i = 0; i < map->count; i++) {
		const struct memory_map_entry *e = &map->entry[i];

		if (gpa < e->gpa || gpa >= e->gpa + e->size)
			continue;
		expect_eq(type, 0); /* only one entry */
		type = e->type;
	}
	return type;
}

static uint32_t expected_at(uint64_t ram, uint64_t gpa)
{
	bool is_ram = gpa < 3 * GIB ? gpa < ram : gpa >= 4 * GIB && gpa - GIB < ram;

	if (gpa >= 636 * 1024 && gpa < MIB)
		return MEMORY_MAP_RESERVED;
	return is_ram ? MEMORY_MAP_RAM : 0;
}

static const uint64_t sizes[] = {MIB, MIB + 4096, 2 * MIB, 256 * MIB, 3 * GIB - 4096, 3 * GIB, 3 * GIB + 4096, 5 * GIB, 512 * GIB};

START_TEST(test_every_place)
{
	const uint64_t ram = sizes[_i];
	const uint64_t edges[] = {0, 636 * 1024, MIB, ram, 3 * GIB, 4 * GIB, ram + GIB};
	struct memory_map map;
	struct mem m;

	ck_assert_int_eq(mem_create(&m, ram, MEM_HUGE_NEVER), 0);
	map = memory_map_of(&m);
	for (unsigned int e = 0; e < sizeof(edges) / sizeof(*edges); e++)
		for (uint64_t gpa = edges[e] < 8192 ? 0 : edges[e] - 8192; gpa < edges[e] + 8192; gpa += 1024)
			expect_msg(type_at(&map, gpa) == expected_at(ram, gpa), "RAM %#lx, gpa %#lx", (unsigned long)ram,
				   (unsigned long)gpa);
	for (unsigned int i = 0; i < map.count; i++) {
		expect(map.entry[i].size > 0);
		expect(i == 0 || map.entry[i - 1].gpa + map.entry[i - 1].size <= map.entry[i].gpa);
	}
	mem_destroy(&m);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("memory_map");

	tcase_add_loop_test(tcase, test_every_place, 0, sizeof(sizes) / sizeof(*sizes));
	return run_case("memory_map", tcase);
}
