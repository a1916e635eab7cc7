/*
 * Any bytes as an instruction, any registers, pages of every kind: the emulation comes back with one of its results, and
 * what it says it left alone is as before. Half of the inputs are good instructions with a few bits turned over.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/insn_memory.h"
#include "shadow/rflags.h"
#include "tests/unit/shadow_guest.h"
#include "tests/unit/shadow_sample.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define ROUNDS 60000u
#define WINDOW_GPA 0x200000ull
#define CODE_GPA 0x300000ull
#define REP (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)

static struct guest guest;

struct input {
	struct sample sample;
	bool with_xmm;
	uint32_t iterations;
};

static void random_pages(struct random *r)
{
	for (uint64_t i = 0; i < SAMPLE_WINDOW_PAGES; i++) {
		uint64_t flags = (random_below(r, 8) ? PTE_P : 0) | (random_below(r, 4) ? PTE_W : 0) |
				 (random_below(r, 8) ? PTE_U : 0);
		uint64_t gpa = random_below(r, 4) ? WINDOW_GPA : GUEST_DEVICE;

		guest_map(&guest, SAMPLE_WINDOW + i * PAGE_SIZE, gpa + i * PAGE_SIZE, flags);
	}
	guest_set_cpl(&guest, random_below(r, 2) ? 3 : 0);
	guest.cs.cr0 ^= random_next(r) & (CR0_WP | 1ull << 2 | 1ull << 3 | 1ull << 18); /* EM, TS, AM */
	guest.cs.cr4 ^= random_next(r) & CR4_OSFXSR;
}

static void random_input(struct input *in, struct random *r)
{
	struct sample *s = &in->sample;
	unsigned int flips = (unsigned int)random_below(r, 6);

	s->fs_base = random_next(r);
	sample_make(s, &sample_forms[random_below(r, sample_form_count)],
		    random_below(r, 4) ? RANGE_AROUND : RANGE_WILD, r);
	in->with_xmm = random_below(r, 4);
	in->iterations = 1 + (uint32_t)random_below(r, 30);
	for (unsigned int i = 0; i < flips; i++)
		s->bytes[random_below(r, sizeof(s->bytes))] ^= (uint8_t)(1u << random_below(r, 8));
	if (random_below(r, 2))
		return;
	for (unsigned int i = 0; i < sizeof(s->bytes); i++)
		s->bytes[i] = (uint8_t)random_next(r);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		if (random_below(r, 3))
			s->gpr[i] = SAMPLE_WINDOW + random_below(r, SAMPLE_WINDOW_PAGES * PAGE_SIZE);
}

static void load(const struct input *in)
{
	const struct sample *s = &in->sample;

	memcpy(guest.cs.gpr, s->gpr, sizeof(guest.cs.gpr));
	guest.cs.rip = s->rip;
	guest.cs.rflags = s->rflags;
	guest.cs.segment[CPU_FS].base = s->fs_base;
	guest.cs.segment[CPU_GS].base = SAMPLE_GS_BASE;
	memcpy(guest_ram(&guest, CODE_GPA + (s->rip - SAMPLE_CODE)), s->bytes, sizeof(s->bytes));
	guest.accesses = 0;
	guest.stores = 0;
}

/* How often each result came. */
struct tally {
	unsigned int of[INSN_ENDED + 1], bad_fetches;
};

static void check_input(const struct input *in, struct tally *t)
{
	static uint8_t memory[SAMPLE_WINDOW_PAGES * PAGE_SIZE];
	uint8_t xmm[16][16] = {{0}}, no_xmm[16][16] = {{0}};
	struct cpu_state before;
	enum insn_result r;
	struct insn decoded;
	struct trap trap = {0};

	load(in);
	before = guest.cs;
	memcpy(memory, guest_ram(&guest, WINDOW_GPA), sizeof(memory));
	r = insn_fetch(&guest.gmem, &decoded, &trap);
	if (r != INSN_DONE) {
		ck_assert_int_eq(memcmp(&before, &guest.cs, sizeof(before)), 0);
		t->bad_fetches++;
		return;
	}
	r = insn_execute_memory(&guest.gmem, &decoded, in->with_xmm ? xmm : NULL, in->iterations, &trap);
	ck_assert_int_le(r, INSN_ENDED);
	t->of[r]++;
	if (r == INSN_DONE || (r == INSN_TRAP && (decoded.info.attributes & REP)))
		return;
	ck_assert_int_eq(memcmp(&before, &guest.cs, sizeof(before)), 0);
	ck_assert_int_eq(memcmp(memory, guest_ram(&guest, WINDOW_GPA), sizeof(memory)), 0);
	ck_assert_int_eq(memcmp(xmm, no_xmm, sizeof(xmm)), 0);
	ck_assert_uint_eq(guest.stores, 0);
	/* Only a call learns after it has read where it would lead that it must not. */
	if (decoded.info.mnemonic != ZYDIS_MNEMONIC_CALL)
		ck_assert_uint_eq(guest.accesses, 0);
}

START_TEST(anything_goes)
{
	struct random r = random_start("anything_goes");
	struct tally tally = {0};

	guest_create(&guest);
	guest_map(&guest, SAMPLE_CODE, CODE_GPA, PTE_P | PTE_U);
	guest_map(&guest, SAMPLE_CODE + PAGE_SIZE, CODE_GPA + PAGE_SIZE, PTE_P | PTE_U);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct input in = {.iterations = 1};

		if (i % 64 == 0)
			random_pages(&r);
		random_input(&in, &r);
		check_input(&in, &tally);
	}
	ck_assert_uint_gt(tally.of[INSN_DONE], ROUNDS / 50);
	ck_assert_uint_gt(tally.of[INSN_TRAP], ROUNDS / 50);
	ck_assert_uint_gt(tally.of[INSN_UNKNOWN], ROUNDS / 50);
	ck_assert_uint_gt(tally.bad_fetches, ROUNDS / 50);
	guest_destroy(&guest);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {anything_goes};

	return RUN_TESTS("shadow_insn_random", tests);
}
