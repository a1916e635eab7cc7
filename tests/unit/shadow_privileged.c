/*
 * What privileged instructions do where no rule is broken (for that: shadow_privileged_faults.c).
 */
#include "shadow/privileged.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/shadow_execute.h"
#include "tests/vm/suite.h"

static struct execute e;

#define DB 1

/* The one exception: the debug exception brings its own state. */
START_TEST(general_detect)
{
	execute_start(&e, 0);
	CS.dr7 = 0x2400;
	CS.dr6 = 0xffff0ff0;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x21, 0xc0), INSN_TRAP);
	ck_assert_uint_eq(e.trap.vector, DB);
	ck_assert(!e.trap.has_error);
	ck_assert_uint_eq(CS.dr6, 0xffff2ff0);
	ck_assert_uint_eq(CS.dr7, 0x400);
	ck_assert_uint_eq(e.p.effects, PRIVILEGED_DEBUG);
	execute_end(&e);
}
END_TEST

static void check_done(unsigned int effects, unsigned int length)
{
	ck_assert_uint_eq(e.p.effects, effects);
	ck_assert_uint_eq(CS.rip, USER_CODE + length);
}

START_TEST(control_registers)
{
	execute_start(&e, 0);
	RAX = (CS.cr0 | CR0_TS | 1ull << 15) & ~CR0_ET;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x22, 0xc0), INSN_DONE);
	check_done(PRIVILEGED_PAGING, 3);
	ck_assert_uint_eq(CS.cr0, (RAX & ~(1ull << 15)) | CR0_ET);
	execute_end(&e);

	execute_start(&e, 0);
	RAX = CS.cr3 | 0x18;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x22, 0xd8), INSN_DONE);
	check_done(PRIVILEGED_CR3, 3);
	ck_assert_uint_eq(CS.cr3, RAX);
	execute_end(&e);

	execute_start(&e, 0);
	RAX = CS.cr4 | CR4_SMEP | CR4_PGE;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x22, 0xe0), INSN_DONE);
	check_done(PRIVILEGED_PAGING | PRIVILEGED_CR3, 3);
	ck_assert_uint_eq(CS.cr4, RAX);
	execute_end(&e);

	execute_start(&e, 0);
	CS.cr8 = 7;
	CS.rflags |= RFLAGS_RF;
	CS.interrupt_shadow = true;
	ck_assert_int_eq(EXECUTE(&e, 0x45, 0x0f, 0x20, 0xc1), INSN_DONE);
	check_done(0, 4);
	ck_assert_uint_eq(CS.gpr[CPU_R9], 7);
	ck_assert(!(CS.rflags & RFLAGS_RF) && !CS.interrupt_shadow);
	execute_end(&e);
}
END_TEST

START_TEST(machine_status_word)
{
	/* PE is not cleared, the rest of the four bits is taken, all else stays. */
	execute_start(&e, 0);
	RAX = 0xfffffffffffffff0 | CR0_MP;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x01, 0xf0), INSN_DONE);
	ck_assert_uint_eq(CS.cr0 & 0xf, CR0_PE | CR0_MP);
	ck_assert(CS.cr0 & CR0_PG);
	execute_end(&e);

	execute_start(&e, 0);
	CS.cr0 |= CR0_TS;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x06), INSN_DONE);
	ck_assert(!(CS.cr0 & CR0_TS));
	execute_end(&e);

	execute_start(&e, 3);
	RAX = ~0ull;
	ck_assert_int_eq(EXECUTE(&e, 0x66, 0x0f, 0x01, 0xe0), INSN_DONE);
	ck_assert_uint_eq(RAX, 0xffffffffffff0000 | (CS.cr0 & 0xffff));
	execute_end(&e);
}
END_TEST

START_TEST(debug_registers)
{
	execute_start(&e, 0);
	RAX = 0xffffffff;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x23, 0xf8), INSN_DONE);
	ck_assert_uint_eq(CS.dr7, 0xffff2fff);
	check_done(PRIVILEGED_DEBUG, 3);
	execute_end(&e);

	/* DR4 is DR6. */
	execute_start(&e, 0);
	RAX = 0xf;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x23, 0xe0), INSN_DONE);
	ck_assert_uint_eq(CS.dr6, 0xffff0fff);
	execute_end(&e);
}
END_TEST

START_TEST(model_specific_registers)
{
	for (unsigned int i = 0; i < CPU_MSR_COUNT; i++) {
		uint64_t value = i == CPU_MSR_PAT ? 0x0001040506070004 : 0x00007abc00001230 + i;

		execute_start(&e, 0);
		RCX = cpu_msr_number[i] | 0x1200000000;
		RAX = (uint32_t)value | 0x3400000000;
		RDX = value >> 32 | 0x5600000000;
		ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x30), INSN_DONE);
		ck_assert_uint_eq(i == CPU_MSR_TSC ? e.tsc : CS.msr[i], value);
		ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x32), INSN_DONE);
		ck_assert_uint_eq(RAX, (uint32_t)value);
		ck_assert_uint_eq(RDX, value >> 32);
		execute_end(&e);
	}
}
END_TEST

START_TEST(bases_and_efer)
{
	execute_start(&e, 0);
	RCX = 0xc0000101;
	RAX = 0x1000;
	RDX = 0xffff8880;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x30), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_GS].base, 0xffff888000001000);
	CS.msr[CPU_MSR_KERNEL_GS_BASE] = 0x1234;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x01, 0xf8), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_GS].base, 0x1234);
	ck_assert_uint_eq(CS.msr[CPU_MSR_KERNEL_GS_BASE], 0xffff888000001000);
	RCX = 0xc0000080;
	RAX = EFER_LME | EFER_NXE;
	RDX = 0;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x30), INSN_DONE);
	ck_assert_uint_eq(CS.efer, EFER_LME | EFER_LMA | EFER_NXE);
	execute_end(&e);
}
END_TEST

START_TEST(descriptor_tables)
{
	execute_start(&e, 0);
	RBX = USER_DATA + 0xffb; /* across pages */
	kernel_poke64(&e.guest, RBX, 0x800012345678abcd);
	kernel_poke(&e.guest, RBX + 8, "\xff\xff", 2);
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x01, 0x1b), INSN_DONE);
	ck_assert_uint_eq(CS.idt.limit, 0xabcd);
	ck_assert_uint_eq(CS.idt.base, 0xffff800012345678);
	RBX = USER_DATA + 0x100;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x01, 0x0b), INSN_DONE);
	ck_assert_uint_eq(kernel_peek(&e.guest, RBX), 0x800012345678abcd);
	ck_assert_uint_eq(kernel_peek(&e.guest, RBX + 8), 0xffff);
	execute_end(&e);
}
END_TEST

START_TEST(task_and_local_table)
{
	execute_start(&e, 0);
	CS.segment[CPU_TR] = CS.segment[CPU_LDTR] = (struct cpu_segment){0};
	RAX = SEL_TSS;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x00, 0xd8), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_TR].base, KERNEL_TSS);
	ck_assert_uint_eq(CS.segment[CPU_TR].attributes, 0x8b);
	ck_assert_uint_eq(kernel_peek(&e.guest, KERNEL_GDT + SEL_TSS) >> 40 & 0xff, 0x8b);
	RAX = SEL_LDT;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x00, 0xd0), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_LDTR].base, KERNEL_LDT);
	ck_assert_uint_eq(CS.segment[CPU_LDTR].limit, 0x7f);
	RAX = 0;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x00, 0xd0), INSN_DONE);
	ck_assert(!(CS.segment[CPU_LDTR].attributes & CPU_SEGMENT_PRESENT));
	execute_end(&e);
}
END_TEST

START_TEST(segment_registers)
{
	execute_start(&e, 0);
	kernel_descriptor(&e.guest, SEL_FREE, 0x12345678, 0xfffff, 0xcf2);
	CS.gdt.limit = SEL_FREE + 7;
	RAX = SEL_FREE | 3;
	ck_assert_int_eq(EXECUTE(&e, 0x8e, 0xe0), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_FS].base, 0x12345678);
	ck_assert_uint_eq(CS.segment[CPU_FS].attributes, 0xcf3);
	ck_assert_uint_eq(kernel_peek(&e.guest, KERNEL_GDT + SEL_FREE) >> 40 & 0xff, 0xf3);
	check_done(PRIVILEGED_SEGMENTS, 2);
	ck_assert(!CS.interrupt_shadow);
	/* A null SS in ring 0, and no interrupt before the next instruction is through. */
	RAX = 0;
	ck_assert_int_eq(EXECUTE(&e, 0x8e, 0xd0), INSN_DONE);
	ck_assert(CS.interrupt_shadow);
	ck_assert_uint_eq(gmem_cpl(&CS), 0);
	execute_end(&e);

	/* Null with any RPL for the others; a readable conforming code segment of any ring. */
	execute_start(&e, 3);
	RAX = 3;
	ck_assert_int_eq(EXECUTE(&e, 0x8e, 0xd8), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_DS].selector, 3);
	kernel_descriptor(&e.guest, SEL_FREE, 0, 0xfffff, 0xa9f);
	RAX = SEL_FREE | 3;
	ck_assert_int_eq(EXECUTE(&e, 0x8e, 0xd8), INSN_DONE);
	execute_end(&e);
}
END_TEST

/* Only the selector is read, at the end of the stack, too. */
START_TEST(pop_of_segments)
{
	execute_start(&e, 0);
	RSP = KERNEL_STACK + KERNEL_MAPPED - 2;
	kernel_poke(&e.guest, RSP, "\x23", 2);
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0xa9), INSN_DONE);
	ck_assert_uint_eq(CS.segment[CPU_GS].selector, 0x23);
	ck_assert_uint_eq(RSP, KERNEL_STACK + KERNEL_MAPPED + 6);
	execute_end(&e);

	execute_start(&e, 0);
	kernel_poke64(&e.guest, RSP, 0);
	ck_assert_int_eq(EXECUTE(&e, 0x66, 0x0f, 0xa1), INSN_DONE);
	ck_assert_uint_eq(RSP, KERNEL_STACK + 0x1802);
	execute_end(&e);
}
END_TEST

START_TEST(interrupt_flag)
{
	/* The shadow is only there where IF was not. */
	execute_start(&e, 3);
	CS.rflags = RFLAGS_ONE | RFLAGS_IOPL;
	ck_assert_int_eq(EXECUTE(&e, 0xfb), INSN_DONE);
	ck_assert(CS.interrupt_shadow && (CS.rflags & RFLAGS_IF));
	ck_assert_int_eq(EXECUTE(&e, 0xfb), INSN_DONE);
	ck_assert(!CS.interrupt_shadow && (CS.rflags & RFLAGS_IF));
	ck_assert_int_eq(EXECUTE(&e, 0xfa), INSN_DONE);
	ck_assert(!(CS.rflags & RFLAGS_IF));
	execute_end(&e);
}
END_TEST

START_TEST(invalidation)
{
	execute_start(&e, 0);
	CS.segment[CPU_GS].base = 0x10000;
	RBX = 0x234;
	ck_assert_int_eq(EXECUTE(&e, 0x65, 0x0f, 0x01, 0x3b), INSN_DONE);
	check_done(PRIVILEGED_INVLPG, 4);
	ck_assert_uint_eq(e.p.invlpg_gva, 0x10234);
	execute_end(&e);

	/* No page, no fault. */
	execute_start(&e, 0);
	RBX = NOT_CANONICAL;
	ck_assert_int_eq(EXECUTE(&e, 0x0f, 0x01, 0x3b), INSN_DONE);
	check_done(0, 3);
	execute_end(&e);

	execute_start(&e, 0);
	ck_assert_int_eq(EXECUTE(&e, 0xf4), INSN_DONE);
	check_done(PRIVILEGED_HALT, 1);
	execute_end(&e);
}
END_TEST

/* Data segments of the inner ring are gone, with null ones' RPL; bases stay. */
START_TEST(iret_to_ring_3)
{
	execute_start(&e, 0);
	CS.segment[CPU_DS] = (struct cpu_segment){.selector = SEL_DATA, .attributes = 0xc93, .limit = UINT32_MAX};
	CS.segment[CPU_ES] = (struct cpu_segment){.selector = SEL_USER_DATA | 3, .attributes = 0xcf3, .limit = UINT32_MAX};
	CS.segment[CPU_FS] = (struct cpu_segment){.selector = 2, .base = 0x7000};
	CS.segment[CPU_GS] = (struct cpu_segment){.selector = SEL_CODE, .attributes = 0xa9f};
	CS.nmi_masked = true;
	execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, SEL_USER_DATA | 3);
	kernel_poke64(&e.guest, RSP + 16, ~RFLAGS_VM);
	ck_assert_int_eq(EXECUTE(&e, 0x48, 0xcf), INSN_DONE);
	ck_assert_uint_eq(CS.rip, USER_CODE);
	ck_assert_uint_eq(RSP, USER_STACK);
	ck_assert_uint_eq(gmem_cpl(&CS), 3);
	ck_assert_uint_eq(CS.segment[CPU_CS].attributes, 0xafb);
	ck_assert_uint_eq(CS.segment[CPU_DS].selector, 0);
	ck_assert(!(CS.segment[CPU_DS].attributes & CPU_SEGMENT_PRESENT));
	ck_assert_uint_eq(CS.segment[CPU_ES].selector, SEL_USER_DATA | 3);
	ck_assert_uint_eq(CS.segment[CPU_FS].selector, 0);
	ck_assert_uint_eq(CS.segment[CPU_FS].base, 0x7000);
	ck_assert_uint_eq(CS.segment[CPU_GS].selector, SEL_CODE);
	ck_assert_uint_eq(CS.rflags, 0x3d7fd7);
	ck_assert(!CS.nmi_masked);
	execute_end(&e);
}
END_TEST

/* What ring 3 may change of RFLAGS depends on the old IOPL, not on the new one. */
START_TEST(iret_within_a_ring)
{
	for (unsigned int iopl = 0; iopl <= 3; iopl++) {
		execute_start(&e, 3);
		CS.rflags = RFLAGS_ONE | RFLAGS_IF | (uint64_t)iopl << 12;
		execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, SEL_USER_DATA | 3);
		kernel_poke64(&e.guest, RSP + 16, RFLAGS_IOPL | RFLAGS_CF);
		ck_assert_int_eq(EXECUTE(&e, 0x48, 0xcf), INSN_DONE);
		ck_assert_uint_eq(CS.rflags, RFLAGS_ONE | RFLAGS_CF | (uint64_t)iopl << 12 | (iopl == 3 ? 0 : RFLAGS_IF));
		execute_end(&e);
	}
	/* In ring 0 with a null SS, and DS stays. */
	execute_start(&e, 0);
	CS.segment[CPU_DS].selector = SEL_DATA;
	execute_put_frame(&e, KERNEL_AREA, SEL_CODE, KERNEL_STACK + 0x10, 0);
	ck_assert_int_eq(EXECUTE(&e, 0x48, 0xcf), INSN_DONE);
	ck_assert_uint_eq(CS.rip, KERNEL_AREA);
	ck_assert_uint_eq(RSP, KERNEL_STACK + 0x10);
	ck_assert_uint_eq(CS.segment[CPU_SS].selector, 0);
	ck_assert_uint_eq(CS.segment[CPU_DS].selector, SEL_DATA);
	execute_end(&e);
}
END_TEST

/* 32-bit words: upper halves are zero, but flags above them do not exist anyway. */
START_TEST(iret_of_32_bit_words)
{
	const uint32_t frame[] = {0x1234, SEL_USER_CODE32 | 3, RFLAGS_CF, 0xfffff000, SEL_USER_DATA | 3};

	execute_start(&e, 0);
	kernel_poke(&e.guest, RSP, frame, sizeof(frame));
	ck_assert_int_eq(EXECUTE(&e, 0xcf), INSN_DONE);
	ck_assert_uint_eq(CS.rip, 0x1234);
	ck_assert_uint_eq(RSP, 0xfffff000);
	ck_assert_uint_eq(CS.segment[CPU_CS].attributes, 0xcfb);
	ck_assert_uint_eq(CS.rflags, RFLAGS_ONE | RFLAGS_CF);
	execute_end(&e);
}
END_TEST

START_TEST(far_returns)
{
	execute_start(&e, 0);
	execute_put_frame(&e, KERNEL_AREA, SEL_CODE, 0, 0);
	ck_assert_int_eq(EXECUTE(&e, 0x48, 0xca, 0x20, 0x00), INSN_DONE);
	ck_assert_uint_eq(CS.rip, KERNEL_AREA);
	ck_assert_uint_eq(RSP, KERNEL_STACK + 0x1800 + 16 + 0x20);
	ck_assert_uint_eq(CS.segment[CPU_SS].selector, SEL_DATA);
	execute_end(&e);

	/* To an outer ring: parameters go from both stacks. */
	execute_start(&e, 0);
	kernel_poke64(&e.guest, RSP, USER_CODE);
	kernel_poke64(&e.guest, RSP + 8, SEL_USER_CODE | 3);
	kernel_poke64(&e.guest, RSP + 32, USER_STACK);
	kernel_poke64(&e.guest, RSP + 40, SEL_USER_DATA | 3);
	ck_assert_int_eq(EXECUTE(&e, 0x48, 0xca, 0x10, 0x00), INSN_DONE);
	ck_assert_uint_eq(RSP, USER_STACK + 0x10);
	ck_assert_uint_eq(gmem_cpl(&CS), 3);
	execute_end(&e);
}
END_TEST

START_TEST(sysret)
{
	for (unsigned int wide = 0; wide <= 1; wide++) {
		execute_start(&e, 0);
		CS.msr[CPU_MSR_STAR] = 0x0018000800000000;
		RCX = 0x7fff12345678;
		CS.gpr[CPU_R11] = ~0ull;
		ck_assert_int_eq(wide ? EXECUTE(&e, 0x48, 0x0f, 0x07) : EXECUTE(&e, 0x0f, 0x07), INSN_DONE);
		ck_assert_uint_eq(CS.rip, wide ? 0x7fff12345678 : 0x12345678);
		ck_assert_uint_eq(CS.rflags, 0x3c7fd7);
		ck_assert_uint_eq(CS.segment[CPU_CS].selector, wide ? 0x2b : 0x1b);
		ck_assert_uint_eq(CS.segment[CPU_CS].attributes, wide ? 0xafb : 0xcfb);
		ck_assert_uint_eq(CS.segment[CPU_SS].selector, 0x23);
		ck_assert_uint_eq(gmem_cpl(&CS), 3);
		ck_assert_uint_eq(RSP, KERNEL_STACK + 0x1800);
		execute_end(&e);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		general_detect, control_registers, machine_status_word, debug_registers, model_specific_registers,
		bases_and_efer, descriptor_tables, task_and_local_table, segment_registers, pop_of_segments,
		interrupt_flag, invalidation, iret_to_ring_3, iret_within_a_ring, iret_of_32_bit_words, far_returns,
		sysret,
	};

	return RUN_TESTS("shadow_privileged", tests);
}
