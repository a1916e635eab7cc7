/*
 * Segments of a guest's at the selectors that a 64-bit Linux kernel has for its own ring 3. Where ring 3 loads them from the
 * host's table (found out here by the kind of KVM), shadow mode refuses the guest and says which; elsewhere, and in direct
 * mode, the guest simply goes there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "shadow/host_selectors.h"
#include "tests/vm/assembled.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"

#define USER_CODE64 0x00affb000000ffffull
#define USER_DATA 0x00cff3000000ffffull
#define KERNEL_DATA 0x00cf93000000ffffull

/* To the CS and SS of the case, and there, in ring 3, INT 4. */
static const struct {
	uint16_t cs, ss;
	uint64_t code, data;
	uint16_t named; /* the selector that is refused on native hosts; 0 = none */
	bool far_return;
} cases[] = {
	{0x33, 0x2b, USER_CODE64, USER_DATA, 0x2b, false},
	{0x33, 0x1b, USER_CODE64, USER_DATA, 0x33, false},
	{0x33, 0x1b, USER_CODE64, USER_DATA, 0x33, true},
	{0x23, 0x2b, USER_CODE64, USER_DATA, 0x2b, false},
	{0x23, 0x7b, USER_CODE64, USER_DATA, 0x7b, false},
	{0x23, 0x28, USER_CODE64, KERNEL_DATA, 0x28, false},
	{0x23, 0x1b, USER_CODE64, USER_DATA, 0, false},
	{0x23, 0x1b, USER_CODE64, USER_DATA, 0, true},
	{0x2b, 0x1b, USER_CODE64, USER_DATA, 0, false}, /* code where the host has data: traps */
	{0x53, 0x5b, USER_CODE64, USER_DATA, 0, false},
	{0x53, 0x5b, USER_CODE64, USER_DATA, 0, true},
};

static uint8_t *push(uint8_t *at, uint32_t value)
{
	*at++ = 0x68;
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

#define VECTOR_OF 4

/* IRETQ or a far RET to the INT 4 that follows. Returns the size of all. */
static size_t write_return(uint8_t *code, uint16_t cs, uint16_t ss, bool far_return)
{
	const uint32_t size = far_return ? 22 : 27;
	uint8_t *at = push(code, ss);

	at = push(at, ASSEMBLED_STACK);
	if (!far_return)
		at = push(at, RFLAGS_ONE);
	at = push(at, cs);
	at = push(at, ASSEMBLED_CODE + size);
	*at++ = 0x48;
	*at++ = far_return ? 0xcb : 0xcf;
	ck_assert_uint_eq((uint32_t)(at - code), size);
	*at++ = 0xcd;
	*at++ = VECTOR_OF;
	return size + 2;
}

/* A segment of ring 0 cannot be SS; it is only there. */
static uint16_t return_ss(int i)
{
	return cases[i].data == KERNEL_DATA ? SELECTOR_USER_DATA : cases[i].ss;
}

static bool is_refused(int i)
{
	return cases[i].named && mmu_is_shadow() && host_mmu_detect("").ring0_interpreted;
}

/* Direct mode lacks the instruction where ring 0 is interpreted. */
static bool is_beyond_host(int i)
{
	return cases[i].far_return && !mmu_is_shadow() && host_mmu_detect("").ring0_interpreted;
}

static void check_end(int i, struct assembled *a)
{
	const struct vm_end *end = &a->vm.end;
	char name[16];

	snprintf(name, sizeof(name), "0x%x ", cases[i].named);
	if (is_beyond_host(i)) {
		ck_assert_int_eq(end->kind, VM_HOST_LIMIT);
	} else if (is_refused(i)) {
		ck_assert_msg(end->kind == VM_HOST_LIMIT, "case %d: %s", i, end->reason);
		ck_assert_msg(strstr(end->reason, name) != NULL, "case %d: %s", i, end->reason);
	} else {
		ck_assert_msg(end->kind == VM_EXITED && end->code == VECTOR_OF, "case %d: %s", i, end->reason);
		ck_assert_uint_eq(assembled_peek(a, ASSEMBLED_HANDLER_STACK - 32), cases[i].cs);
		ck_assert_uint_eq(assembled_peek(a, ASSEMBLED_HANDLER_STACK - 8), return_ss(i));
	}
}

START_TEST(test_returns)
{
	struct assembled a;
	uint8_t code[64];
	struct kvm kvm;

	inside_open(&kvm);
	assembled_open(&a, &kvm);
	assembled_descriptor(&a, cases[_i].cs, cases[_i].code);
	assembled_descriptor(&a, cases[_i].ss, cases[_i].data);
	assembled_code(&a, code, write_return(code, cases[_i].cs, return_ss(_i), cases[_i].far_return));
	assembled_run(&a);
	check_end(_i, &a);
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

/* A GDT that becomes so under way: the store is seen at the next trap, which here comes before the return. */
static void run_store(struct assembled *a)
{
	/* mov $gdt + 0x30, %rdi; mov $descriptor, %rax; mov %rax, (%rdi); cli */
	uint8_t code[24] = {0x48, 0xbf, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xb8};
	uint64_t to = ASSEMBLED_GDT + 0x30, raw = USER_CODE64;

	memcpy(code + 2, &to, sizeof(to));
	memcpy(code + 12, &raw, sizeof(raw));
	memcpy(code + 20, (const uint8_t[]){0x48, 0x89, 0x07, 0xfa}, 4);
	assembled_code(a, code, sizeof(code));
	assembled_run(a);
}

START_TEST(test_stored)
{
	struct assembled a;
	struct kvm kvm;

	inside_open(&kvm);
	assembled_open(&a, &kvm);
	run_store(&a);
	ck_assert_int_eq(a.vm.end.kind, mmu_is_shadow() && host_mmu_detect("").ring0_interpreted ? VM_HOST_LIMIT : VM_EXITED);
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

/* What the tiny guest finds out is what the kind of host says. */
START_TEST(test_host)
{
	bool load;
	struct kvm kvm;

	inside_open(&kvm);
	ck_assert_int_eq(host_selectors_find(&kvm, &load), 0);
	ck_assert_int_eq(load, host_mmu_detect("").ring0_interpreted);
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {test_stored, test_host};
	int failed = run_loop_test("selectors", test_returns, sizeof(cases) / sizeof(*cases));

	return RUN_TESTS("selectors", tests) || failed;
}
