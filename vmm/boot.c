#include "vmm/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/abi.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

#define PTES_PER_TABLE 512u
#define LARGE_PAGE (2ull << 20)

/* Type, S, P, and for code L; DPL 0 (APM vol. 2, 4.8). */
#define CODE_ATTRIBUTES 0xa9bu
#define DATA_ATTRIBUTES 0xc93u
#define TSS_ATTRIBUTES 0x08bu
#define LDT_ATTRIBUTES 0x082u

#define DR6_INIT 0xffff0ff0ull
#define DR7_INIT 0x400ull
#define PAT_INIT 0x0007040600070406ull
#define FCW_INIT 0x37f
#define MXCSR_INIT 0x1f80

static void *boot_page(struct vm *vm, uint64_t gpa, uint64_t size)
{
	void *p = mem_at(&vm->mem, gpa, size, MEM_WRITE);

	ensure(p); /* MEM_MIN_BYTES of RAM hold all of it */
	return p;
}

/* One to one for the first GiB, A and D set so that the first touches need no table writes. */
static void write_page_tables(struct vm *vm)
{
	uint64_t *pml4 = boot_page(vm, BOOT_PML4_GPA, PAGE_SIZE);
	uint64_t *pdpt = boot_page(vm, BOOT_PDPT_GPA, PAGE_SIZE);
	uint64_t *pd = boot_page(vm, BOOT_PD_GPA, PAGE_SIZE);

	pml4[0] = BOOT_PDPT_GPA | PTE_P | PTE_W | PTE_A;
	pdpt[0] = BOOT_PD_GPA | PTE_P | PTE_W | PTE_A;
	for (uint64_t i = 0; i < PTES_PER_TABLE; i++)
		pd[i] = i * LARGE_PAGE | PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS;
}

static int write_cmdline(struct vm *vm, const char *cmdline, struct abi_boot *boot)
{
	size_t size = strlen(cmdline) + 1;

	if (size > BOOT_CMDLINE_MAX)
		return log_bad(E2BIG, "command line: %zu bytes, the guest takes %u", size, BOOT_CMDLINE_MAX);
	memcpy(boot_page(vm, BOOT_CMDLINE_GPA, size), cmdline, size);
	boot->cmdline = BOOT_CMDLINE_GPA;
	boot->cmdline_size = size;
	return 0;
}

static int read_fully(int fd, uint8_t *to, size_t size, const char *path)
{
	while (size) {
		ssize_t n = read(fd, to, size);

		if (n == 0)
			return log_bad(EIO, "%s: the file became shorter while it was read", path);
		if (n < 0 && errno != EINTR)
			return log_errno(errno, "%s: read", path);
		if (n > 0) {
			to += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* At the end of the lowest region, where it is least in the guest's way. */
static int place_initrd(struct vm *vm, int fd, const char *path, struct abi_boot *boot)
{
	const struct mem_region *low = &vm->mem.region[0];
	struct stat st;
	uint64_t pages;

	if (fstat(fd, &st))
		return log_errno(errno, "%s: fstat", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return log_bad(EINVAL, "%s: an initrd must be a regular file that is not empty", path);
	pages = ((uint64_t)st.st_size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	if (pages > low->size || low->size - pages < boot->free)
		return log_bad(ENOSPC, "%s: an initrd of %lld bytes does not fit beside the image; give more --mem", path,
			       (long long)st.st_size);
	boot->initrd = low->size - pages;
	boot->initrd_size = (uint64_t)st.st_size;
	return read_fully(fd, boot_page(vm, boot->initrd, boot->initrd_size), boot->initrd_size, path);
}

static int load_initrd(struct vm *vm, const char *path, struct abi_boot *boot)
{
	int r, fd;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return log_errno(errno, "%s", path);
	r = place_initrd(vm, fd, path, boot);
	close(fd);
	return r;
}

static void list_regions(const struct mem *m, struct abi_boot *boot)
{
	_Static_assert(MEM_MAX_REGIONS <= ABI_MAX_REGIONS, "abi.h has room for all regions");
	for (unsigned int i = 0; i < m->region_count; i++)
		boot->region[i] = (struct abi_region){m->region[i].gpa, m->region[i].size};
	boot->region_count = m->region_count;
}

static void init_cpu_state(struct cpu_state *cs, uint64_t entry)
{
	const uint16_t fcw = FCW_INIT;
	const uint32_t mxcsr = MXCSR_INIT;

	*cs = (struct cpu_state){
		.rip = entry, .rflags = RFLAGS_ONE, .gpr[CPU_RDI] = BOOT_INFO_GPA,
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG, .cr3 = BOOT_PML4_GPA,
		.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT, .efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
		.dr6 = DR6_INIT, .dr7 = DR7_INIT, .msr[CPU_MSR_PAT] = PAT_INIT,
	};
	for (unsigned int i = CPU_ES; i <= CPU_GS; i++)
		cs->segment[i] = (struct cpu_segment){.attributes = DATA_ATTRIBUTES, .limit = UINT32_MAX, .selector = 0x10};
	cs->segment[CPU_CS] = (struct cpu_segment){.attributes = CODE_ATTRIBUTES, .limit = UINT32_MAX, .selector = 0x08};
	cs->segment[CPU_LDTR] = (struct cpu_segment){.attributes = LDT_ATTRIBUTES};
	cs->segment[CPU_TR] = (struct cpu_segment){.attributes = TSS_ATTRIBUTES, .limit = 0xffff};
	/* Legacy region of the XSAVE area: FCW at 0, MXCSR at 24 (SDM vol. 1, table 13-1). */
	memcpy(cs->xsave, &fcw, sizeof(fcw));
	memcpy(cs->xsave + 24, &mxcsr, sizeof(mxcsr));
}

int boot_prepare(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	struct abi_boot boot = {.magic = ABI_BOOT_MAGIC, .version = ABI_VERSION, .size = sizeof(boot),
				.cpu = vm->abi_cpu, .vm_number = vm->number};
	int r;

	boot.free = (config->image->top + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	list_regions(&vm->mem, &boot);
	if (getrandom(boot.seed, sizeof(boot.seed), 0) != sizeof(boot.seed))
		return log_errno(errno, "getrandom");
	r = write_cmdline(vm, config->cmdline, &boot);
	if (r < 0)
		return r;
	r = load_initrd(vm, config->initrd, &boot);
	if (r < 0)
		return r;
	write_page_tables(vm);
	memcpy(boot_page(vm, BOOT_INFO_GPA, sizeof(boot)), &boot, sizeof(boot));
	init_cpu_state(cs, config->image->entry);
	return 0;
}
