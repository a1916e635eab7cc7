/*
 * The floor of the launch benchmark: bare IMAGE [COMMAND-LINE]
 *
 * Boots a guest image with the calls to KVM that no monitor can do without, on one thread, with no
 * library but libc, no device but a transmitter at COM1 and the exit port, and no checks of its
 * input beyond what keeps it from lying: a call that fails ends the program. It does the same work
 * for the guest as guest/abi.h promises, and nothing twice.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "guest/abi.h"

#define RAM_SIZE (64ull << 20)
#define CPUID_MAX 256
#define FAILED 125

#define INFO_GPA 0x1000ull
#define PML4_GPA 0x2000ull
#define PDPT_GPA 0x3000ull
#define PD_GPA 0x4000ull
#define CMDLINE_GPA 0x5000ull
#define CMDLINE_MAX 0x8000u

#define PTE_TABLE 0x23ull /* present, writable, accessed */
#define PTE_LARGE 0xe3ull /* present, writable, accessed, dirty, 2 MiB */

#define COM1_DATA 0x3f8
#define COM1_LINE_STATUS 0x3fd
#define TRANSMITTER_EMPTY 0x60

struct bare {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
	uint64_t entry, top;
	size_t used;
	char line[512];
};

static int call(int fd, unsigned long request, const char *name, void *arg)
{
	int r = ioctl(fd, request, arg);

	if (r < 0)
		err(FAILED, "%s", name);
	return r;
}

#define CALL(fd, request, arg) call(fd, request, #request, arg)

static void *map(size_t size, int flags, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		err(FAILED, "mmap");
	return p;
}

static void set_cpuid(struct bare *b)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_MAX];
	} table = {.head.nent = CPUID_MAX};

	CALL(b->kvm, KVM_GET_SUPPORTED_CPUID, &table);
	CALL(b->vcpu, KVM_SET_CPUID2, &table);
}

static void create(struct bare *b)
{
	struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE};
	int size;

	b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (b->kvm < 0)
		err(FAILED, "/dev/kvm");
	size = CALL(b->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	b->ram = map(RAM_SIZE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	slot.userspace_addr = (uintptr_t)b->ram;
	b->vm = CALL(b->kvm, KVM_CREATE_VM, NULL);
	CALL(b->vm, KVM_SET_USER_MEMORY_REGION, &slot);
	b->vcpu = CALL(b->vm, KVM_CREATE_VCPU, NULL);
	b->run = map((size_t)size, MAP_SHARED, b->vcpu);
	set_cpuid(b);
}

static void read_exactly(int fd, void *to, size_t size, uint64_t offset)
{
	if (pread(fd, to, size, (off_t)offset) != (ssize_t)size)
		err(FAILED, "read of the image");
}

static void load_segment(struct bare *b, int fd, const Elf64_Ehdr *eh, const Elf64_Phdr *ph)
{
	uint64_t end = ph->p_paddr + ph->p_memsz;

	if (ph->p_type != PT_LOAD)
		return;
	if (ph->p_filesz > RAM_SIZE || ph->p_memsz > RAM_SIZE ||
	    ph->p_paddr > RAM_SIZE - ph->p_memsz)
		errx(FAILED, "image does not fit");
	read_exactly(fd, b->ram + ph->p_paddr, ph->p_filesz, ph->p_offset);
	if (eh->e_entry - ph->p_vaddr < ph->p_memsz)
		b->entry = ph->p_paddr + (eh->e_entry - ph->p_vaddr);
	if (end > b->top)
		b->top = end;
}

static void load(struct bare *b, const char *path)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[16];
	} head;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(FAILED, "%s", path);
	read_exactly(fd, &head, sizeof(head), 0);
	if (memcmp(head.eh.e_ident, ELFMAG, SELFMAG) || head.eh.e_phoff != sizeof(head.eh) ||
	    head.eh.e_phnum > 16)
		errx(FAILED, "%s: not a guest image", path);
	for (unsigned int i = 0; i < head.eh.e_phnum; i++)
		load_segment(b, fd, &head.eh, &head.ph[i]);
	close(fd);
}

static void write_boot(struct bare *b, const char *cmdline)
{
	struct abi_boot boot = {
		.magic = ABI_BOOT_MAGIC, .version = ABI_VERSION, .size = sizeof(boot),
		.cmdline = CMDLINE_GPA, .cmdline_size = strlen(cmdline) + 1,
		.free = (b->top + 4095) & ~4095ull,
		.region_count = 1, .region[0].size = RAM_SIZE,
	};
	uint64_t *pd = (uint64_t *)(b->ram + PD_GPA);

	if (boot.cmdline_size > CMDLINE_MAX)
		errx(FAILED, "command line too long");
	if (getrandom(boot.seed, sizeof(boot.seed), 0) != sizeof(boot.seed))
		err(FAILED, "getrandom");
	memcpy(b->ram + INFO_GPA, &boot, sizeof(boot));
	memcpy(b->ram + CMDLINE_GPA, cmdline, boot.cmdline_size);
	*(uint64_t *)(b->ram + PML4_GPA) = PDPT_GPA | PTE_TABLE;
	*(uint64_t *)(b->ram + PDPT_GPA) = PD_GPA | PTE_TABLE;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | PTE_LARGE;
}

static void set_registers(struct bare *b)
{
	struct kvm_segment code = {.limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1,
				   .s = 1, .l = 1, .g = 1};
	struct kvm_segment data = {.limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1,
				   .s = 1, .db = 1, .g = 1};
	struct kvm_sregs s = {
		.cs = code, .ds = data, .es = data, .fs = data, .gs = data, .ss = data,
		.tr = {.limit = 0xffff, .type = 11, .present = 1},
		.ldt = {.type = 2, .present = 1},
		.cr0 = 0x80010033, .cr3 = PML4_GPA, .cr4 = 0x620, .efer = 0xd01,
		.apic_base = 0xfee00000,
	};
	struct kvm_regs r = {.rip = b->entry, .rflags = 2, .rdi = INFO_GPA};

	CALL(b->vcpu, KVM_SET_SREGS, &s);
	CALL(b->vcpu, KVM_SET_REGS, &r);
}

static void flush(struct bare *b)
{
	if (b->used && write(STDOUT_FILENO, b->line, b->used) < 0)
		err(FAILED, "write");
	b->used = 0;
}

static void put(struct bare *b, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		b->line[b->used++] = bytes[i];
		if (bytes[i] == '\n' || b->used == sizeof(b->line))
			flush(b);
	}
}

/* Returns the guest's exit code, or -1 while it goes on. */
static int on_io(struct bare *b)
{
	uint8_t *data = (uint8_t *)b->run + b->run->io.data_offset;
	size_t size = (size_t)b->run->io.size * b->run->io.count;

	if (b->run->io.direction == KVM_EXIT_IO_IN) {
		memset(data, b->run->io.port == COM1_LINE_STATUS ? TRANSMITTER_EMPTY : 0xff, size);
	} else if (b->run->io.port == COM1_DATA) {
		put(b, (const char *)data, size);
	} else if (b->run->io.port == ABI_PORT_EXIT) {
		flush(b);
		return data[0];
	}
	return -1;
}

static int run(struct bare *b)
{
	int code = -1;

	while (code < 0) {
		CALL(b->vcpu, KVM_RUN, NULL);
		if (b->run->exit_reason != KVM_EXIT_IO)
			errx(FAILED, "KVM_RUN returned for reason %u", b->run->exit_reason);
		code = on_io(b);
	}
	return code;
}

int main(int argc, char **argv)
{
	struct bare b = {.used = 0};

	if (argc < 2 || argc > 3)
		errx(FAILED, "usage: bare IMAGE [COMMAND-LINE]");
	create(&b);
	load(&b, argv[1]);
	write_boot(&b, argc > 2 ? argv[2] : "");
	set_registers(&b);
	return run(&b);
}
