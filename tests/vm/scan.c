/*
 * Guest kernels that use instructions which tell ring 3 something else than ring 0: PUSHF and POPF, which work as in direct
 * mode, also when the mode changes while they run; and others, which are refused by name.
 */
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/unit/elf_writer.h"
#include "tests/unit/random.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/fleet.h"

#define CODE_GPA 0x100000ull
#define CODE_OFFSET 0x2000u
#define ROUNDS_OFFSET 2 /* of the immediate in the first instruction */
#define FLIPS 60u
#define MAX_PAUSE_US 1500

/*
 * Exit code 42 if IF reads right after CLI and POPF of either value and width, and all flags as popped; else the number of the
 * step. The stack is where RAM is mapped at entry.
 */
extern const uint8_t flags_guest[], flags_guest_end[];
__asm__(".pushsection .rodata\n"
	"flags_guest:\n"
	"	mov	$1, %r12d\n"
	"	mov	$0x180000, %esp\n"
	"1:	mov	$1, %ebx\n"
	"	cli\n"
	"	pushfq\n"
	"	pop	%rax\n"
	"	test	$0x200, %eax\n"
	"	jnz	9f\n"
	"	inc	%ebx\n"
	"	or	$0xad5, %rax\n" /* IF and all status flags */
	"	push	%rax\n"
	"	xor	%ecx, %ecx\n"
	"	popfq\n"
	"	pushfq\n"
	"	pop	%rdx\n"
	"	xor	%rax, %rdx\n"
	"	test	$0xad5, %edx\n"
	"	jnz	9f\n"
	"	mov	$3, %ebx\n"
	"	pushfw\n"
	"	pop	%dx\n"
	"	test	$0x200, %edx\n"
	"	jz	9f\n"
	"	mov	$4, %ebx\n"
	"	and	$0xfdff, %edx\n"
	"	push	%dx\n"
	"	popfw\n"
	"	pushfq\n"
	"	pushfq\n" /* two side by side */
	"	pop	%rax\n"
	"	pop	%rdx\n"
	"	test	$0x200, %eax\n"
	"	jnz	9f\n"
	"	mov	$5, %ebx\n"
	"	xor	%edx, %eax\n"
	"	test	$0x200, %eax\n"
	"	jnz	9f\n"
	"	mov	$6, %ebx\n"
	"	cmp	$0x180000, %rsp\n"
	"	jne	9f\n"
	"	dec	%r12d\n"
	"	jnz	1b\n"
	"	mov	$42, %ebx\n"
	"9:	mov	$0x500, %edx\n" /* ABI_PORT_EXIT */
	"	mov	%ebx, %eax\n"
	"	out	%eax, %dx\n"
	"	hlt\n"
	"flags_guest_end:\n"
	".popsection");

struct file {
	char path[32];
	int fd;
};

/* An image of this code, with or without a symbol that says so. */
static struct file write_image(const uint8_t *code, size_t size, const char *symbol)
{
	static uint8_t bytes[WRITER_FILE_SIZE];
	struct writer_symbols symbols = {.symbol = {{0}, {1, 2, 1, CODE_GPA, size}}, .count = 2, .names_size = 64};
	struct writer_elf e = writer_good();
	struct file f = {.path = "scan-image-XXXXXX"};

	e.segment[0] = (struct writer_segment){WRITER_LOAD, WRITER_R | WRITER_X, CODE_OFFSET, CODE_GPA, CODE_GPA, size, size, 4096};
	e.segment[1].paddr = e.segment[1].vaddr = 0x104000;
	e.entry = CODE_GPA;
	if (symbol)
		writer_sections(&e);
	writer_write(&e, bytes);
	memcpy(bytes + CODE_OFFSET, code, size);
	if (symbol) {
		strcpy(symbols.names + 1, symbol);
		writer_put_symbols(&symbols, bytes);
	}
	f.fd = mkstemp(f.path);
	ck_assert_int_ge(f.fd, 0);
	ck_assert_int_eq((int)pwrite(f.fd, bytes, sizeof(bytes), 0), (int)sizeof(bytes));
	return f;
}

static void remove_image(struct file *f)
{
	unlink(f->path);
	close(f->fd);
}

static struct file flags_image(uint32_t rounds, const char *symbol)
{
	size_t size = (size_t)(flags_guest_end - flags_guest);
	uint8_t code[512];

	ck_assert_uint_le(size, sizeof(code));
	memcpy(code, flags_guest, size);
	memcpy(code + ROUNDS_OFFSET, &rounds, sizeof(rounds));
	return write_image(code, size, symbol);
}

static struct outcome run(const char *command, const char *mode, const struct file *f)
{
	char line[128];

	snprintf(line, sizeof(line), "%s%s%s %s", command, mode ? " --mmu=" : "", mode ? mode : "", f->path);
	return spawn_line(line, "");
}

START_TEST(interrupt_flag)
{
	struct file f = flags_image(100, "kernel");

	for (size_t i = 0; i < MMU_MODES; i++) {
		struct outcome o = run("run", mmu_modes[i], &f);

		assert_outcome(&o, 42, "", mmu_modes[i]);
		outcome_free(&o);
	}
	remove_image(&f);
}
END_TEST

/* Direct mode runs it; shadow mode says where it is, and runs nothing. */
static void check_refused(const struct file *f, int direct, const char *part, const char *other)
{
	struct outcome o = run("run", "shadow", f);

	assert_complaint(&o, 125, part, other, "shadow");
	ck_assert_str_eq(o.out.data, "");
	outcome_free(&o);
	o = run("run", "ept", f);
	assert_outcome(&o, direct, "", "ept");
	outcome_free(&o);
	o = run("inspect", NULL, f);
	ck_assert_int_eq(o.status, 0);
	ck_assert_ptr_nonnull(strstr(o.out.data, "\nept       ok\n"));
	ck_assert_ptr_nonnull(strstr(o.out.data, "\nshadow    no: "));
	ck_assert_ptr_nonnull(strstr(o.out.data, part));
	outcome_free(&o);
}

START_TEST(selector_read)
{
	/* mov $0x500, %edx; mov $7, %al; mov %cs, %ebx; out %al, %dx; hlt */
	static const uint8_t code[] = {0xba, 0, 5, 0, 0, 0xb0, 7, 0x8c, 0xcb, 0xee, 0xf4};
	struct file f = write_image(code, sizeof(code), "kernel_main");

	check_refused(&f, 7, "`mov %cs, %ebx` at 0x100007 (kernel_main+0x7)", "--mmu=shadow");
	remove_image(&f);
}
END_TEST

START_TEST(flags_without_symbols)
{
	struct file f = flags_image(1, NULL);

	check_refused(&f, 42, "no symbol says that this is code", "and 6 more");
	remove_image(&f);
}
END_TEST

/* What a running guest is flipped by, on its own thread. */
struct flip {
	struct vcpu_work work;
	sem_t done;
	bool ended;
	int error;
	bool intact; /* after an export, and after the change, the code in RAM is the image's */
	struct cpu_state cs;
	uint8_t code[512];
	const uint8_t *image;
	size_t size;
};

static bool is_intact(struct flip *f, struct vm *vm)
{
	return mem_read(&vm->mem, CODE_GPA, f->code, f->size) == 0 && !memcmp(f->code, f->image, f->size);
}

/* Takes the state, as a snapshot would, and then changes the mode. */
static int export_and_change(struct flip *f, struct vm *vm)
{
	int r = vcpu_drain(&vm->vcpu);

	if (r == 0)
		r = vm->mmu->export_state(&vm->vcpu, &f->cs);
	f->intact = is_intact(f, vm);
	if (r == 0)
		r = vm_change_mmu(vm, vm->mmu == &ept_mmu ? &shadow_mmu : &ept_mmu);
	f->intact = f->intact && is_intact(f, vm);
	return r;
}

static void flip_mode(struct vcpu_work *w, struct vm *vm)
{
	struct flip *f = (struct flip *)w;

	f->error = vm_ended(vm) ? 0 : export_and_change(f, vm);
	f->ended = vm_ended(vm);
	sem_post(&f->done);
}

/* One guest inside this process. */
struct launched {
	struct kvm kvm;
	struct image image;
	struct fleet fleet;
};

static void launch(struct launched *in, const char *path, const struct mmu_ops *mmu)
{
	struct vm_config config = {.kvm = &in->kvm, .image = &in->image, .mmu = mmu, .cmdline = "", .mem = 2 << 20, .console.fd = -1};

	inside_open(&in->kvm);
	ck_assert_int_eq(image_open(&in->image, path), 0);
	ck_assert_int_eq(fleet_init(&in->fleet, 1, -1, 100000), 0);
	ck_assert_int_eq(fleet_launch(&in->fleet, config), 0);
}

static void take_down(struct launched *in)
{
	fleet_destroy(&in->fleet);
	image_close(&in->image);
	kvm_close(&in->kvm);
}

START_TEST(flag_across_modes)
{
	struct random r = random_start(__func__);
	struct file file = flags_image(UINT32_MAX, "kernel");
	uint8_t image[512];
	struct flip f = {.work.run = flip_mode, .image = image, .size = (size_t)(flags_guest_end - flags_guest)};
	unsigned int flips = 0;
	struct launched in;
	struct vm *vm;

	ck_assert_int_eq((int)pread(file.fd, image, f.size, CODE_OFFSET), (int)f.size);
	sem_init(&f.done, 0, 0);
	launch(&in, file.path, &shadow_mmu);
	vm = &in.fleet.members[0].vm;
	while (flips < FLIPS && vcpu_post(&vm->vcpu, &f.work)) {
		sem_wait(&f.done);
		ck_assert_int_eq(f.error, 0);
		ck_assert(f.ended || f.intact);
		flips += !f.ended;
		/* Time to run, in either mode. */
		usleep((useconds_t)(500 + random_below(&r, MAX_PAUSE_US)));
	}
	fleet_ask_end(&in.fleet, VM_STOPPED);
	fleet_wait(&in.fleet);
	/* Not by itself, with the number of a step. */
	ck_assert_msg(vm->end.kind == VM_STOPPED && flips == FLIPS, "%s, code %u, %u changes of mode", vm->end.reason, vm->end.code,
		      flips);
	take_down(&in);
	remove_image(&file);
}
END_TEST

/* Into shadow mode with an image that cannot go there: the guest goes on where it is. */
static void try_shadow(struct vcpu_work *w, struct vm *vm)
{
	struct flip *f = (struct flip *)w;

	f->error = vm_change_mmu(vm, &shadow_mmu);
	f->ended = vm_ended(vm) || vm->mmu != &ept_mmu;
	sem_post(&f->done);
}

START_TEST(refused_at_run_time)
{
	/* mov $200000, %ecx; 1: dec %ecx; jnz 1b; mov %cs, %ebx; mov $0x500, %edx; mov $9, %al; out %al, %dx */
	static const uint8_t code[] = {0xb9, 0x40, 0x0d, 0x03, 0, 0xff, 0xc9, 0x75, 0xfc, 0x8c, 0xcb,
				       0xba, 0,    5,	 0, 0, 0xb0, 9,	   0xee, 0xf4};
	struct file file = write_image(code, sizeof(code), "kernel");
	struct flip f = {.work.run = try_shadow};
	struct launched in;
	struct vm *vm;

	sem_init(&f.done, 0, 0);
	launch(&in, file.path, &ept_mmu);
	vm = &in.fleet.members[0].vm;
	if (vcpu_post(&vm->vcpu, &f.work)) {
		sem_wait(&f.done);
		ck_assert_int_eq(f.error, -ENOTSUP);
		ck_assert(!f.ended);
	}
	fleet_wait(&in.fleet);
	ck_assert_int_eq(vm->end.kind, VM_EXITED);
	ck_assert_int_eq(vm->end.code, 9);
	take_down(&in);
	remove_image(&file);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {interrupt_flag, selector_read, flags_without_symbols, flag_across_modes,
				      refused_at_run_time};

	return RUN_TESTS("scan", tests);
}
