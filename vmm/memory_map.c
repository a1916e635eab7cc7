#include "vmm/memory_map.h"

#include "vmm/ensure.h"
#include "vmm/mem.h"

static void add(struct memory_map *map, uint64_t gpa, uint64_t end, uint32_t type)
{
	if (end <= gpa)
		return;
	ensure(map->count < MEMORY_MAP_MAX);
	map->entry[map->count++] = (struct memory_map_entry){.gpa = gpa, .size = end - gpa, .type = type};
}

struct memory_map memory_map_of(const struct mem *m)
{
	struct memory_map map = {.count = 0};

	_Static_assert(MEM_MAX_REGIONS + 2 <= MEMORY_MAP_MAX, "the lowest region makes three entries");
	_Static_assert(MEM_MIN_BYTES >= MEMORY_MAP_HIGH, "the hole is inside the lowest region");
	add(&map, 0, MEMORY_MAP_LOW_END, MEMORY_MAP_RAM);
	add(&map, MEMORY_MAP_LOW_END, MEMORY_MAP_HIGH, MEMORY_MAP_RESERVED);
	add(&map, MEMORY_MAP_HIGH, m->region[0].size, MEMORY_MAP_RAM);
	for (unsigned int i = 1; i < m->region_count; i++)
		add(&map, m->region[i].gpa, m->region[i].gpa + m->region[i].size, MEMORY_MAP_RAM);
	return map;
}
