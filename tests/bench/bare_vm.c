#include "tests/bench/bare_vm.h"

#include <err.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/stopwatch.h"
#include "vmm/kvm.h"

#define HLT 0xf4
#define CODE 0x1000

static void *map(uint64_t size, int flags, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static void check(bool ok, const char *what)
{
	if (!ok)
		err(1, "%s", what);
}

/* Real mode, at an instruction that is a HLT. */
static void set_registers(int vcpu)
{
	struct kvm_sregs s;
	struct kvm_regs r = {.rip = CODE, .rflags = 2};

	check(!ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs.base = s.cs.selector = 0;
	check(!ioctl(vcpu, KVM_SET_SREGS, &s) && !ioctl(vcpu, KVM_SET_REGS, &r), "registers");
}

static void run_vcpu(int vm, const struct kvm *k)
{
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run;

	check(vcpu >= 0, "KVM_CREATE_VCPU");
	run = map(k->run_size, MAP_SHARED, vcpu);
	check(!ioctl(vcpu, KVM_SET_CPUID2, k->supported), "KVM_SET_CPUID2");
	set_registers(vcpu);
	check(!ioctl(vcpu, KVM_RUN, 0) && run->exit_reason == KVM_EXIT_HLT, "KVM_RUN");
	munmap(run, k->run_size);
	close(vcpu);
}

double bare_vm_us(const struct kvm *k, uint64_t ram)
{
	struct kvm_userspace_memory_region slot = {.memory_size = ram};
	double start = stopwatch_us();
	int vm = ioctl(k->fd, KVM_CREATE_VM, 0);
	uint8_t *bytes = map(ram, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

	check(vm >= 0, "KVM_CREATE_VM");
	bytes[CODE] = HLT;
	slot.userspace_addr = (uintptr_t)bytes;
	check(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	run_vcpu(vm, k);
	close(vm);
	munmap(bytes, ram);
	return stopwatch_us() - start;
}
