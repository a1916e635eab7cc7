/* Operations of ring 0 on page tables: pages used for the first time, entries changed one by one and in batches. */
#include "guest/images/mmucost.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"

uint64_t new_page(void)
{
	uint64_t page = page_alloc_zero();

	if (page == 0)
		panic("out of memory");
	return page;
}

uint64_t *entry_at(uint64_t root, uint64_t gva, unsigned int level)
{
	uint64_t *table = page_pointer(root & PTE_FRAME);

	for (unsigned int at = 4;; at--) {
		uint64_t *entry = &table[gva >> (12 + 9 * (at - 1)) & (TABLE_ENTRIES - 1)];

		if (at == level)
			return entry;
		if (!(*entry & PTE_P))
			*entry = new_page() | PTE_TABLE;
		table = page_pointer(*entry & PTE_FRAME);
	}
}

void map_numbered(uint64_t root, uint64_t gva, uint64_t number, uint64_t flags)
{
	uint64_t page = new_page();

	*(uint64_t *)page_pointer(page) = number;
	*entry_at(root, gva, 1) = page | flags;
}

uint64_t number_at(uint64_t gva)
{
	return *(volatile uint64_t *)gva;
}

static void set_up_touch(uint64_t count, uint64_t clear)
{
	for (uint64_t i = 0; i < count; i++)
		map_numbered((uint64_t)kernel_pml4, WINDOW + i * PAGE_SIZE, i, PTE_KERNEL_DATA & ~clear);
}

static void set_up_touch_set(uint64_t count)
{
	set_up_touch(count, 0);
}

static void set_up_touch_clear(uint64_t count)
{
	set_up_touch(count, PTE_A | PTE_D);
}

static void touch(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		*(volatile uint64_t *)(WINDOW + i * PAGE_SIZE) = i + 1;
}

static bool touch_is_right(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		if (number_at(WINDOW + i * PAGE_SIZE) != i + 1)
			return false;
	}
	return true;
}

/* pte-write: frames of even and of odd entries change places, two by two. */
static uint64_t *leaf_table;

static void set_up_table(uint64_t count)
{
	if (count > TABLE_ENTRIES)
		machine_usage("mmucost pte-write N, N at most 512");
	set_up_touch(TABLE_ENTRIES, 0);
	leaf_table = entry_at((uint64_t)kernel_pml4, WINDOW, 1);
	for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
		number_at(WINDOW + i * PAGE_SIZE);
}

static void write_table(uint64_t count)
{
	volatile uint64_t *table = leaf_table;

	for (uint64_t i = 0; i + 1 < count; i += 2) {
		uint64_t even = table[i];

		table[i] = table[i + 1];
		table[i + 1] = even;
	}
	write_cr3((uint64_t)kernel_pml4);
}

static bool table_is_right(uint64_t count)
{
	bool right = true;

	for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
		right &= number_at(WINDOW + i * PAGE_SIZE) == (i < (count & ~1ull) ? i ^ 1 : i);
	mark(MMUCOST_USED);
	return right;
}

/* pte-batch: the same over and over, and after 512 entries each page is used. */
static void write_batches(uint64_t count)
{
	for (uint64_t done = 0; done < count; done += TABLE_ENTRIES) {
		write_table(count - done < TABLE_ENTRIES ? count - done : TABLE_ENTRIES);
		for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
			number_at(WINDOW + i * PAGE_SIZE);
	}
}

static void set_up_batches(uint64_t count)
{
	set_up_table(TABLE_ENTRIES);
	write_batches(2 * TABLE_ENTRIES);
}

/* How often a pair has changed places: once for every time that both its entries were written. */
static bool batches_are_right(uint64_t count)
{
	for (uint64_t i = 0; i < TABLE_ENTRIES; i++) {
		uint64_t changes = count / TABLE_ENTRIES + ((i | 1) < count % TABLE_ENTRIES);

		if (number_at(WINDOW + i * PAGE_SIZE) != (i ^ (changes & 1)))
			return false;
	}
	return true;
}

/* pte-modify: one entry leads to one page and to another by turns, and is used each time. */
static uint64_t modify_good;

static void modify(uint64_t count)
{
	volatile uint64_t *entry = leaf_table;
	uint64_t turn[2] = { entry[0], entry[1] };

	for (uint64_t i = 0; i < count; i++) {
		entry[0] = turn[~i & 1];
		invlpg(WINDOW);
		modify_good += number_at(WINDOW) == (~i & 1);
	}
	entry[0] = turn[0];
	invlpg(WINDOW);
}

static void set_up_modify(uint64_t count)
{
	set_up_touch(2, 0);
	leaf_table = entry_at((uint64_t)kernel_pml4, WINDOW, 1);
	number_at(WINDOW);
	modify(2);
	modify_good = 0;
}

static bool modify_is_right(uint64_t count)
{
	return modify_good == count;
}

/* pde-write: one entry that leads to a table leads to another, and back; each is used. */
static uint64_t directory_sum;

static void write_directory(uint64_t count)
{
	volatile uint64_t *directory = leaf_table;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t first = directory[0];

		directory[0] = directory[1];
		directory[1] = first;
		invlpg(WINDOW);
		directory_sum += number_at(WINDOW);
	}
}

static void set_up_directory(uint64_t count)
{
	uint64_t root = (uint64_t)kernel_pml4;

	map_numbered(root, WINDOW, 0, PTE_KERNEL_DATA);
	map_numbered(root, WINDOW + LARGE_PAGE_SIZE, 1, PTE_KERNEL_DATA);
	leaf_table = entry_at(root, WINDOW, 2);
	number_at(WINDOW);
	number_at(WINDOW + LARGE_PAGE_SIZE);
	write_directory(2);
	directory_sum = 0;
}

static bool directory_is_right(uint64_t count)
{
	return directory_sum == (count + 1) / 2;
}

/* table-write: a store to a directory each, which are in use, but for the entry that is written. */
#define DIRECTORY_SPAN (LARGE_PAGE_SIZE * TABLE_ENTRIES)
#define DIRECTORIES_MAX 128u
#define UNUSED_ENTRY (TABLE_ENTRIES - 1)
#define SOFTWARE_BIT 0x200u

static uint64_t *directories[DIRECTORIES_MAX];

static void set_up_directories(uint64_t count)
{
	if (count > DIRECTORIES_MAX)
		machine_usage("mmucost table-write N, N at most 128");
	for (uint64_t i = 0; i < count; i++) {
		map_numbered((uint64_t)kernel_pml4, WINDOW + i * DIRECTORY_SPAN, i, PTE_KERNEL_DATA);
		number_at(WINDOW + i * DIRECTORY_SPAN);
		directories[i] = entry_at((uint64_t)kernel_pml4, WINDOW + i * DIRECTORY_SPAN, 2);
	}
}

static void write_directories(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		*(volatile uint64_t *)&directories[i][UNUSED_ENTRY] = SOFTWARE_BIT;
}

static bool directories_are_right(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		if (directories[i][UNUSED_ENTRY] != SOFTWARE_BIT || number_at(WINDOW + i * DIRECTORY_SPAN) != i)
			return false;
	}
	return true;
}

const struct operation table_operations[] = {
	{ "kernel-touch", set_up_touch_set, touch, touch_is_right },
	{ "kernel-touch-clear", set_up_touch_clear, touch, touch_is_right },
	{ "pte-write", set_up_table, write_table, table_is_right },
	{ "pte-batch", set_up_batches, write_batches, batches_are_right },
	{ "pte-modify", set_up_modify, modify, modify_is_right },
	{ "pde-write", set_up_directory, write_directory, directory_is_right },
	{ "table-write", set_up_directories, write_directories, directories_are_right },
	{ NULL, NULL, NULL, NULL },
};
