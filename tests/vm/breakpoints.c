/*
 * Debug registers that point to where shadow mode has its monitor: at that address the guest has nothing, so nothing may happen
 * to it, and least of all to the monitor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/monitor.h"
#include "tests/vm/assembled.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"

#define STUBS (MONITOR_GVA + 5 * 0x1000)
#define STUB(vector) (STUBS + 8 * (vector))

#define SKIPPED 77 /* as meson and tests/lab/run-suite understand it */

#define EXECUTE 0u
#define WRITE 1u
#define READ_WRITE 3u

/* Enabled locally and globally, one byte or 8. */
static uint64_t dr7(unsigned int kind)
{
	unsigned int length = kind == EXECUTE ? 0 : 2, all = 0;

	for (unsigned int i = 0; i < 4; i++)
		all |= (kind | length << 2) << (16 + 4 * i);
	return all | 0x4ff;
}

static const struct {
	unsigned int kind;
	uint64_t at[4];
} cases[] = {
	{EXECUTE, {STUB(13), STUB(6), STUB(14), STUB(4)}},
	{EXECUTE, {STUB(1), STUB(13), STUB(1), STUB(1)}},
	{EXECUTE, {MONITOR_GVA + 22 * 0x1000, MONITOR_GVA + 22 * 0x1000 + 10, STUB(13), STUB(1)}},
	{WRITE, {MONITOR_GVA + 5 * 0x1000 - 8, MONITOR_GVA + 5 * 0x1000 - 16, MONITOR_GVA + 5 * 0x1000 - 40,
		 MONITOR_GVA + 5 * 0x1000 - 48}},
	{READ_WRITE, {MONITOR_GVA + 4 * 0x1000 - 8, MONITOR_GVA + 3 * 0x1000 + 4, MONITOR_GVA + 2 * 0x1000,
		      MONITOR_GVA + 6 * 0x1000}},
};

/* cli; mov %dr0, %rax; mov %rax, %dr0; mov %dr7, %rbx; cli */
static const uint8_t code[] = {0xfa, 0x0f, 0x21, 0xc0, 0x0f, 0x23, 0xc0, 0x0f, 0x21, 0xfb, 0xfa};

START_TEST(test_monitor)
{
	struct assembled a;
	struct kvm kvm;

	inside_open(&kvm);
	assembled_open(&a, &kvm);
	assembled_code(&a, code, sizeof(code));
	memcpy(a.cs.dr, cases[_i].at, sizeof(a.cs.dr));
	a.cs.dr7 = dr7(cases[_i].kind);
	assembled_run(&a);
	ck_assert_msg(a.vm.end.kind == VM_EXITED && a.vm.end.code == ASSEMBLED_DONE, "case %d: %s", _i, a.vm.end.reason);
	ck_assert_int_eq(memcmp(a.cs.dr, cases[_i].at, sizeof(a.cs.dr)), 0);
	ck_assert_uint_eq(a.cs.dr7, dr7(cases[_i].kind));
	ck_assert_uint_eq(a.cs.gpr[CPU_RBX], dr7(cases[_i].kind));
	ck_assert_uint_eq(a.cs.dr6 & 0xf, 0);
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

/*
 * Under direct mode they reach QEMU, which forgets to take breakpoints of its guest's guest away again (every guest after it
 * stumbles over them), and falls over when they come to be for data.
 */
static bool host_is_harmed(void)
{
	return in_lab() && !mmu_is_shadow();
}

int main(void)
{
	if (host_is_harmed()) {
		puts("not in direct mode in the lab: QEMU keeps the breakpoints of a guest's guest for ever");
		return SKIPPED;
	}
	return run_loop_test("breakpoints", test_monitor, sizeof(cases) / sizeof(*cases));
}
