/*
 * Port instructions of the guest: who may, what moves, in which order, and how far a string instruction gets.
 */
#include "shadow/privileged.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/shadow_execute.h"
#include "tests/vm/suite.h"

static struct execute e;

#define PF 14
#define BITMAP 0x68

static void use_bitmap(void)
{
	RDX = 0x3f8;
	CS.segment[CPU_TR].limit = BITMAP + 0x80;
}

static void check_done(unsigned int effects, unsigned int length)
{
	ck_assert_uint_eq(e.p.effects, effects);
	ck_assert_uint_eq(CS.rip, USER_CODE + length);
}

START_TEST(ports)
{
	/* By IOPL without a look at the TSS, by the bitmap up to its last port. */
	execute_start(&e, 3);
	CS.rflags |= RFLAGS_IOPL;
	CS.segment[CPU_TR].base = KERNEL_UNMAPPED;
	RAX = RDX = ~0ull;
	ck_assert_int_eq(EXECUTE(&e, 0xec), INSN_DONE);
	ck_assert_uint_eq(RAX, (~0ull & ~0xffull) | execute_port_value(0xffff, 0, 1));
	ck_assert_uint_eq(e.port[0].addr, 0xffff);
	execute_end(&e);

	execute_start(&e, 3);
	use_bitmap();
	CS.segment[CPU_TR].limit = 0x68 + 0x3f8 / 8 + 1;
	RAX = 0x1122334455667788;
	ck_assert_int_eq(EXECUTE(&e, 0xef), INSN_DONE);
	ck_assert_uint_eq(e.port[0].value, 0x55667788);
	ck_assert_uint_eq(e.port[0].size, 4);
	ck_assert_int_eq(EXECUTE(&e, 0xed), INSN_DONE);
	ck_assert_uint_eq(RAX, execute_port_value(0x3f8, 1, 4));
	execute_end(&e);

	execute_start(&e, 0);
	ck_assert_int_eq(EXECUTE(&e, 0xe4, 0xf1), INSN_DONE);
	ck_assert_uint_eq(e.port[0].addr, 0xf1);
	e.end_at = 2;
	ck_assert_int_eq(EXECUTE(&e, 0xe6, 0x80), INSN_ENDED);
	execute_end(&e);
}
END_TEST

/* Both directions, an element that crosses pages among them. */
START_TEST(strings)
{
	for (unsigned int down = 0; down <= 1; down++) {
		uint64_t from = USER_DATA + 0x1000 + (down ? 6 : -6);

		execute_start(&e, 0);
		RCX = 4;
		RDX = 0x100;
		CS.gpr[CPU_RDI] = from;
		CS.rflags |= down ? RFLAGS_DF : 0;
		ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6d), INSN_DONE);
		ck_assert_uint_eq(e.ports, 4);
		for (unsigned int i = 0; i < 4; i++)
			ck_assert_uint_eq((uint32_t)kernel_peek(&e.guest, from + (down ? -4ull : 4) * i),
					  execute_port_value(0x100, i, 4));
		ck_assert_uint_eq(CS.gpr[CPU_RDI], from + (down ? -16ull : 16));
		ck_assert_uint_eq(RCX, 0);
		check_done(0, 2);
		execute_end(&e);
	}
}
END_TEST

/* Addresses and counts of 32 bits: upper halves do not count, and are zero afterwards. */
START_TEST(strings_of_32_bit_addresses)
{
	execute_start(&e, 3);
	CS.rflags |= RFLAGS_IOPL;
	RCX = 0xffffffff00000003;
	CS.gpr[CPU_RSI] = 0xaaaaaaaa00000000 | (USER_DATA + 0x10);
	kernel_poke(&e.guest, USER_DATA + 0x10, "abc", 3);
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x67, 0x6e), INSN_DONE);
	ck_assert_uint_eq(e.ports, 3);
	ck_assert_uint_eq(e.port[2].value, 'c');
	ck_assert_uint_eq(CS.gpr[CPU_RSI], USER_DATA + 0x13);
	ck_assert_uint_eq(RCX, 0);
	execute_end(&e);
}
END_TEST

START_TEST(strings_with_segments)
{
	execute_start(&e, 0);
	CS.segment[CPU_FS].base = USER_DATA;
	CS.gpr[CPU_RSI] = 0x20;
	kernel_poke(&e.guest, USER_DATA + 0x20, "x", 1);
	ck_assert_int_eq(EXECUTE(&e, 0x64, 0x6e), INSN_DONE);
	ck_assert_uint_eq(e.port[0].value, 'x');
	ck_assert_uint_eq(CS.gpr[CPU_RSI], 0x21);
	execute_end(&e);
}
END_TEST

/* A fault half way: what was done stays, RIP is on the instruction. */
START_TEST(string_that_faults_half_way)
{
	execute_start(&e, 0);
	RCX = 5;
	CS.gpr[CPU_RDI] = USER_DATA + KERNEL_MAPPED - 3;
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6c), INSN_TRAP);
	ck_assert_uint_eq(e.trap.vector, PF);
	ck_assert_uint_eq(e.trap.cr2, USER_DATA + KERNEL_MAPPED);
	ck_assert_uint_eq(RCX, 2);
	ck_assert_uint_eq(CS.gpr[CPU_RDI], USER_DATA + KERNEL_MAPPED);
	ck_assert_uint_eq(e.ports, 3);
	ck_assert_uint_eq(CS.rip, USER_CODE);
	execute_end(&e);
}
END_TEST

/* In slices; the last one ends with the instruction. A count of zero does nothing but to look for the right to the port. */
START_TEST(strings_in_slices)
{
	execute_start(&e, 0);
	e.p.iterations = 2;
	RCX = 4;
	CS.gpr[CPU_RSI] = USER_DATA;
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6e), INSN_DONE);
	ck_assert_uint_eq(RCX, 2);
	ck_assert_uint_eq(CS.rip, USER_CODE);
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6e), INSN_DONE);
	ck_assert_uint_eq(RCX, 0);
	check_done(0, 2);
	execute_end(&e);

	execute_start(&e, 0);
	RCX = 0;
	CS.gpr[CPU_RSI] = KERNEL_UNMAPPED;
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6e), INSN_DONE);
	ck_assert_uint_eq(e.ports, 0);
	check_done(0, 2);
	execute_end(&e);

	execute_start(&e, 3);
	RCX = 0;
	CS.segment[CPU_TR].limit = 102;
	ck_assert_int_eq(EXECUTE(&e, 0xf3, 0x6e), INSN_TRAP);
	execute_end(&e);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		ports, strings, strings_of_32_bit_addresses, strings_with_segments, string_that_faults_half_way,
		strings_in_slices,
	};

	return RUN_TESTS("shadow_port", tests);
}
