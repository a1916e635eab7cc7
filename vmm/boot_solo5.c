#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/boot.h"
#include "vmm/boot_parts.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/solo5_abi.h"
#include "vmm/solo5_memory.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

#define CODE_SELECTOR 0x08
#define TABLE_FLAGS (PTE_P | PTE_W | PTE_A)
#define PAGES_PER_TABLE (SOLO5_LARGE_PAGE / PAGE_SIZE)

/* Flat descriptors of ring 0, accessed: 64-bit code, data (APM vol. 2, 4.8). */
static const uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};

/* Tables for 2 MiB whose pages are not all alike are taken from SOLO5_PT on; each segment has two ends. */
_Static_assert(SOLO5_PT + 2 * (IMAGE_MAX_SEGMENTS + 1) * PAGE_SIZE <= SOLO5_LOAD_MIN, "room for all such tables");
_Static_assert(SOLO5_BOOT_INFO + sizeof(struct solo5_boot_info) + sizeof(struct solo5_manifest_header) +
	       SOLO5_MAX_ENTRIES * sizeof(struct solo5_entry) + SOLO5_CMDLINE_MAX <= SOLO5_PT, "room for what is told");

struct tables {
	struct vm *vm;
	uint64_t read_only_end; /* of what the guest may read below SOLO5_LOAD_MIN */
	uint64_t next;		/* table */
};

static uint64_t page_entry(const struct tables *t, uint64_t gpa)
{
	if (gpa < SOLO5_BOOT_INFO || (gpa >= t->read_only_end && gpa < SOLO5_LOAD_MIN))
		return 0;
	if (gpa < SOLO5_LOAD_MIN)
		return gpa | PTE_P | PTE_A | PTE_NX;
	/* A and D beforehand, so that the first touches need no table writes. */
	return gpa | PTE_P | PTE_A | PTE_D | solo5_page_flags(t->vm->image, gpa);
}

static bool is_mixed(const struct image *im, uint64_t gpa)
{
	if (gpa == 0)
		return true;
	for (unsigned int i = 0; i < im->segment_count; i++) {
		uint64_t start = im->segment[i].gpa, end = start + im->segment[i].size;

		if ((start > gpa && start < gpa + SOLO5_LARGE_PAGE) || (end > gpa && end < gpa + SOLO5_LARGE_PAGE))
			return true;
	}
	return false;
}

static uint64_t write_page_table(struct tables *t, uint64_t gpa)
{
	uint64_t table = gpa ? t->next : SOLO5_PT0, *entry = boot_ram(t->vm, table, PAGE_SIZE);

	t->next += gpa ? PAGE_SIZE : 0;
	for (uint64_t i = 0; i < PAGES_PER_TABLE; i++)
		entry[i] = page_entry(t, gpa + i * PAGE_SIZE);
	return table | TABLE_FLAGS;
}

/* The pages of RAM one to one, W^X as the segments ask; neither page 0 nor the tables themselves. */
static void write_tables(struct vm *vm, uint64_t read_only_end)
{
	struct tables t = {.vm = vm, .read_only_end = read_only_end, .next = SOLO5_PT};
	uint64_t *pdpt = boot_ram(vm, SOLO5_PDPT, PAGE_SIZE), ram = solo5_ram(vm->mem.size);
	uint64_t *pd = boot_ram(vm, SOLO5_PD, 4 * PAGE_SIZE), *pml4 = boot_ram(vm, SOLO5_PML4, PAGE_SIZE);

	pml4[0] = SOLO5_PDPT | TABLE_FLAGS;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (SOLO5_PD + i * PAGE_SIZE) | TABLE_FLAGS;
	for (uint64_t gpa = 0; gpa < ram; gpa += SOLO5_LARGE_PAGE)
		*pd++ = is_mixed(vm->image, gpa) ? write_page_table(&t, gpa) : page_entry(&t, gpa) | PTE_PS;
}

static void describe(struct solo5_entry *e, const struct solo5_unit *unit)
{
	e->attached = true;
	if (unit->type == SOLO5_BLOCK) {
		e->block.capacity = unit->block.disk.bytes;
		e->block.block_size = unit->block.sector;
	} else {
		memcpy(e->net.mac, unit->net.mac, sizeof(e->net.mac));
		e->net.mtu = unit->net.mtu;
	}
}

/* The manifest with what is attached. Returns its end. */
static uint64_t write_manifest(struct vm *vm, uint64_t gpa)
{
	const struct solo5_manifest *m = &vm->image->solo5;
	const struct solo5_manifest_header header = {.version = SOLO5_MANIFEST_VERSION, .entries = m->count};

	memcpy(boot_ram(vm, gpa, sizeof(header)), &header, sizeof(header));
	gpa += sizeof(header);
	for (unsigned int i = 0; i < m->count; i++, gpa += sizeof(struct solo5_entry)) {
		struct solo5_entry e = {.type = i ? m->wanted[i].type : SOLO5_FIRST};

		memcpy(e.name, m->wanted[i].name, sizeof(e.name));
		if (i)
			describe(&e, &vm->solo5.units.unit[i]);
		memcpy(boot_ram(vm, gpa, sizeof(e)), &e, sizeof(e));
	}
	return gpa;
}

/* Boot info, manifest and command line. Returns their end, or a logged -errno. */
static int64_t write_info(struct vm *vm, const char *cmdline)
{
	struct solo5_boot_info info = {.mem_size = solo5_ram(vm->mem.size),
				       .kernel_end = (vm->image->top + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
				       .manifest = SOLO5_BOOT_INFO + sizeof(info)};
	size_t size = strlen(cmdline) + 1;
	int khz = kvm_get_tsc_khz(vm->vcpu.fd);

	if (khz < 0)
		return khz;
	if (!khz)
		return log_bad(ENOTSUP, "%s: this host has no steady time-stamp counter, whose rate a Solo5 unikernel is told",
			       vm->image->path);
	if (size > SOLO5_CMDLINE_MAX)
		return log_bad(E2BIG, "command line: %zu bytes, the guest takes %u", size, SOLO5_CMDLINE_MAX);
	info.cycle_hz = (uint64_t)khz * 1000;
	info.cmdline = write_manifest(vm, info.manifest);
	memcpy(boot_ram(vm, info.cmdline, size), cmdline, size);
	memcpy(boot_ram(vm, SOLO5_BOOT_INFO, sizeof(info)), &info, sizeof(info));
	return (int64_t)(info.cmdline + size);
}

static int check_ram(const struct vm *vm)
{
	const struct image *im = vm->image;

	if (vm->mem.size > SOLO5_MEM_MAX)
		return log_bad(EINVAL, "%s: a Solo5 unikernel takes at most --mem 3G", im->path);
	/* Behind the image there must be room for a stack at the least. */
	if (solo5_ram(vm->mem.size) < im->top + PAGE_SIZE)
		return log_bad(ENOSPC, "%s: does not fit: it needs at least --mem %" PRIu64 "M", im->path,
			       image_ram_needed(im) >> 20);
	return 0;
}

/* What other guests have and this one knows nothing of, so that nobody waits for it in vain. */
static int check_options(const struct vm_config *config)
{
	const char *path = config->image->path;

	if (config->disk_count)
		return log_bad(EINVAL, "%s: a Solo5 unikernel takes no --disk; its devices are given by --block:NAME=FILE", path);
	if (config->initrd)
		return log_bad(EINVAL, "%s: a Solo5 unikernel takes no --initrd", path);
	if (config->virtio_console)
		return log_bad(EINVAL, "%s: a Solo5 unikernel takes no --virtio-console", path);
	return 0;
}

int boot_solo5(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	int r = check_ram(vm);
	int64_t end;

	if (r < 0)
		return r;
	r = check_options(config);
	if (r < 0)
		return r;
	end = write_info(vm, config->cmdline);
	if (end < 0)
		return (int)end;
	write_tables(vm, ((uint64_t)end + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1));
	memcpy(boot_ram(vm, SOLO5_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	boot_cpu_64(cs, config->image->entry, CODE_SELECTOR);
	cs->gdt = (struct cpu_table){.base = SOLO5_GDT, .limit = sizeof(gdt) - 1};
	cs->cr3 = SOLO5_PML4;
	cs->gpr[CPU_RDI] = SOLO5_BOOT_INFO;
	cs->gpr[CPU_RSP] = solo5_ram(vm->mem.size) - 8; /* as after a call: 16 bytes aligned and a return address */
	return 0;
}
