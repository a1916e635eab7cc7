#include "vmm/boot_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

#define PTES_PER_TABLE 512u
#define LARGE_PAGE (2ull << 20)

/* Type, S, P, and for code L or D; DPL 0 (APM vol. 2, 4.8). */
#define CODE64_ATTRIBUTES 0xa9bu
#define CODE32_ATTRIBUTES 0xc9bu
#define DATA_ATTRIBUTES 0xc93u
#define TSS_ATTRIBUTES 0x08bu
#define LDT_ATTRIBUTES 0x082u

#define DR6_INIT 0xffff0ff0ull
#define DR7_INIT 0x400ull
#define PAT_INIT 0x0007040600070406ull

void *boot_ram(struct vm *vm, uint64_t gpa, uint64_t size)
{
	void *p = mem_at(&vm->mem, gpa, size, MEM_WRITE);

	ensure(p); /* MEM_MIN_BYTES of RAM hold all that is below ABI_LOAD_MIN */
	return p;
}

int boot_write_cmdline(struct vm *vm, const char *cmdline, size_t max)
{
	size_t size = strlen(cmdline) + 1;

	if (size > max)
		return log_bad(E2BIG, "command line: %zu bytes, the guest takes %zu", size, max);
	memcpy(boot_ram(vm, BOOT_CMDLINE_GPA, size), cmdline, size);
	return (int)size;
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

static int place_file(struct vm *vm, int fd, const char *path, uint64_t low, uint64_t high, struct boot_file *file)
{
	const uint64_t ram = vm->mem.region[0].size;
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st))
		return log_errno(errno, "%s: fstat", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return log_bad(EINVAL, "%s: an initrd or module must be a regular file that is not empty", path);
	size = ((uint64_t)st.st_size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	high = (high < ram ? high : ram) & ~(PAGE_SIZE - 1);
	if (size > high || high - size < low)
		return log_bad(ENOSPC, "%s: a file of %lld bytes does not fit beside the image; give more --mem", path,
			       (long long)st.st_size);
	*file = (struct boot_file){.gpa = high - size, .size = (uint64_t)st.st_size};
	return read_fully(fd, boot_ram(vm, file->gpa, file->size), file->size, path);
}

int boot_load_file(struct vm *vm, const char *path, uint64_t low, uint64_t high, struct boot_file *file)
{
	int r, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return log_errno(errno, "%s", path);
	r = place_file(vm, fd, path, low, high, file);
	close(fd);
	return r;
}

void boot_write_page_tables(struct vm *vm)
{
	uint64_t *pml4 = boot_ram(vm, BOOT_PML4_GPA, PAGE_SIZE);
	uint64_t *pdpt = boot_ram(vm, BOOT_PDPT_GPA, PAGE_SIZE);
	uint64_t *pd = boot_ram(vm, BOOT_PD_GPA, PAGE_SIZE);

	pml4[0] = BOOT_PDPT_GPA | PTE_P | PTE_W | PTE_A;
	pdpt[0] = BOOT_PD_GPA | PTE_P | PTE_W | PTE_A;
	for (uint64_t i = 0; i < PTES_PER_TABLE; i++)
		pd[i] = i * LARGE_PAGE | PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS;
}

static void init_cpu(struct cpu_state *cs, uint64_t entry, uint16_t selector, uint16_t code)
{
	const uint16_t fcw = XSAVE_FCW_INIT;
	const uint32_t mxcsr = XSAVE_MXCSR_INIT;

	*cs = (struct cpu_state){.rip = entry, .rflags = RFLAGS_ONE, .dr6 = DR6_INIT, .dr7 = DR7_INIT,
				 .msr[CPU_MSR_PAT] = PAT_INIT};
	for (unsigned int i = CPU_ES; i <= CPU_GS; i++)
		cs->segment[i] = (struct cpu_segment){.attributes = DATA_ATTRIBUTES, .limit = UINT32_MAX,
						       .selector = (uint16_t)(selector + 8)};
	cs->segment[CPU_CS] = (struct cpu_segment){.attributes = code, .limit = UINT32_MAX, .selector = selector};
	cs->segment[CPU_LDTR] = (struct cpu_segment){.attributes = LDT_ATTRIBUTES};
	cs->segment[CPU_TR] = (struct cpu_segment){.attributes = TSS_ATTRIBUTES, .limit = 0xffff};
	memcpy(cs->xsave + XSAVE_FCW, &fcw, sizeof(fcw));
	memcpy(cs->xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
}

void boot_cpu_64(struct cpu_state *cs, uint64_t entry, uint16_t selector)
{
	init_cpu(cs, entry, selector, CODE64_ATTRIBUTES);
	cs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	cs->cr3 = BOOT_PML4_GPA;
	cs->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	cs->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
}

void boot_cpu_32(struct cpu_state *cs, uint64_t entry, uint16_t selector)
{
	init_cpu(cs, entry, selector, CODE32_ATTRIBUTES);
	cs->cr0 = CR0_PE | CR0_ET;
}
