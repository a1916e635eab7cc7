/* Operations of ring 0 on address spaces: changing between them, and forgetting translations. */
#include "guest/images/mmucost.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"

#define SPACES_MAX 32u

static struct {
	uint64_t roots[SPACES_MAX];
	uint64_t good; /* reads behind a change that saw the right page */
} spaces;

static bool all_good(uint64_t count)
{
	return spaces.good == count;
}

/* Spaces that share the kernel's half and have a page of their own each. */
static void switch_spaces(uint64_t count, unsigned int among)
{
	unsigned int space = 0;

	for (uint64_t i = 0; i < count; i++) {
		write_cr3(spaces.roots[space]);
		spaces.good += number_at(WINDOW) == space;
		space = space + 1 < among ? space + 1 : 0;
	}
}

static void set_up_spaces(unsigned int among)
{
	for (unsigned int i = 0; i < among; i++) {
		spaces.roots[i] = new_page();
		*(uint64_t *)page_pointer(spaces.roots[i]) = kernel_pml4[0];
		map_numbered(spaces.roots[i], WINDOW, i, PTE_KERNEL_DATA);
	}
	switch_spaces(2ull * among, among);
	spaces.good = 0;
}

static void set_up_one(uint64_t count)
{
	set_up_spaces(1);
}

static void switch_one(uint64_t count)
{
	switch_spaces(count, 1);
}

static void set_up_two(uint64_t count)
{
	set_up_spaces(2);
}

static void switch_two(uint64_t count)
{
	switch_spaces(count, 2);
}

static void set_up_eight(uint64_t count)
{
	set_up_spaces(8);
}

static void switch_eight(uint64_t count)
{
	switch_spaces(count, 8);
}

static void set_up_many(uint64_t count)
{
	set_up_spaces(SPACES_MAX);
}

static void switch_many(uint64_t count)
{
	switch_spaces(count, SPACES_MAX);
}

static void flush(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		invlpg(WINDOW);
		spaces.good += number_at(WINDOW) == 1;
	}
}

static void set_up_page(uint64_t count)
{
	map_numbered((uint64_t)kernel_pml4, WINDOW, 1, PTE_KERNEL_DATA);
	flush(1);
	spaces.good = 0;
}

const struct operation space_operations[] = {
	{ "cr3-write", set_up_one, switch_one, all_good },
	{ "switch", set_up_two, switch_two, all_good },
	{ "switch-8", set_up_eight, switch_eight, all_good },
	{ "switch-32", set_up_many, switch_many, all_good },
	{ "invlpg", set_up_page, flush, all_good },
	{ NULL, NULL, NULL, NULL },
};
