/*
 * The edges of what insn_execute_memory() does: what it leaves to others, how far a REP goes at a time, what SSE asks of the
 * control registers, and privileges of its operands.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/insn_memory.h"
#include "shadow/rflags.h"
#include "tests/unit/shadow_guest.h"
#include "tests/vm/suite.h"

#define CODE 0x400000ull
#define DATA 0x500000ull
#define CODE_GPA 0x210000ull
#define DATA_GPA 0x220000ull
#define OPEN (PTE_P | PTE_W | PTE_U)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)

static struct guest guest;
static uint8_t xmm[16][16];

static void setup(void)
{
	guest_create(&guest);
	guest_map(&guest, CODE, CODE_GPA, PTE_P | PTE_U);
	guest_map(&guest, DATA, DATA_GPA, OPEN);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		guest.cs.gpr[i] = DATA + 0x100;
}

static void teardown(void)
{
	guest_destroy(&guest);
}

static enum insn_result run(const void *code, size_t size, uint32_t iterations, struct trap *trap)
{
	enum insn_result r;
	struct insn in;

	*trap = (struct trap){0};
	guest.cs.rip = CODE;
	memset(guest_ram(&guest, CODE_GPA), 0x90, 16);
	memcpy(guest_ram(&guest, CODE_GPA), code, size);
	r = insn_fetch(&guest.gmem, &in, trap);
	ck_assert_int_eq(r, INSN_DONE);
	return insn_execute_memory(&guest.gmem, &in, xmm, iterations, trap);
}

struct code {
	const char *bytes;
	size_t size;
};

START_TEST(leaves_to_others)
{
	static const struct code others[] = {
		{"\xc5\xf8\x10\x00", 4},	 /* vmovups xmm0, [rax] */
		{"\x0f\x6f\x00", 3},		 /* movq mm0, [rax] */
		{"\x0f\x6e\x00", 3},		 /* movd mm0, [rax] */
		{"\xf2\x0f\x10\x00", 4},	 /* movsd xmm0, [rax] */
		{"\x0f\x28\xc1", 3},		 /* movaps xmm0, xmm1 */
		{"\x66\x0f\x6e\xc0", 4},	 /* movd xmm0, eax */
		{"\xff\x18", 2},		 /* call far [rax] */
		{"\x66\xff\x10", 3},		 /* call word [rax] */
		{"\xff\x20", 2},		 /* jmp [rax] */
		{"\x8c\x18", 2},		 /* mov [rax], ds */
		{"\x8e\x18", 2},		 /* mov ds, [rax] */
		{"\x0f\xa0", 2},		 /* push fs */
		{"\x0f\xa1", 2},		 /* pop fs */
		{"\x0f\x20\xc0", 3},		 /* mov rax, cr0 */
		{"\xa7", 1},			 /* cmpsd */
		{"\xae", 1},			 /* scasb */
		{"\x6c", 1},			 /* insb */
		{"\xf7\x20", 2},		 /* mul dword [rax] */
		{"\xd1\x00", 2},		 /* rol dword [rax], 1 */
		{"\x8d\x00", 2},		 /* lea eax, [rax] */
		{"\x0f\x01\x38", 3},		 /* invlpg [rax] */
		{"\x90", 1},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct cpu_state before;
		struct trap trap;

		guest.cs.rip = CODE;
		before = guest.cs;
		ck_assert_msg(run(others[i].bytes, others[i].size, 1, &trap) == INSN_UNKNOWN, "number %zu", i);
		ck_assert_int_eq(memcmp(&before, &guest.cs, sizeof(before)), 0);
	}
}
END_TEST

START_TEST(a_rep_goes_as_far_as_it_may)
{
	for (uint32_t iterations = 1; iterations <= 12; iterations++)
		for (uint64_t count = 0; count <= 10; count++) {
			uint64_t done = count < iterations ? count : iterations;
			struct trap trap;

			guest.cs.gpr[CPU_RCX] = count;
			guest.cs.gpr[CPU_RDI] = DATA;
			guest.cs.interrupt_shadow = true;
			ck_assert_int_eq(run("\xf3\x48\xab", 3, iterations, &trap), INSN_DONE);
			ck_assert_uint_eq(guest.cs.gpr[CPU_RCX], count - done);
			ck_assert_uint_eq(guest.cs.gpr[CPU_RDI], DATA + 8 * done);
			ck_assert_uint_eq(guest.cs.rip, done < count ? CODE : CODE + 3);
			ck_assert(!guest.cs.interrupt_shadow);
		}
}
END_TEST

static const struct code sse[] = {
	{"\x0f\x10\x00", 3}, {"\x0f\x29\x00", 3}, {"\x66\x0f\x6f\x00", 4}, {"\xf3\x0f\x7e\x00", 4}, {"\x66\x0f\x7e\x00", 4},
};

START_TEST(sse_has_to_be_switched_on)
{
	for (size_t i = 0; i < sizeof(sse) / sizeof(*sse); i++)
		for (unsigned int n = 0; n < 8; n++) {
			bool em = n & 1, ts = n & 2, osfxsr = n & 4;
			struct trap trap;
			enum insn_result r;

			guest.cs.cr0 = CR0_PE | CR0_PG | (em ? CR0_EM : 0) | (ts ? CR0_TS : 0);
			guest.cs.cr4 = CR4_PAE | (osfxsr ? CR4_OSFXSR : 0);
			r = run(sse[i].bytes, sse[i].size, 1, &trap);
			ck_assert_int_eq(r, em || ts || !osfxsr ? INSN_TRAP : INSN_DONE);
			if (r == INSN_TRAP)
				ck_assert_uint_eq(trap.vector, em || !osfxsr ? TRAP_UD : TRAP_NM);
			ck_assert(!trap.has_error);
		}
}
END_TEST

START_TEST(sse_without_its_registers_is_unknown)
{
	for (size_t i = 0; i < sizeof(sse) / sizeof(*sse); i++) {
		struct trap trap;
		struct insn in;

		guest.cs.rip = CODE;
		memcpy(guest_ram(&guest, CODE_GPA), sse[i].bytes, sse[i].size);
		ck_assert_int_eq(insn_fetch(&guest.gmem, &in, &trap), INSN_DONE);
		ck_assert_int_eq(insn_execute_memory(&guest.gmem, &in, NULL, 1, &trap), INSN_UNKNOWN);
	}
}
END_TEST

/* mov [rax], rax on pages of every kind, at CPL 0 and 3, with and without CR0.WP. */
START_TEST(operands_have_the_rights_of_cpl)
{
	for (unsigned int n = 0; n < 16; n++) {
		bool user = n & 1, page_user = n & 2, page_write = n & 4, wp = n & 8;
		bool allowed = (page_user || !user) && (page_write || (!user && !wp));
		struct trap trap;

		guest_set_cpl(&guest, user ? 3 : 0);
		guest.cs.cr0 = CR0_PE | CR0_PG | (wp ? CR0_WP : 0);
		guest_map(&guest, DATA, DATA_GPA, PTE_P | (page_user ? PTE_U : 0) | (page_write ? PTE_W : 0));
		ck_assert_int_eq(run("\x48\x89\x00", 3, 1, &trap), allowed ? INSN_DONE : INSN_TRAP);
		if (allowed)
			continue;
		ck_assert_uint_eq(trap.vector, TRAP_PF);
		ck_assert_uint_eq(trap.error, PF_PRESENT | PF_WRITE | (user ? PF_USER : 0));
		ck_assert_uint_eq(trap.cr2, DATA + 0x100);
	}
}
END_TEST

/* Alignment is checked of user code only, and only where both switches are on. */
START_TEST(alignment_checks_are_for_users)
{
	for (unsigned int n = 0; n < 8; n++) {
		bool user = n & 1, am = n & 2, ac = n & 4;
		struct trap trap;

		guest_set_cpl(&guest, user ? 3 : 0);
		guest.cs.cr0 = CR0_PE | CR0_PG | (am ? 1ull << 18 : 0);
		guest.cs.rflags = RFLAGS_ONE | (ac ? RFLAGS_AC : 0);
		guest.cs.gpr[CPU_RAX] = DATA + 0x101;
		ck_assert_int_eq(run("\x89\x00", 2, 1, &trap), user && am && ac ? INSN_TRAP : INSN_DONE);
		ck_assert_uint_eq(trap.vector, user && am && ac ? TRAP_AC : 0);
		ck_assert_int_eq(run("\x88\x00", 2, 1, &trap), INSN_DONE);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_insn_repertoire");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, leaves_to_others);
	tcase_add_test(tcase, a_rep_goes_as_far_as_it_may);
	tcase_add_test(tcase, sse_has_to_be_switched_on);
	tcase_add_test(tcase, sse_without_its_registers_is_unknown);
	tcase_add_test(tcase, operands_have_the_rights_of_cpl);
	tcase_add_test(tcase, alignment_checks_are_for_users);
	return run_case("shadow_insn_repertoire", tcase);
}
