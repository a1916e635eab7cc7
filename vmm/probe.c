#include "vmm/probe.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cpu_state.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/probe_guest.h"

#define NS_PER_S 1000000000ull
#define RETRY_NS 50000000 /* a signal that falls between the look at the clock and KVM_RUN is followed by another */
#define PTE 0x67ull	  /* present, writable, user, accessed, dirty (SDM vol. 3A, 4.5) */
#define STAR_VALUE ((uint64_t)PROBE_KERNEL_CS << 32)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t gpa_of(const unsigned char *label)
{
	return PROBE_CODE + (uint64_t)(label - probe_guest);
}

static void put(struct probe *p, uint64_t gpa, uint64_t value)
{
	memcpy(p->ram + gpa, &value, sizeof(value));
}

void probe_map_page(struct probe *p, uint64_t gpa)
{
	/* Volatile: the guest's tables are live while this is written. */
	*(volatile uint64_t *)(void *)(p->ram + PROBE_PT + PROBE_PAGE / 4096 * 8) = gpa | PTE;
}

static void write_paging(struct probe *p)
{
	put(p, PROBE_PML4, PROBE_PDPT | PTE);
	put(p, PROBE_PDPT, PROBE_PD | PTE);
	put(p, PROBE_PD, PROBE_PT | PTE);
	for (uint64_t i = 0; i < PROBE_RAM_SIZE / 4096; i++)
		put(p, PROBE_PT + i * 8, i * 4096 | PTE);
	probe_map_page(p, PROBE_FRAME_A);
	put(p, PROBE_FRAME_A, 'A');
	put(p, PROBE_FRAME_B, 'B');
}

/* Descriptor and gate layouts: SDM vol. 3A, 3.4.5, 7.2.3 and 6.14.1. Every gate is open to INT n of ring 3. */
static void write_tables(struct probe *p)
{
	put(p, PROBE_GDT + PROBE_KERNEL_CS, 0x00af9b000000ffff);
	put(p, PROBE_GDT + PROBE_KERNEL_DS, 0x00cf93000000ffff);
	put(p, PROBE_GDT + (PROBE_USER_DS & ~7), 0x00cff3000000ffff);
	put(p, PROBE_GDT + (PROBE_USER_CS & ~7), 0x00affb000000ffff);
	put(p, PROBE_GDT + PROBE_TR, 0x0000890000000067 | (uint64_t)PROBE_TSS << 16);
	put(p, PROBE_TSS + 4, PROBE_STACK);
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t stub = PROBE_CODE + i * PROBE_STUB_SIZE;

		put(p, PROBE_IDT + i * 16, (stub & 0xffff) | PROBE_KERNEL_CS << 16 | 0xeeull << 40 | stub >> 16 << 48);
	}
}

static int make_ram(struct probe *p)
{
	struct kvm_userspace_memory_region slot = {.memory_size = PROBE_RAM_SIZE};

	p->ram = mmap(NULL, PROBE_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->ram == MAP_FAILED)
		return log_errno(errno, "mmap of a probe's RAM");
	slot.userspace_addr = (uint64_t)(uintptr_t)p->ram;
	memcpy(p->ram + PROBE_CODE, probe_guest, (size_t)(probe_guest_end - probe_guest));
	write_paging(p);
	write_tables(p);
	return kvm_set_slot(p->vm_fd, &slot);
}

static int make_vcpu(struct probe *p, struct kvm_cpuid2 *cpuid)
{
	p->fd = kvm_create_vcpu(p->vm_fd, 0);
	if (p->fd < 0)
		return p->fd;
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (p->run == MAP_FAILED)
		return log_errno(errno, "mmap of a probe's vCPU");
	return kvm_set_cpuid(p->fd, cpuid);
}

/* Does nothing: the signal is there to interrupt KVM_RUN. */
static void on_alarm(int number)
{
}

static int start_timer(struct probe *p)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec when = {.it_value.tv_sec = 1, .it_interval.tv_nsec = RETRY_NS};

	if (sigaction(SIGALRM, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &p->timer))
		return log_errno(errno, "timer of a probe");
	p->deadline = now_ns() + NS_PER_S;
	timer_settime(p->timer, 0, &when, NULL);
	return 0;
}

/* Gives back what make_ram() and make_vcpu() made so far. */
static void unmake(struct probe *p)
{
	if (p->run != MAP_FAILED)
		munmap(p->run, p->run_size);
	if (p->fd >= 0)
		close(p->fd);
	if (p->ram != MAP_FAILED)
		munmap(p->ram, PROBE_RAM_SIZE);
	close(p->vm_fd);
}

int probe_open(struct probe *p, const struct kvm *k, struct kvm_cpuid2 *cpuid)
{
	int r;

	*p = (struct probe){.fd = -1, .ram = MAP_FAILED, .run = MAP_FAILED, .run_size = k->run_size};
	p->vm_fd = kvm_create_vm(k);
	if (p->vm_fd < 0)
		return p->vm_fd;
	r = make_ram(p);
	if (r == 0)
		r = make_vcpu(p, cpuid);
	if (r == 0)
		r = start_timer(p);
	if (r < 0)
		unmake(p);
	return r;
}

void probe_close(struct probe *p)
{
	timer_delete(p->timer);
	unmake(p);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool system)
{
	return (struct kvm_segment){.selector = selector, .type = type, .s = !system, .present = 1, .limit = 0xffffffff,
				    .l = type == 11 && !system, .db = type == 3, .g = !system, .dpl = selector & 3};
}

static int set_sregs(struct probe *p, uint64_t cr4)
{
	struct kvm_sregs s = {
		.cs = segment(PROBE_KERNEL_CS, 11, false), .ds = segment(PROBE_KERNEL_DS, 3, false),
		.tr = segment(PROBE_TR, 11, true), .ldt = {.unusable = 1},
		.gdt = {.base = PROBE_GDT, .limit = PROBE_TR + 15}, .idt = {.base = PROBE_IDT, .limit = 4095},
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG, .cr3 = PROBE_PML4,
		.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | cr4,
		.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE, .apic_base = 0xfee00000,
	};

	s.es = s.fs = s.gs = s.ss = s.ds;
	s.tr.base = PROBE_TSS;
	s.tr.limit = 0x67;
	return kvm_set_sregs(p->fd, &s);
}

static int set_syscall_target(struct probe *p)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {.head.nmsrs = 2,
		  .entries = {{.index = cpu_msr_number[CPU_MSR_STAR], .data = STAR_VALUE},
			      {.index = cpu_msr_number[CPU_MSR_LSTAR], .data = gpa_of(probe_lstar)}}};

	return kvm_set_msrs(p->fd, &msrs.head);
}

int probe_start(struct probe *p, const unsigned char *entry, const unsigned char *user, uint64_t cr4)
{
	struct kvm_regs regs = {.rip = gpa_of(entry), .rflags = RFLAGS_ONE, .rsp = PROBE_STACK};
	int r = set_sregs(p, cr4);

	if (user)
		regs.rbx = gpa_of(user);
	if (r == 0)
		r = set_syscall_target(p);
	return r == 0 ? kvm_set_regs(p->fd, &regs) : r;
}

static void read_exit(const struct kvm_run *run, struct probe_result *result)
{
	*result = (struct probe_result){.stop = PROBE_BROKE, .exit = run->exit_reason};
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		result->stop = PROBE_REFUSED;
	if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT)
		return;
	result->stop = run->io.port == PROBE_REPORT ? PROBE_REPORTED : PROBE_EVENT;
	result->vector = run->io.port;
}

int probe_run(struct probe *p, struct probe_result *result)
{
	int r;

	while ((r = kvm_run(p->fd)) == -EINTR)
		if (now_ns() >= p->deadline) {
			*result = (struct probe_result){.stop = PROBE_STUCK};
			return 0;
		}
	if (r == 0)
		read_exit(p->run, result);
	return r;
}
