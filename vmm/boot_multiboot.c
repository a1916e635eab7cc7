/*
 * Multiboot 1: the information structure with modules, command line and memory map.
 * Source: "Multiboot Specification", version 0.6.96, sections 3.2 and 3.3.
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

#define BOOTLOADER_MAGIC 0x2badb002u
#define CODE_SELECTOR 0x10

#define INFO_MEMORY (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MEMORY_MAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t symbols[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
	uint32_t apm_table, vbe[4], framebuffer[6];
};

_Static_assert(offsetof(struct multiboot_info, mmap_length) == 44, "as specified");
_Static_assert(offsetof(struct multiboot_info, boot_loader_name) == 64, "as specified");

struct multiboot_module {
	uint32_t start, end, cmdline, reserved;
};

/* `size` does not count itself; 64-bit numbers are not aligned. */
struct multiboot_memory {
	uint32_t size, gpa[2], length[2], type;
};

/* At BOOT_INFO_GPA; the modules' strings follow at BOOT_EXTRA_GPA. */
struct multiboot_page {
	struct multiboot_info info;
	struct multiboot_memory memory[MEMORY_MAP_MAX];
	struct multiboot_module module[BOOT_MAX_MODULES];
	char name[16];
};

_Static_assert(sizeof(struct multiboot_page) <= PAGE_SIZE, "one page holds all");

static void fill_memory(struct multiboot_page *page, const struct mem *m)
{
	const struct memory_map map = memory_map_of(m);

	for (unsigned int i = 0; i < map.count; i++) {
		struct multiboot_memory *to = &page->memory[i];

		*to = (struct multiboot_memory){.size = sizeof(*to) - sizeof(to->size), .type = map.entry[i].type};
		memcpy(to->gpa, &map.entry[i].gpa, sizeof(to->gpa));
		memcpy(to->length, &map.entry[i].size, sizeof(to->length));
	}
	page->info.mmap_addr = BOOT_INFO_GPA + offsetof(struct multiboot_page, memory);
	page->info.mmap_length = (uint32_t)(map.count * sizeof(page->memory[0]));
	/* In KiB: from 0 on, and from 1 MiB on up to the first hole. */
	page->info.mem_lower = MEMORY_MAP_LOW_END >> 10;
	page->info.mem_upper = (uint32_t)((m->region[0].size - MEMORY_MAP_HIGH) >> 10);
	page->info.flags |= INFO_MEMORY | INFO_MEMORY_MAP;
}

/* All lie in the lowest region, below 4 GiB. */
static void fill_modules(struct multiboot_page *page, const struct boot_modules *modules)
{
	for (unsigned int i = 0; i < modules->count; i++) {
		const struct boot_module *from = &modules->module[i];

		page->module[i] = (struct multiboot_module){.start = (uint32_t)from->gpa, .end = (uint32_t)(from->gpa + from->size),
							    .cmdline = (uint32_t)from->cmdline};
	}
	page->info.mods_addr = BOOT_INFO_GPA + offsetof(struct multiboot_page, module);
	page->info.mods_count = modules->count;
	page->info.flags |= INFO_MODULES;
}

int boot_multiboot(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	struct multiboot_page page = {.info = {.flags = INFO_CMDLINE | INFO_LOADER_NAME, .cmdline = BOOT_CMDLINE_GPA},
				      .name = "Penumbra"};
	struct boot_modules modules;
	int r = boot_write_cmdline(vm, config->cmdline, BOOT_CMDLINE_MAX);

	if (r < 0)
		return r;
	r = boot_load_modules(vm, config, BOOT_EXTRA_GPA, ABI_LOAD_MIN, &modules);
	if (r < 0)
		return r;
	page.info.boot_loader_name = BOOT_INFO_GPA + offsetof(struct multiboot_page, name);
	fill_memory(&page, &vm->mem);
	fill_modules(&page, &modules);
	memcpy(boot_ram(vm, BOOT_INFO_GPA, sizeof(page)), &page, sizeof(page));
	boot_cpu_32(cs, config->image->entry, CODE_SELECTOR);
	cs->gpr[CPU_RAX] = BOOTLOADER_MAGIC;
	cs->gpr[CPU_RBX] = BOOT_INFO_GPA;
	return 0;
}
