#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "guest/abi.h"
#include "vmm/boot.h"
#include "vmm/boot_parts.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define CODE_SELECTOR 0x08

static int load_initrd(struct vm *vm, const char *path, struct abi_boot *boot)
{
	struct boot_file file;
	int r;

	if (!path)
		return 0;
	r = boot_load_file(vm, path, boot->free, UINT64_MAX, &file);
	if (r < 0)
		return r;
	boot->initrd = file.gpa;
	boot->initrd_size = file.size;
	return 0;
}

static void list_regions(const struct mem *m, struct abi_boot *boot)
{
	_Static_assert(MEM_MAX_REGIONS <= ABI_MAX_REGIONS, "abi.h has room for all regions");
	for (unsigned int i = 0; i < m->region_count; i++)
		boot->region[i] = (struct abi_region){m->region[i].gpa, m->region[i].size};
	boot->region_count = m->region_count;
}

int boot_penumbra(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	struct abi_boot boot = {.magic = ABI_BOOT_MAGIC, .version = ABI_VERSION, .size = sizeof(boot),
				.cpu = vm->abi_cpu, .vm_number = vm->number};
	int r;

	boot.free = (config->image->top + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	list_regions(&vm->mem, &boot);
	if (getrandom(boot.seed, sizeof(boot.seed), 0) != sizeof(boot.seed))
		return log_errno(errno, "getrandom");
	r = boot_write_cmdline(vm, config->cmdline, BOOT_CMDLINE_MAX);
	if (r < 0)
		return r;
	boot.cmdline = BOOT_CMDLINE_GPA;
	boot.cmdline_size = (uint64_t)r;
	r = load_initrd(vm, config->initrd, &boot);
	if (r < 0)
		return r;
	boot_write_page_tables(vm);
	memcpy(boot_ram(vm, BOOT_INFO_GPA, sizeof(boot)), &boot, sizeof(boot));
	boot_cpu_64(cs, config->image->entry, CODE_SELECTOR);
	cs->gpr[CPU_RDI] = BOOT_INFO_GPA;
	return 0;
}
