#include "guest/kernel/pages.h"

#include <stddef.h>

#include "guest/kernel/layout.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/paging.h"
#include "guest/lib/string.h"

static struct {
	uint64_t first;    /* the lowest page of ours */
	uint64_t next;     /* the first one never used, in ... */
	unsigned int region; /* ... this region */
	uint64_t used_list; /* freed pages, linked through their first word */
	uint64_t zero_list; /* the same; all other words are zero */
	uint64_t in_use;
	uint16_t *refs;    /* by gfn */
} pages;

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t region_end(const struct abi_region *region)
{
	uint64_t end = region->base + region->size;

	return min(end, KERNEL_RAM_MAX);
}

void pages_init(void)
{
	const struct abi_boot *boot = machine_boot();
	uint64_t top = region_end(&boot->region[boot->region_count - 1]);
	uint64_t start = boot->free > KERNEL_END ? boot->free : KERNEL_END;

	pages.refs = page_pointer(start);
	pages.first = round_up(start + top / PAGE_SIZE * sizeof(pages.refs[0]), PAGE_SIZE);
	pages.next = pages.first;
	if (pages.first > region_end(&boot->region[0]))
		panic("%lu bytes of RAM are too few", region_end(&boot->region[0]));
	for (uint64_t gpa = start; gpa < pages.first; gpa = round_up(gpa + 1, LARGE_PAGE_SIZE))
		paging_map_ram(gpa);
}

/* The next page never used; entering a large page makes the kernel map it. */
static uint64_t carve(void)
{
	const struct abi_boot *boot = machine_boot();
	uint64_t gpa = pages.next;

	while (gpa >= region_end(&boot->region[pages.region])) {
		if (pages.region + 1 >= boot->region_count)
			return 0;
		gpa = boot->region[++pages.region].base;
	}
	if (gpa == pages.first || gpa % LARGE_PAGE_SIZE == 0)
		paging_map_ram(gpa);
	pages.next = gpa + PAGE_SIZE;
	return gpa;
}

static uint64_t list_pop(uint64_t *list)
{
	uint64_t gpa = *list;
	uint64_t *link = page_pointer(gpa);

	if (gpa != 0) {
		*list = *link;
		*link = 0;
	}
	return gpa;
}

static void list_push(uint64_t *list, uint64_t gpa)
{
	*(uint64_t *)page_pointer(gpa) = *list;
	*list = gpa;
}

static uint64_t take(uint64_t gpa)
{
	if (gpa != 0) {
		pages.refs[gpa / PAGE_SIZE] = 1;
		pages.in_use++;
	}
	return gpa;
}

uint64_t page_alloc(void)
{
	uint64_t gpa = list_pop(&pages.used_list);

	if (gpa == 0)
		gpa = list_pop(&pages.zero_list);
	return take(gpa != 0 ? gpa : carve());
}

uint64_t page_alloc_zero(void)
{
	uint64_t gpa = list_pop(&pages.zero_list);

	if (gpa == 0) {
		gpa = list_pop(&pages.used_list);
		if (gpa != 0)
			memset(page_pointer(gpa), 0, PAGE_SIZE);
	}
	return take(gpa != 0 ? gpa : carve());
}

uint64_t page_alloc_run(uint64_t wanted, uint64_t *got)
{
	uint64_t first = carve();
	uint64_t end;

	if (first == 0)
		return 0;
	/* Not beyond what carve() has had mapped. */
	end = min(region_end(&machine_boot()->region[pages.region]), round_up(first + 1, LARGE_PAGE_SIZE));
	*got = min(wanted, (end - first) / PAGE_SIZE);
	for (uint64_t i = 0; i < *got; i++)
		pages.refs[first / PAGE_SIZE + i] = 1;
	pages.next = first + *got * PAGE_SIZE;
	pages.in_use += *got;
	return first;
}

void page_ref(uint64_t gpa)
{
	if (gpa >= pages.first && ++pages.refs[gpa / PAGE_SIZE] == 0)
		panic("page %lx has too many references", gpa);
}

static bool drop(uint64_t gpa)
{
	if (gpa < pages.first || --pages.refs[gpa / PAGE_SIZE] > 0)
		return false;
	pages.in_use--;
	return true;
}

void page_unref(uint64_t gpa)
{
	if (drop(gpa))
		list_push(&pages.used_list, gpa);
}

void page_unref_zero(uint64_t gpa)
{
	if (drop(gpa))
		list_push(&pages.zero_list, gpa);
}

bool page_shared(uint64_t gpa)
{
	return gpa < pages.first || pages.refs[gpa / PAGE_SIZE] > 1;
}

uint64_t pages_in_use(void)
{
	return pages.in_use;
}
