/*
 * Linux by its boot protocol, 64-bit or 32-bit: the zero page, a GDT with the selectors that it asks for, the initrd,
 * and the rate of the time-stamp counter on its command line.
 * Source: Linux documentation, "The Linux/x86 Boot Protocol" and "Zero Page".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/boot.h"
#include "vmm/boot_parts.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/linux_image.h"
#include "vmm/log.h"
#include "vmm/memory_map.h"
#include "vmm/vm.h"

/* Fields of the zero page. */
#define E820_ENTRIES 0x1e8u
#define VID_MODE 0x1fau
#define TYPE_OF_LOADER 0x210u
#define RAMDISK_IMAGE 0x218u
#define RAMDISK_SIZE 0x21cu
#define CMD_LINE_PTR 0x228u
#define E820_TABLE 0x2d0u
#define E820_ENTRY_SIZE 20u

#define JUMP_LENGTH 0x201u
#define HEADER_END 0x202u /* the byte at JUMP_LENGTH counts from here */
#define VID_MODE_NORMAL 0xffffu
#define LOADER_UNDEFINED 0xffu

#define GDT_GPA BOOT_EXTRA_GPA
#define CODE_SELECTOR 0x10

static void put(uint8_t *page, size_t at, uint64_t value, size_t bytes)
{
	memcpy(page + at, &value, bytes);
}

/* The kernel's own setup header begins the zero page's copy of it; the rest of the page is zero. */
static int copy_header(const struct image *im, uint8_t *page)
{
	uint8_t head[LINUX_HEADER_MAX];
	size_t size;
	int r = image_read(im, LINUX_HEADER, head, HEADER_END - LINUX_HEADER);

	if (r < 0)
		return r;
	size = HEADER_END + head[JUMP_LENGTH - LINUX_HEADER] - LINUX_HEADER;
	if (size > E820_TABLE - LINUX_HEADER)
		size = E820_TABLE - LINUX_HEADER; /* the last that the page has for it */
	r = image_read(im, LINUX_HEADER, head, size);
	if (r == 0)
		memcpy(page + LINUX_HEADER, head, size);
	return r;
}

static void write_memory_map(const struct mem *m, uint8_t *page)
{
	const struct memory_map map = memory_map_of(m);

	for (unsigned int i = 0; i < map.count; i++) {
		uint8_t *entry = page + E820_TABLE + (size_t)i * E820_ENTRY_SIZE;

		put(entry, 0, map.entry[i].gpa, 8);
		put(entry, 8, map.entry[i].size, 8);
		put(entry, 16, map.entry[i].type, 4);
	}
	put(page, E820_ENTRIES, map.count, 1);
}

static int load_initrd(struct vm *vm, const struct vm_config *config, uint8_t *page)
{
	const struct image *im = config->image;
	struct boot_file file = {0};
	int r;

	if (!config->initrd)
		return 0;
	r = boot_load_file(vm, config->initrd, im->top, im->initrd_max + 1, &file);
	if (r < 0)
		return r;
	put(page, RAMDISK_IMAGE, file.gpa, 4); /* below initrd_max, which has 32 bits */
	put(page, RAMDISK_SIZE, file.size, 4);
	return 0;
}

/* Null, unused, and flat code and data. */
static void write_gdt(struct vm *vm, bool enters_32, struct cpu_state *cs)
{
	const uint64_t gdt[] = {0, 0, enters_32 ? 0x00cf9b000000ffff : 0x00af9b000000ffff, 0x00cf93000000ffff};

	memcpy(boot_ram(vm, GDT_GPA, sizeof(gdt)), gdt, sizeof(gdt));
	cs->gdt = (struct cpu_table){.base = GDT_GPA, .limit = sizeof(gdt) - 1};
}

/*
 * KVM knows the counter's rate; a kernel that is not told measures it against the timer, for 30 ms where every look at the
 * timer is slow, and less exactly. In front, so that the user's own words have the last say.
 */
static int write_cmdline(struct vm *vm, const struct vm_config *config)
{
	const uint64_t max = config->image->cmdline_max + 1;
	int khz = config->cpu == CPU_MODEL_NOTSC ? 0 : kvm_get_tsc_khz(vm->vcpu.fd);
	char *line;
	int r;

	if (khz <= 0)
		return khz < 0 ? khz : boot_write_cmdline(vm, config->cmdline, max);
	if (asprintf(&line, "tsc_early_khz=%d%s%s", khz, *config->cmdline ? " " : "", config->cmdline) < 0)
		return log_errno(ENOMEM, "command line");
	r = boot_write_cmdline(vm, line, max);
	free(line);
	return r;
}

int boot_linux(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	const struct image *im = config->image;
	uint8_t *page = boot_ram(vm, BOOT_INFO_GPA, PAGE_SIZE);
	int r = copy_header(im, page);

	if (r < 0)
		return r;
	r = write_cmdline(vm, config);
	if (r < 0)
		return r;
	r = load_initrd(vm, config, page);
	if (r < 0)
		return r;
	put(page, VID_MODE, VID_MODE_NORMAL, 2);
	put(page, TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
	put(page, CMD_LINE_PTR, BOOT_CMDLINE_GPA, 4);
	write_memory_map(&vm->mem, page);
	if (im->enters_32) {
		boot_cpu_32(cs, im->entry, CODE_SELECTOR);
	} else {
		boot_write_page_tables(vm);
		boot_cpu_64(cs, im->entry, CODE_SELECTOR);
	}
	cs->gpr[CPU_RSI] = BOOT_INFO_GPA;
	write_gdt(vm, im->enters_32, cs);
	return 0;
}
