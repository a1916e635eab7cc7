#include "tests/unit/shadow_zone.h"

#include "shadow/shadow_page.h"

#define TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_BITS (TABLE_BITS | PTE_D)

static const unsigned int first_of_level[] = {14, 8, 5, 2, 0}; /* zone page with which a level begins; [0] is the end */
const unsigned int zone_indexes[ZONE_INDEXES] = {0, 1, 31, 32, 256, 511};

bool zone_one_in(struct random *r, unsigned int n)
{
	return random_below(r, n) == 0;
}

static uint64_t zone_page(struct random *r)
{
	return ZONE + random_below(r, ZONE_PAGES) * PAGE_SIZE;
}

uint64_t zone_table(struct random *r, int level)
{
	unsigned int first = first_of_level[level], count = first_of_level[level - 1] - first;

	return ZONE + (first + random_below(r, count)) * PAGE_SIZE;
}

uint64_t zone_target(struct random *r)
{
	switch (random_below(r, 8)) {
	case 0:
		return ZONE_RAM - PAGE_SIZE + random_below(r, 4) * PAGE_SIZE;
	case 1:
		return MACHINE_POOL_GPA + random_below(r, 64) * PAGE_SIZE;
	case 2:
		return 0xd0000000;
	case 3:
	case 4:
		return random_below(r, 5) << 21;
	case 5:
		return zone_page(r);
	default:
		return random_below(r, ZONE_RAM / PAGE_SIZE) * PAGE_SIZE;
	}
}

/* Level of the table in which gpa lies, if it is one of its kind. */
static int level_at(uint64_t gpa)
{
	for (int level = 4; level > 1; level--) {
		if (gpa < ZONE + first_of_level[level - 1] * PAGE_SIZE)
			return level;
	}
	return 1;
}

uint64_t zone_flip(struct random *r, uint64_t gpte)
{
	static const unsigned int bits[] = {0, 1, 2, 5, 6, 63, 1, 2, 5, 6, 63, 7, 14, 41};

	const unsigned int count = sizeof(bits) / sizeof(bits[0]);

	return gpte ^ 1ull << (zone_one_in(r, 8) ? random_below(r, 64) : bits[random_below(r, count)]);
}

uint64_t zone_gpte(struct random *r, uint64_t gpa)
{
	int level = level_at(gpa);
	uint64_t gpte = TABLE_BITS | PTE_D;

	if (zone_one_in(r, 12))
		gpte |= gpa & ~(PAGE_SIZE - 1);
	else
		gpte |= level == 1 || zone_one_in(r, 6) ? zone_target(r) : zone_table(r, level - 1);
	if (level == 2 && zone_one_in(r, 4))
		gpte = random_below(r, 5) << 21 | PTE_PS | PAGE_BITS;
	if (zone_one_in(r, 4))
		gpte = zone_flip(r, gpte);
	if (zone_one_in(r, 8))
		gpte = zone_flip(r, gpte);
	return gpte;
}

uint64_t zone_entry(struct random *r)
{
	return zone_page(r) + zone_indexes[random_below(r, ZONE_INDEXES)] * sizeof(uint64_t);
}

uint64_t zone_gva(struct random *r)
{
	uint64_t gva = random_below(r, PAGE_SIZE / 8) * 8;

	for (int level = 1; level <= 4; level++)
		gva |= (uint64_t)zone_indexes[random_below(r, level == 4 ? 3 : ZONE_INDEXES)] << (3 + 9 * level);
	if (zone_one_in(r, 10))
		gva |= 0x1ffull << 39;
	if (zone_one_in(r, 100))
		gva = (gva & ((1ull << 39) - 1)) | 0x100ull << 39;
	if (gva >> 47)
		gva |= 0xffffull << 48;
	if (zone_one_in(r, 200))
		gva ^= 1ull << 60;
	return gva;
}

void zone_fill(struct machine *m, struct random *r)
{
	for (uint64_t page = ZONE; page < ZONE + ZONE_PAGES * PAGE_SIZE; page += PAGE_SIZE) {
		for (unsigned int i = 0; i < ZONE_INDEXES; i++)
			*machine_word(m, page + zone_indexes[i] * sizeof(uint64_t)) = zone_gpte(r, page);
	}
}
