/*
 * PVH: hvm_start_info with modules, command line and memory map.
 * Source: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h, version 1.
 */
#include <stddef.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/boot.h"
#include "vmm/boot_modules.h"
#include "vmm/boot_parts.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/memory_map.h"
#include "vmm/vm.h"

#define START_MAGIC 0x336ec578u
#define START_VERSION 1u
#define CODE_SELECTOR 0x10

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};

struct start_module {
	uint64_t gpa, size, cmdline, reserved;
};

struct start_memory {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

/* At BOOT_INFO_GPA; the modules' strings follow at BOOT_EXTRA_GPA. */
struct start_page {
	struct start_info info;
	struct start_memory memory[MEMORY_MAP_MAX];
	struct start_module module[BOOT_MAX_MODULES];
};

_Static_assert(sizeof(struct start_page) <= PAGE_SIZE, "one page holds all");

static void fill_memory(struct start_page *page, const struct mem *m)
{
	const struct memory_map map = memory_map_of(m);

	for (unsigned int i = 0; i < map.count; i++)
		page->memory[i] = (struct start_memory){.gpa = map.entry[i].gpa, .size = map.entry[i].size,
							.type = map.entry[i].type};
	page->info.memory_map = BOOT_INFO_GPA + offsetof(struct start_page, memory);
	page->info.memory_map_entries = map.count;
}

static void fill_modules(struct start_page *page, const struct boot_modules *modules)
{
	for (unsigned int i = 0; i < modules->count; i++)
		page->module[i] = (struct start_module){.gpa = modules->module[i].gpa, .size = modules->module[i].size,
							.cmdline = modules->module[i].cmdline};
	if (modules->count)
		page->info.modules = BOOT_INFO_GPA + offsetof(struct start_page, module);
	page->info.nr_modules = modules->count;
}

int boot_pvh(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	struct start_page page = {.info = {.magic = START_MAGIC, .version = START_VERSION, .cmdline = BOOT_CMDLINE_GPA}};
	struct boot_modules modules;
	int r = boot_write_cmdline(vm, config->cmdline, BOOT_CMDLINE_MAX);

	if (r < 0)
		return r;
	r = boot_load_modules(vm, config, BOOT_EXTRA_GPA, ABI_LOAD_MIN, &modules);
	if (r < 0)
		return r;
	fill_memory(&page, &vm->mem);
	fill_modules(&page, &modules);
	memcpy(boot_ram(vm, BOOT_INFO_GPA, sizeof(page)), &page, sizeof(page));
	boot_cpu_32(cs, config->image->entry, CODE_SELECTOR);
	cs->gpr[CPU_RBX] = BOOT_INFO_GPA;
	return 0;
}
