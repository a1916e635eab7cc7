/*
 * Fetching and decoding one instruction, and its registers. What addresses and instructions do is measured against the real
 * CPU in shadow_insn_memory.c.
 */
#include "shadow/insn.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_guest.h"
#include "tests/vm/suite.h"

#define GVA 0x0000123456780000ull /* two pages of code */
#define GPA0 0x210000ull
#define GPA1 0x208000ull
#define BORDER (GVA + PAGE_SIZE)
#define CODE (PTE_P | PTE_U)
#define CR4_SMEP (1ull << 20)

static struct guest guest;

static void setup(void)
{
	guest_create(&guest);
	guest_map(&guest, GVA, GPA0, CODE);
	guest_map(&guest, BORDER, GPA1, CODE);
}

static void teardown(void)
{
	guest_destroy(&guest);
}

static void put(uint64_t gva, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint64_t at = gva + i;

		*guest_ram(&guest, (at < BORDER ? GPA0 : GPA1) + at % PAGE_SIZE) = ((const uint8_t *)bytes)[i];
	}
}

static enum insn_result fetch(uint64_t rip, struct insn *in, struct trap *trap)
{
	*trap = (struct trap){0};
	guest.cs.rip = rip;
	return insn_fetch(&guest.gmem, in, trap);
}

static void check_trap(uint64_t rip, unsigned int vector, uint32_t error, uint64_t cr2)
{
	struct insn in;
	struct trap trap;

	ck_assert_int_eq(fetch(rip, &in, &trap), INSN_TRAP);
	ck_assert_uint_eq(trap.vector, vector);
	ck_assert_uint_eq(trap.error, error);
	ck_assert_uint_eq(trap.cr2, cr2);
	ck_assert_int_eq(trap.has_error, vector == TRAP_PF || vector == TRAP_GP);
}

static void check_length(uint64_t rip, unsigned int length)
{
	struct insn in;
	struct trap trap;

	ck_assert_int_eq(fetch(rip, &in, &trap), INSN_DONE);
	ck_assert_uint_eq(in.info.length, length);
}

/* mov rax, [rsp + rcx*2 + 0x12345678] with an FS prefix: ten bytes with another prefix. */
static const uint8_t ten[] = {0x64, 0x3e, 0x48, 0x8b, 0x84, 0x4c, 0x78, 0x56, 0x34, 0x12};

START_TEST(decodes_at_every_offset_from_a_border)
{
	for (unsigned int before = 0; before <= sizeof(ten) + 6; before++) {
		put(BORDER - before, ten, sizeof(ten));
		check_length(BORDER - before, sizeof(ten));
	}
}
END_TEST

START_TEST(the_second_page_counts_only_if_reached)
{
	static const uint64_t broken[] = {0, CODE | PTE_NX, PTE_P};
	static const uint32_t errors[] = {PF_USER | PF_FETCH, PF_USER | PF_FETCH | PF_PRESENT,
					  PF_USER | PF_FETCH | PF_PRESENT};

	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int before = 1; before <= sizeof(ten) + 6; before++) {
			put(BORDER - before, ten, sizeof(ten));
			guest_map(&guest, BORDER, GPA1, broken[i]);
			if (before >= sizeof(ten))
				check_length(BORDER - before, sizeof(ten));
			else
				check_trap(BORDER - before, TRAP_PF, errors[i], BORDER);
		}
}
END_TEST

START_TEST(faults_of_the_first_page)
{
	guest_map(&guest, GVA, GPA0, PTE_U);
	check_trap(GVA + 5, TRAP_PF, PF_USER | PF_FETCH, GVA + 5);
	guest_map(&guest, GVA, GPA0, CODE | PTE_NX);
	check_trap(GVA + 5, TRAP_PF, PF_USER | PF_FETCH | PF_PRESENT, GVA + 5);
	guest_map(&guest, GVA, GPA0, PTE_P);
	check_trap(GVA + 5, TRAP_PF, PF_USER | PF_FETCH | PF_PRESENT, GVA + 5);
	/* Without NX and SMEP the CPU does not say that it was a fetch. */
	guest.cs.efer &= ~EFER_NXE;
	check_trap(GVA + 5, TRAP_PF, PF_USER | PF_PRESENT, GVA + 5);
	guest_map(&guest, GVA, GPA0, CODE | PTE_NX);
	check_trap(GVA + 5, TRAP_PF, PF_USER | PF_PRESENT | PF_RESERVED, GVA + 5);
}
END_TEST

START_TEST(smep_keeps_the_kernel_off_user_pages)
{
	put(GVA, "\x90", 1);
	guest_set_cpl(&guest, 0);
	check_length(GVA, 1);
	guest.cs.cr4 |= CR4_SMEP;
	check_trap(GVA, TRAP_PF, PF_FETCH | PF_PRESENT, GVA);
	guest_map(&guest, GVA, GPA0, PTE_P);
	check_length(GVA, 1);
}
END_TEST

START_TEST(rip_has_to_be_canonical)
{
	check_trap(0x0000800000000000ull, TRAP_GP, 0, 0);
	check_trap(0xffff7fffffffffffull, TRAP_GP, 0, 0);
	guest_map(&guest, 0x00007ffffffff000ull, GPA0, CODE);
	*guest_ram(&guest, GPA0 + 0xfff) = 0x90;
	check_length(0x00007fffffffffffull, 1);
	*guest_ram(&guest, GPA0 + 0xfff) = 0x48;
	check_trap(0x00007fffffffffffull, TRAP_GP, 0, 0);
}
END_TEST

START_TEST(at_most_fifteen_bytes)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3};

	for (unsigned int i = 0; i < sizeof(prefixes); i++)
		for (unsigned int count = 0; count <= 20; count++)
			for (unsigned int before = 0; before <= 16; before += 4) {
				uint8_t bytes[21];

				memset(bytes, prefixes[i], count);
				bytes[count] = 0x50; /* push rax */
				put(BORDER - before, bytes, count + 1);
				if (count <= 14)
					check_length(BORDER - before, count + 1);
				else
					check_trap(BORDER - before, TRAP_GP, 0, 0);
			}
}
END_TEST

START_TEST(what_is_no_instruction)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{"\x06", 1}, {"\x62\x00\x00\x00\x00\x00", 6}, {"\x9a", 1}, {"\xd6", 1}, {"\x0f\x04", 2},
		{"\xf0\x90", 2}, {"\xf0\x8b\x00", 3}, {"\xf0\x01\xc0", 3}, {"\xff\xff", 2}, {"\xc6\x08\x00", 3},
		{"\x0f\xc7\x08\xc8", 4},
	};

	for (unsigned int i = 0; i < 10; i++) {
		put(GVA, bad[i].bytes, bad[i].size);
		check_trap(GVA, TRAP_UD, 0, 0);
	}
	/* The last is CMPXCHG8B. */
	put(GVA, bad[10].bytes, bad[10].size);
	check_length(GVA, 3);
}
END_TEST

/* On AMD's CPUs an operand-size prefix makes near branches 16-bit ones, on Intel's it does nothing. */
START_TEST(branches_are_amds)
{
	put(GVA, "\x66\xe8\x01\x02\x03\x04", 6);
	check_length(GVA, 4);
	put(GVA, "\xe8\x01\x02\x03\x04", 5);
	check_length(GVA, 5);
}
END_TEST

START_TEST(only_64_bit_code_in_ram)
{
	struct insn in;
	struct trap trap;

	put(GVA, "\x90", 1);
	guest.cs.segment[CPU_CS].attributes &= (uint16_t)~(1u << 9);
	ck_assert_int_eq(fetch(GVA, &in, &trap), INSN_UNKNOWN);
	guest.cs.segment[CPU_CS].attributes |= 1u << 9;
	ck_assert_int_eq(fetch(GVA, &in, &trap), INSN_DONE);
	guest.cs.efer &= ~EFER_LMA;
	ck_assert_int_eq(fetch(GVA, &in, &trap), INSN_UNKNOWN);
	guest.cs.efer |= EFER_LMA;
	guest_map(&guest, GVA, GUEST_DEVICE, CODE);
	ck_assert_int_eq(fetch(GVA, &in, &trap), INSN_UNKNOWN);
	ck_assert_uint_eq(guest.accesses, 0);
}
END_TEST

START_TEST(a_fetch_marks_what_it_reads)
{
	put(BORDER - 3, ten, sizeof(ten));
	guest_forget(&guest);
	check_length(BORDER - 3, sizeof(ten));
	ck_assert_uint_eq(*guest_entry(&guest, GVA, 1), GPA0 | CODE | PTE_A);
	ck_assert_uint_eq(*guest_entry(&guest, BORDER, 1), GPA1 | CODE | PTE_A);
	guest_forget(&guest);
	put(GVA, ten, sizeof(ten));
	check_length(GVA, sizeof(ten));
	ck_assert_uint_eq(*guest_entry(&guest, GVA, 1), GPA0 | CODE | PTE_A);
	ck_assert_uint_eq(*guest_entry(&guest, BORDER, 1), GPA1 | CODE);
	ck_assert_uint_eq(guest.stores, 0);
}
END_TEST

/* Names of general registers, in the order of their numbers. */
static const char *const stem[CPU_GPR_COUNT] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
						"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

/* Finds out from a register's name alone which bits of which register it is. Returns its size in bytes, 0 if none. */
static unsigned int parse(const char *name, unsigned int *number, unsigned int *shift)
{
	static const char *const low[] = {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};
	static const char *const high[] = {"ah", "ch", "dh", "bh"};

	*shift = 0;
	for (*number = 0; *number < CPU_GPR_COUNT; ++*number) {
		char text[3][8];

		snprintf(text[0], sizeof(text[0]), *number < 8 ? "r%s" : "%s", stem[*number]);
		snprintf(text[1], sizeof(text[1]), *number < 8 ? "e%s" : "%sd", stem[*number]);
		snprintf(text[2], sizeof(text[2]), *number < 8 ? "%s" : "%sw", stem[*number]);
		for (unsigned int i = 0; i < 3; i++)
			if (!strcmp(name, text[i]))
				return 8u >> i;
		snprintf(text[0], sizeof(text[0]), *number < 8 ? "-" : "%sb", stem[*number]);
		if (!strcmp(name, text[0]) || (*number < 8 && !strcmp(name, low[*number])))
			return 1;
		if (*number < 4 && !strcmp(name, high[*number])) {
			*shift = 8;
			return 1;
		}
	}
	return 0;
}

START_TEST(every_register_by_its_name)
{
	struct random r = random_start("every_register_by_its_name");
	unsigned int registers = 0;

	for (int reg = ZYDIS_REGISTER_NONE + 1; reg <= ZYDIS_REGISTER_MAX_VALUE; reg++) {
		unsigned int number, shift, size = parse(ZydisRegisterGetString((ZydisRegister)reg), &number, &shift);
		uint64_t before[CPU_GPR_COUNT], value = random_next(&r), mask = size == 8 ? ~0ull : (1ull << 8 * size) - 1;

		if (!size)
			continue;
		registers++;
		for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
			before[i] = guest.cs.gpr[i] = random_next(&r);
		ck_assert_uint_eq(insn_read_reg(&guest.cs, (ZydisRegister)reg), before[number] >> shift & mask);
		insn_write_reg(&guest.cs, (ZydisRegister)reg, value);
		before[number] = size == 4 ? value & mask : (before[number] & ~(mask << shift)) | (value & mask) << shift;
		ck_assert_int_eq(memcmp(before, guest.cs.gpr, sizeof(before)), 0);
	}
	ck_assert_uint_eq(registers, 4 * 16 + 4);
}
END_TEST

START_TEST(advance_ends_what_lasts_one_instruction)
{
	struct insn in;
	struct trap trap;

	put(GVA, ten, sizeof(ten));
	fetch(GVA, &in, &trap);
	guest.cs.rflags |= RFLAGS_RF | RFLAGS_TF | RFLAGS_CF;
	guest.cs.interrupt_shadow = true;
	insn_advance(&guest.cs, &in);
	ck_assert_uint_eq(guest.cs.rip, GVA + sizeof(ten));
	ck_assert_uint_eq(guest.cs.rflags, RFLAGS_ONE | RFLAGS_IF | RFLAGS_TF | RFLAGS_CF);
	ck_assert(!guest.cs.interrupt_shadow);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_insn");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, decodes_at_every_offset_from_a_border);
	tcase_add_test(tcase, the_second_page_counts_only_if_reached);
	tcase_add_test(tcase, faults_of_the_first_page);
	tcase_add_test(tcase, smep_keeps_the_kernel_off_user_pages);
	tcase_add_test(tcase, rip_has_to_be_canonical);
	tcase_add_test(tcase, at_most_fifteen_bytes);
	tcase_add_test(tcase, what_is_no_instruction);
	tcase_add_test(tcase, branches_are_amds);
	tcase_add_test(tcase, only_64_bit_code_in_ram);
	tcase_add_test(tcase, a_fetch_marks_what_it_reads);
	tcase_add_test(tcase, every_register_by_its_name);
	tcase_add_test(tcase, advance_ends_what_lasts_one_instruction);
	return run_case("shadow_insn", tcase);
}
