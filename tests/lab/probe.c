/*
 * What the lab promises, seen from inside: /dev/kvm answers, KVM pages guests the way that was
 * asked for, and a bare real-mode guest of two instructions runs to its HLT.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, GUEST_AT = 0x1000 };

/* out %al, $0x42; hlt */
static const uint8_t guest_code[] = { 0xe6, 0x42, 0xf4 };

static long call(int fd, unsigned long request, void *arg, const char *name)
{
	long result = ioctl(fd, request, arg);

	if (result < 0) {
		perror(name);
		exit(2);
	}
	return result;
}

static void print_npt(void)
{
	FILE *file = fopen("/sys/module/kvm_amd/parameters/npt", "r");
	char text[16] = "";

	if (!file || !fgets(text, sizeof(text), file)) {
		perror("npt");
		exit(2);
	}
	printf("npt %s", text);
	fclose(file);
}

static int make_vcpu(int vm)
{
	struct kvm_userspace_memory_region region = { .guest_phys_addr = GUEST_AT, .memory_size = PAGE };
	struct kvm_regs regs = { .rip = GUEST_AT, .rflags = 2 };
	struct kvm_sregs sregs;
	void *ram = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int vcpu = (int)call(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");

	if (ram == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	memcpy(ram, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)ram;
	call(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	call(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
	return vcpu;
}

static void print_exits(int kvm)
{
	int vcpu = make_vcpu((int)call(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM"));
	long size = call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (run == MAP_FAILED) {
		perror("mmap of the vcpu");
		exit(2);
	}
	call(vcpu, KVM_RUN, NULL, "KVM_RUN");
	printf("exit %u port %#x\n", run->exit_reason, run->io.port);
	call(vcpu, KVM_RUN, NULL, "KVM_RUN");
	printf("exit %u\n", run->exit_reason);
}

/* How long 50 million passes of a loop of two instructions take, in us. */
static void print_loop(void)
{
	unsigned long passes = 50000000;
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(passes));
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%ld\n", (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
}

int main(int argc, char **argv)
{
	int kvm;

	if (argc > 1 && !strcmp(argv[1], "loop")) {
		print_loop();
		return 0;
	}
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		perror("/dev/kvm");
		return 2;
	}
	printf("api %ld\n", call(kvm, KVM_GET_API_VERSION, NULL, "KVM_GET_API_VERSION"));
	print_npt();
	print_exits(kvm);
	return 0;
}
