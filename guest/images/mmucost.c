/*
 * mmucost OPERATION N: does one thing N times between two marks (mmucost.h), for counting and timing what it costs.
 * The operations of ring 0 are here, those of ring 3 in user/mmucost.c.
 */
#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/trap.h"
#include "guest/lib/mmucost.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define WINDOW 0x10000000000ull /* 1 TiB, PML4 slot 2: nobody else's */
#define SPACES_MAX 8u
#define COMPUTE_STEPS 1000u

const struct program programs[] = { PROGRAM(mmucost), PROGRAMS_END };

static uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value) : : "memory");
	return value;
}

static uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}

static void mark(uint32_t value)
{
	outl(ABI_PORT_SCRATCH, value);
}

static void begin(void)
{
	mark(MMUCOST_WARM);
	mark(MMUCOST_BEGIN);
}

static uint64_t new_page(void)
{
	uint64_t page = page_alloc_zero();

	if (page == 0)
		panic("out of memory");
	return page;
}

/* The entry of `gva` at `level` in the tables at `root`; tables on the way are made. */
static uint64_t *entry_at(uint64_t root, uint64_t gva, unsigned int level)
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

/* A page that knows its number, at `gva`. */
static void map_numbered(uint64_t root, uint64_t gva, uint64_t number, uint64_t flags)
{
	uint64_t page = new_page();

	*(uint64_t *)page_pointer(page) = number;
	*entry_at(root, gva, 1) = page | flags;
}

static uint64_t number_at(uint64_t gva)
{
	return *(volatile uint64_t *)gva;
}

static void nothing(uint64_t count)
{
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

/* pde-write: one entry that leads to a table leads to another, and back; each is used. */
static void set_up_directory(uint64_t count)
{
	uint64_t root = (uint64_t)kernel_pml4;

	map_numbered(root, WINDOW, 0, PTE_KERNEL_DATA);
	map_numbered(root, WINDOW + LARGE_PAGE_SIZE, 1, PTE_KERNEL_DATA);
	leaf_table = entry_at(root, WINDOW, 2);
	number_at(WINDOW);
	number_at(WINDOW + LARGE_PAGE_SIZE);
}

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

static uint64_t roots[SPACES_MAX];
static uint64_t switch_errors;

/* Spaces that share the kernel's half and have a page of their own each. */
static void switch_spaces(uint64_t count, unsigned int spaces)
{
	for (uint64_t i = 0; i < count; i++) {
		write_cr3(roots[i % spaces]);
		switch_errors += number_at(WINDOW) != i % spaces;
	}
}

static void set_up_spaces(unsigned int spaces)
{
	for (unsigned int i = 0; i < spaces; i++) {
		roots[i] = new_page();
		*(uint64_t *)page_pointer(roots[i]) = kernel_pml4[0];
		map_numbered(roots[i], WINDOW, i, PTE_KERNEL_DATA);
	}
	switch_spaces(2ull * spaces, spaces);
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

static bool switch_is_right(uint64_t count)
{
	return switch_errors == 0;
}

static void privileged(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		read_cr0();
}

static void set_up_page(uint64_t count)
{
	map_numbered((uint64_t)kernel_pml4, WINDOW, 0, PTE_KERNEL_DATA);
	number_at(WINDOW);
}

static void flush(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		invlpg(WINDOW);
		number_at(WINDOW);
	}
}

static void compute(uint64_t count)
{
	uint64_t state = 1;

	for (uint64_t i = 0; i < count * COMPUTE_STEPS; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		__asm__ volatile("" : "+r"(state));
	}
}

static void port_in(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		inl(ABI_PORT_SCRATCH);
}

struct operation {
	const char *name;
	void (*set_up)(uint64_t count);
	void (*run)(uint64_t count);
	bool (*right)(uint64_t count); /* did all of it have its effect? */
};

static const struct operation operations[] = {
	{ "kernel-nothing", NULL, nothing, NULL },
	{ "kernel-touch", set_up_touch_set, touch, touch_is_right },
	{ "kernel-touch-clear", set_up_touch_clear, touch, touch_is_right },
	{ "pte-write", set_up_table, write_table, table_is_right },
	{ "pde-write", set_up_directory, write_directory, directory_is_right },
	{ "table-write", set_up_directories, write_directories, directories_are_right },
	{ "switch", set_up_two, switch_two, switch_is_right },
	{ "switch-8", set_up_eight, switch_eight, switch_is_right },
	{ "privileged", NULL, privileged, NULL },
	{ "invlpg", set_up_page, flush, NULL },
	{ "kernel-compute", NULL, compute, NULL },
	{ "port-in", NULL, port_in, NULL },
};

static int run(const struct operation *operation, uint64_t count)
{
	pages_init();
	if (operation->set_up != NULL)
		operation->set_up(count);
	begin();
	operation->run(count);
	mark(MMUCOST_END);
	if (operation->right == NULL || operation->right(count))
		return 0;
	kprintf("%s: wrong\n", operation->name);
	return 1;
}

static void clear_marks(uint64_t gva, uint64_t pages)
{
	uint64_t root = read_cr3();

	for (uint64_t end = gva + pages * PAGE_SIZE; gva < end; gva += PAGE_SIZE)
		*entry_at(root, gva, 1) &= ~(uint64_t)(PTE_A | PTE_D);
	write_cr3(root);
}

/* int3 of ring 3. */
static void on_mark(struct trap_frame *frame)
{
	if (!trap_from_ring3(frame))
		trap_unhandled(frame);
	else if (frame->rax == MMUCOST_CLEAR)
		clear_marks(frame->rdi, frame->rsi);
	else
		mark((uint32_t)frame->rax);
}

int image_main(const char *args)
{
	char line[PROCESS_LINE_MAX + 1];
	char *words[3];
	uint64_t count;

	if (strlen(args) > PROCESS_LINE_MAX)
		machine_usage("mmucost OPERATION N");
	memcpy(line, args, strlen(args) + 1);
	if (parse_words(line, words, 3) != 2 || !parse_number(words[1], &count))
		machine_usage("mmucost OPERATION N");
	for (unsigned int i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(words[0], operations[i].name) == 0)
			return run(&operations[i], count);
	}
	trap_set(VECTOR_BREAKPOINT, on_mark);
	process_run("mmucost", args, 0);
}
