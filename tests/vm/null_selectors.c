/*
 * Null selectors in ring 3 and in the guest's kernel, where shadow mode does not see them loaded: what the guest reads through
 * FS and GS afterwards, and the state it ends with, is in both modes the same.
 */
#include <stdlib.h>
#include <string.h>

#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "shadow/shadow.h"
#include "tests/vm/assembled.h"
#include "tests/vm/suite.h"

#define PLACE 0x400000ull  /* read through FS and GS; with their bases it is elsewhere */
#define FS_BASE 0x10000ull
#define GS_BASE 0x20000ull
#define NEW_BASE 0x30000ull
#define RESULT 0x500000ull /* what was read, FS first */

/* Ways to load AX, as opcodes. */
static const struct {
	const char *name;
	uint8_t code[4], size;
	enum cpu_segment_name segment;
} loads[] = {
	{"mov %ax, %es", {0x8e, 0xc0}, 2, CPU_ES},
	{"mov %ax, %ds", {0x8e, 0xd8}, 2, CPU_DS},
	{"mov %ax, %fs", {0x8e, 0xe0}, 2, CPU_FS},
	{"mov %ax, %gs", {0x8e, 0xe8}, 2, CPU_GS},
	{"push; pop %fs", {0x50, 0x0f, 0xa1}, 3, CPU_FS},
	{"push; pop %gs", {0x50, 0x0f, 0xa9}, 3, CPU_GS},
};

#define LOADS (sizeof(loads) / sizeof(*loads))
#define SELECTORS 4u
#define ENDS 3u /* ring 3, ring 0, ring 0 with another base set afterwards */

enum ending { END_USER, END_KERNEL, END_KERNEL_WRMSR };

static size_t emit(uint8_t *code, size_t at, const void *bytes, size_t size)
{
	memcpy(code + at, bytes, size);
	return at + size;
}

/* mov %fs:PLACE, %rax; mov %rax, RESULT; the same for GS. */
static size_t emit_reads(uint8_t *code, size_t at)
{
	static const uint8_t reads[] = {
		0x64, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00, 0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x50, 0x00,
		0x65, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00, 0x48, 0x89, 0x04, 0x25, 0x08, 0x00, 0x50, 0x00,
	};

	return emit(code, at, reads, sizeof(reads));
}

/* The base of the segment that was not loaded gets another value: mov $msr, %ecx; mov $base, %eax; cdq; wrmsr. */
static size_t emit_wrmsr(uint8_t *code, size_t at, bool fs)
{
	const uint8_t write[] = {0xb9, fs ? 0x00 : 0x01, 0x01, 0x00, 0xc0, 0xb8, 0x00, 0x00, 0x03, 0x00, 0x99, 0x0f, 0x30};

	return emit(code, at, write, sizeof(write));
}

static void assemble(struct assembled *a, unsigned int load, uint8_t selector, enum ending end)
{
	static const uint8_t int4[] = {0xcd, 4};
	uint8_t code[128] = {0xb8, selector, 0, 0, 0};
	size_t at = emit(code, 5, loads[load].code, loads[load].size);

	if (end == END_KERNEL_WRMSR)
		at = emit_wrmsr(code, at, loads[load].segment == CPU_GS);
	at = emit_reads(code, at);
	if (end == END_USER)
		at = emit(code, at, int4, sizeof(int4));
	assembled_code(a, code, at);
}

struct outcome {
	uint64_t read[2];
	struct cpu_segment segment[CPU_SEGMENT_COUNT];
};

static struct outcome run(const struct kvm *kvm, const struct mmu_ops *mmu, unsigned int load, uint8_t selector,
			  enum ending end)
{
	struct assembled a;
	struct outcome o;

	assembled_open_in(&a, kvm, mmu);
	for (uint64_t base = 0; base <= NEW_BASE; base += 0x10000)
		assembled_poke(&a, PLACE + base, base + 1);
	if (end == END_USER)
		assembled_user(&a);
	a.cs.segment[CPU_FS].base = FS_BASE;
	a.cs.segment[CPU_GS].base = GS_BASE;
	assemble(&a, load, selector, end);
	assembled_run(&a);
	ck_assert_msg(a.vm.end.kind == VM_EXITED && a.vm.end.code == (end == END_USER ? 4 : ASSEMBLED_DONE),
		      "%s, %s of %u: %s", mmu->name, loads[load].name, selector, a.vm.end.reason);
	o = (struct outcome){.read = {assembled_peek(&a, RESULT), assembled_peek(&a, RESULT + 8)}};
	memcpy(o.segment, a.cs.segment, sizeof(o.segment));
	assembled_close(&a);
	return o;
}

/* The exported base is the one that the guest itself last had. */
static void check_bases(const struct outcome *o, const char *mode, const char *what)
{
	ck_assert_msg(o->segment[CPU_FS].base == o->read[0] - 1, "%s, %s: FS base 0x%lx", mode, what,
		      (unsigned long)o->segment[CPU_FS].base);
	ck_assert_msg(o->segment[CPU_GS].base == o->read[1] - 1, "%s, %s: GS base 0x%lx", mode, what,
		      (unsigned long)o->segment[CPU_GS].base);
}

/* Where ring 3 runs on the real CPU nobody is told of its selectors. */
static void check_selector(const struct outcome *direct, const struct outcome *shadow, unsigned int load)
{
	enum cpu_segment_name name = loads[load].segment;

	if (host_mmu_detect("").ring0_interpreted)
		return;
	ck_assert_uint_eq(direct->segment[name].selector, shadow->segment[name].selector);
	ck_assert(!(shadow->segment[name].attributes & CPU_SEGMENT_PRESENT));
}

START_TEST(test_loads)
{
	unsigned int load = (unsigned int)_i % LOADS;
	enum ending end = (enum ending)((unsigned int)_i / LOADS);
	struct kvm kvm;

	inside_open(&kvm);
	for (uint8_t selector = 0; selector < SELECTORS; selector++) {
		struct outcome direct = run(&kvm, &ept_mmu, load, selector, end);
		struct outcome shadow = run(&kvm, &shadow_mmu, load, selector, end);

		check_bases(&direct, "ept", loads[load].name);
		check_bases(&shadow, "shadow", loads[load].name);
		ck_assert_int_eq(memcmp(direct.read, shadow.read, sizeof(direct.read)), 0);
		check_selector(&direct, &shadow, load);
	}
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	return run_loop_test("null_selectors", test_loads, LOADS * ENDS);
}
