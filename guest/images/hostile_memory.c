/* hostile: addresses where nothing is, and page tables that make no sense. */
#include <stdbool.h>

#include "guest/abi.h"
#include "guest/images/hostile.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/probe.h"
#include "guest/lib/random.h"

#define EXIT_SURVIVED 1
#define EXECUTABLE_DEVICE (PTE_KERNEL_TEXT | PTE_W | PTE_D | PTE_PCD | PTE_PWT)

/* A gpa above all RAM and outside the hole for devices. */
static uint64_t nowhere(void)
{
	const struct abi_boot *boot = machine_boot();
	const struct abi_region *last = &boot->region[boot->region_count - 1];
	uint64_t gpa = (last->base + last->size + LARGE_PAGE_SIZE - 1) & ~(LARGE_PAGE_SIZE - 1);

	return gpa >= ABI_HOLE_START && gpa < ABI_HOLE_END ? ABI_HOLE_END : gpa;
}

static void jump(uint64_t gva)
{
	((void (*)(void))gva)();
}

int hostile_out_of_range(const char *args)
{
	uint64_t gpa = nowhere();

	kprintf("reading where nothing is\n");
	paging_map(gpa, PTE_KERNEL_DEVICE);
	kprintf("survived: %02x\n", *(volatile uint8_t *)gpa);
	return EXIT_SURVIVED;
}

int hostile_jump_nowhere(const char *args)
{
	paging_map(nowhere(), EXECUTABLE_DEVICE);
	jump(nowhere());
	return EXIT_SURVIVED;
}

int hostile_jump_device(const char *args)
{
	paging_map(ABI_MMIO_SCRATCH, EXECUTABLE_DEVICE);
	jump(ABI_MMIO_SCRATCH);
	return EXIT_SURVIVED;
}

int hostile_cr3_nowhere(const char *args)
{
	write_cr3(0x7ffffff000);
	return EXIT_SURVIVED;
}

/*
 * First the entries the kernel does not need, and looks at what they map; then those it runs on. Which of the accesses
 * ends the guest depends on the garbage and the host's physical address width; that one of them does is certain.
 */
int hostile_corrupt_tables(const char *args)
{
	extern uint64_t kernel_pdpt[TABLE_ENTRIES];
	uint64_t state = 1;
	uint8_t value;

	for (unsigned int i = 2; i < TABLE_ENTRIES; i++) {
		kernel_pml4[i] = random_next(&state);
		kernel_pdpt[i] = random_next(&state);
	}
	write_cr3((uint64_t)kernel_pml4);
	for (uint64_t i = 2; i < 64; i++) {
		probe_read(i << 30, &value);
		probe_read(i << 39, &value);
	}
	kernel_pdpt[0] = random_next(&state);
	kernel_pml4[0] = random_next(&state);
	write_cr3((uint64_t)kernel_pml4);
	return EXIT_SURVIVED;
}
