/*
 * Emulated instructions against the real CPU: each sample runs natively in this process, on pages at the addresses that the
 * guest's tables map too, and emulated. Registers, flags that are defined, memory, RIP and the exception have to agree,
 * and A and D have to be those of what was touched.
 */
#include "shadow/insn_memory.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shadow/rflags.h"
#include "tests/unit/cpu_flag.h"
#include "tests/unit/shadow_guest.h"
#include "tests/unit/shadow_native.h"
#include "tests/unit/shadow_sample.h"
#include "tests/vm/suite.h"
#include "vmm/ensure.h"
#include "vmm/mmu.h"

#define SAMPLES 1200u /* of each form */
#define TRIES 1000u   /* to make one that can be run here */
#define OPEN (PTE_P | PTE_W | PTE_U)
#define INT3 0xccu
#define CACHE_LINE 64u
#define SPLIT_LOCKS 50u /* one in so many is taken where they are slow */
#define COMPARED (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_DF | RFLAGS_OF | RFLAGS_AC)
#define WINDOW_BYTES (SAMPLE_WINDOW_PAGES * PAGE_SIZE)

/* Window pages lie apart and not in order in the guest's RAM. */
static const uint64_t window_gpa[SAMPLE_WINDOW_PAGES] = {0x280000, 0x200000, 0x243000};
static const uint64_t code_gpa[SAMPLE_CODE_PAGES] = {0x301000, 0x300000};

enum protection { OPEN_PAGE, READ_ONLY_PAGE, NO_PAGE };

struct bench {
	struct guest guest;
	uint8_t *window, *code; /* native */
	enum protection protection[SAMPLE_WINDOW_PAGES];
	bool any_stack;
	bool slow_split_locks; /* Linux has them trap, and the process wait */
	unsigned int done, trapped; /* samples so far */
};

static struct bench bench;

static uint8_t *map_native(uint64_t at, uint64_t size, int protection)
{
	void *p = mmap((void *)(uintptr_t)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ensure(p == (void *)(uintptr_t)at);
	return p;
}

static void protect(struct bench *b, unsigned int page, enum protection p)
{
	static const int native[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
	static const uint64_t flags[] = {OPEN | PTE_NX, PTE_P | PTE_U | PTE_NX, PTE_W | PTE_U};

	if (b->protection[page] != p)
		ensure(mprotect(b->window + page * PAGE_SIZE, PAGE_SIZE, native[p]) == 0);
	b->protection[page] = p;
	*guest_entry(&b->guest, SAMPLE_WINDOW + page * PAGE_SIZE, 1) = window_gpa[page] | flags[p];
}

static bool is_canonical(uint64_t gva)
{
	return (uint64_t)((int64_t)(gva << 16) >> 16) == gva;
}

/* Whether code runs here whose RSP is not canonical. A CPU does that; below some hypervisors it cannot begin, nor end by INT3. */
static bool takes_any_stack(void)
{
	struct native n = {.gpr[CPU_RSP] = 1ull << 63, .rip = SAMPLE_CODE, .rflags = RFLAGS_ONE | RFLAGS_IF};

	native_run(&n);
	return n.vector < 0;
}

static void bench_create(struct bench *b, struct random *r)
{
	guest_create(&b->guest);
	b->window = map_native(SAMPLE_WINDOW, WINDOW_BYTES, PROT_READ | PROT_WRITE);
	b->code = map_native(SAMPLE_CODE, SAMPLE_CODE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	memset(b->code, INT3, SAMPLE_CODE_PAGES * PAGE_SIZE);
	for (unsigned int i = 0; i < SAMPLE_CODE_PAGES; i++) {
		guest_map(&b->guest, SAMPLE_CODE + i * PAGE_SIZE, code_gpa[i], PTE_P | PTE_U);
		memset(guest_ram(&b->guest, code_gpa[i]), INT3, PAGE_SIZE);
	}
	for (unsigned int i = 0; i < WINDOW_BYTES; i++)
		b->window[i] = (uint8_t)random_next(r);
	for (unsigned int i = 0; i < SAMPLE_WINDOW_PAGES; i++) {
		guest_map(&b->guest, SAMPLE_WINDOW + i * PAGE_SIZE, window_gpa[i], OPEN | PTE_NX);
		memcpy(guest_ram(&b->guest, window_gpa[i]), b->window + i * PAGE_SIZE, PAGE_SIZE);
	}
	b->guest.cs.cr0 |= 1ull << 18; /* AM, as under Linux */
	b->guest.cs.segment[CPU_FS].base = native_fs_base();
	b->guest.cs.segment[CPU_GS].base = SAMPLE_GS_BASE;
	native_set_gs_base(SAMPLE_GS_BASE);
	b->any_stack = takes_any_stack();
	b->slow_split_locks = cpu_has_flag("bus_lock_detect");
}

static void poke_byte(struct bench *b, uint64_t at, uint8_t byte)
{
	unsigned int page = (unsigned int)(at / PAGE_SIZE);
	enum protection before = b->protection[page];

	if (before == NO_PAGE)
		return;
	protect(b, page, OPEN_PAGE);
	b->window[at] = byte;
	*guest_ram(&b->guest, window_gpa[page] + at % PAGE_SIZE) = byte;
	protect(b, page, before);
}

/* Both worlds; bytes that the instruction cannot reach either are left out. */
static void poke(struct bench *b, uint64_t gva, const uint8_t *bytes, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		if (gva + i - SAMPLE_WINDOW < WINDOW_BYTES)
			poke_byte(b, gva + i - SAMPLE_WINDOW, bytes[i]);
}

static void put_code(struct bench *b, uint64_t gva, const uint8_t *bytes, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++) {
		uint64_t at = gva + i - SAMPLE_CODE;

		b->code[at] = bytes[i];
		*guest_ram(&b->guest, code_gpa[at / PAGE_SIZE] + at % PAGE_SIZE) = bytes[i];
	}
}

/* What the emulation made of it. */
struct outcome {
	enum insn_result result;
	struct trap trap;
};

/* Runs all of a REP, in slices of random length. */
static struct outcome emulate(struct bench *b, uint8_t (*xmm)[16], struct random *r)
{
	struct cpu_state *cs = &b->guest.cs;
	uint64_t rip = cs->rip;
	struct outcome o;
	struct insn in;

	do {
		o.result = insn_fetch(&b->guest.gmem, &in, &o.trap);
		if (o.result == INSN_DONE)
			o.result = insn_execute_memory(&b->guest.gmem, &in, xmm, 1 + (uint32_t)random_below(r, 50), &o.trap);
	} while (o.result == INSN_DONE && cs->rip == rip);
	return o;
}

static void disagree(const struct sample *s, const struct native *n, const struct cpu_state *cs,
		     const struct outcome *o, const char *what)
{
	sample_print(s);
	printf("  %s differs: result %d\n", what, o->result);
	printf("  native   vector %d error %#x cr2 %#" PRIx64 " rip %#" PRIx64 " rflags %#" PRIx64 "\n", n->vector, n->error,
	       n->cr2, n->rip, n->rflags);
	printf("  emulated vector %d error %#x cr2 %#" PRIx64 " rip %#" PRIx64 " rflags %#" PRIx64 "\n",
	       o->result == INSN_TRAP ? o->trap.vector : -1, o->trap.error, o->trap.cr2, cs->rip, cs->rflags);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		if (n->gpr[i] != cs->gpr[i])
			printf("  gpr %u: native %#" PRIx64 " emulated %#" PRIx64 "\n", i, n->gpr[i], cs->gpr[i]);
	fflush(stdout);
	ck_abort_msg("%s: %s differs", s->form->name, what);
}

static bool same_trap(const struct native *n, const struct outcome *o)
{
	if (n->vector < 0)
		return o->result == INSN_DONE;
	if (o->result != INSN_TRAP || o->trap.vector != n->vector || o->trap.error != n->error)
		return false;
	return n->vector != TRAP_PF || o->trap.cr2 == n->cr2;
}

/*
 * With 32-bit addresses a REP that has nothing to do, or faults at once, may clear the upper halves of the registers it counts with: Intel's
 * processors with fast short REP do, and AMD's do not.
 */
static bool same_registers(const struct sample *s, const struct native *n, const struct cpu_state *cs)
{
	bool short_rep = sample_is_string(s) && sample_has_prefix(s, 0x67) && (sample_has_prefix(s, 0xf2) || sample_has_prefix(s, 0xf3));

	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++) {
		bool counts = i == CPU_RCX || i == CPU_RSI || i == CPU_RDI;

		if (n->gpr[i] != cs->gpr[i] && !(counts && short_rep && cs->gpr[i] == s->gpr[i] && n->gpr[i] == (uint32_t)s->gpr[i]))
			return false;
	}
	return true;
}

/* Pages that may not be read keep what they had: nothing could have written them. */
static bool same_memory(struct bench *b)
{
	for (unsigned int i = 0; i < SAMPLE_WINDOW_PAGES; i++)
		if (b->protection[i] != NO_PAGE &&
		    memcmp(b->window + i * PAGE_SIZE, guest_ram(&b->guest, window_gpa[i]), PAGE_SIZE))
			return false;
	return true;
}

/*
 * A CALL that leads to no canonical address: Intel's processors have pushed where it would have come back to, AMD's have not. From here on both
 * worlds have what this one did. False: one of them has something else there.
 */
static bool agree_on_pushed(struct bench *b, const struct sample *s)
{
	uint64_t back = s->rip + s->length;

	for (unsigned int i = 0; i < sizeof(back); i++) {
		uint64_t at = s->gpr[CPU_RSP] - sizeof(back) + i - SAMPLE_WINDOW;
		uint8_t pushed = (uint8_t)(back >> 8 * i), *emulated;

		if (at >= WINDOW_BYTES || b->protection[at / PAGE_SIZE] == NO_PAGE)
			continue;
		emulated = guest_ram(&b->guest, window_gpa[at / PAGE_SIZE] + at % PAGE_SIZE);
		if (b->window[at] != *emulated && b->window[at] != pushed && *emulated != pushed)
			return false;
		*emulated = b->window[at];
	}
	return true;
}

static bool is_call(const struct sample *s)
{
	return s->form->kind == KIND_CALL || s->form->kind == KIND_CALL_RELATIVE;
}

/* A and D of window pages: exactly those of the operand, which strings and the stack are not. */
static bool marked_right(struct bench *b, const struct sample *s, bool done)
{
	for (unsigned int i = 0; i < SAMPLE_WINDOW_PAGES; i++) {
		uint64_t page = SAMPLE_WINDOW + i * PAGE_SIZE;
		uint64_t marks = *guest_entry(&b->guest, page, 1) & (PTE_A | PTE_D), expected = 0;

		if (done && s->memory && s->target < page + PAGE_SIZE && s->target + s->size > page)
			expected = s->form->writes ? PTE_A | PTE_D : PTE_A;
		if (marks != expected)
			return false;
	}
	return true;
}

static bool marks_known(const struct sample *s)
{
	switch (s->form->kind) {
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_CALL_RELATIVE:
	case KIND_STOS:
	case KIND_LODS:
	case KIND_MOVS:
		return false;
	default:
		return true;
	}
}

static void clear_marks(struct bench *b)
{
	for (unsigned int i = 0; i < SAMPLE_WINDOW_PAGES; i++)
		*guest_entry(&b->guest, SAMPLE_WINDOW + i * PAGE_SIZE, 1) &= ~(PTE_A | PTE_D);
}

static void check_sample(struct bench *b, const struct sample *s, struct random *r)
{
	static const uint8_t blank[sizeof(s->bytes)] = {INT3, INT3, INT3, INT3, INT3, INT3, INT3, INT3,
							INT3, INT3, INT3, INT3, INT3, INT3, INT3};
	struct cpu_state *cs = &b->guest.cs;
	struct native n = {.rip = s->rip, .rflags = s->rflags};
	uint32_t flags = COMPARED & ~s->undefined;
	uint8_t xmm[16][16];
	struct outcome o;

	memcpy(n.gpr, s->gpr, sizeof(n.gpr));
	memcpy(cs->gpr, s->gpr, sizeof(cs->gpr));
	cs->rip = s->rip;
	cs->rflags = s->rflags;
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int j = 0; j < 16; j++)
			n.xmm[i][j] = xmm[i][j] = (uint8_t)random_next(r);
	put_code(b, s->rip, s->bytes, s->length);
	clear_marks(b);
	native_run(&n);
	o = emulate(b, xmm, r);
	put_code(b, s->rip, blank, s->length);
	if (!b->any_stack && o.result == INSN_DONE && !is_canonical(cs->gpr[CPU_RSP]))
		n.vector = -1;
	if (!same_trap(&n, &o))
		disagree(s, &n, cs, &o, "exception");
	if (!same_registers(s, &n, cs))
		disagree(s, &n, cs, &o, "register");
	if (n.rip != cs->rip)
		disagree(s, &n, cs, &o, "RIP");
	if ((n.rflags ^ cs->rflags) & (n.vector < 0 ? flags : COMPARED))
		disagree(s, &n, cs, &o, "flag");
	if (memcmp(n.xmm, xmm, sizeof(xmm)))
		disagree(s, &n, cs, &o, "XMM register");
	if (is_call(s) && n.vector == TRAP_GP && !agree_on_pushed(b, s))
		disagree(s, &n, cs, &o, "what is pushed");
	if (!same_memory(b))
		disagree(s, &n, cs, &o, "memory");
	if (marks_known(s) && !marked_right(b, s, o.result == INSN_DONE))
		disagree(s, &n, cs, &o, "what is marked accessed or dirty");
	b->done += o.result == INSN_DONE;
	b->trapped += o.result == INSN_TRAP;
}

static bool splits_lock(const struct sample *s)
{
	bool locks = sample_has_prefix(s, 0xf0) || !strncmp(s->form->name, "xchg", 4);

	return locks && s->memory && s->target % CACHE_LINE + s->size > CACHE_LINE;
}

/* A sample that can be run here; false: none was found. */
static bool make_runnable(const struct bench *b, struct sample *s, const struct sample_form *f, enum sample_range range, struct random *r)
{
	for (unsigned int tries = 0; tries < TRIES; tries++) {
		sample_make(s, f, range, r);
		if (b->slow_split_locks && splits_lock(s) && random_below(r, SPLIT_LOCKS))
			continue;
		if (b->any_stack || is_canonical(s->gpr[CPU_RSP]))
			return true;
	}
	return false;
}

/* rflags: to be added to the random ones. */
static void check_form(struct bench *b, const struct sample_form *f, enum sample_range range, uint64_t rflags,
		       unsigned int samples, struct random *r)
{
	struct sample s = {.fs_base = native_fs_base()};

	for (unsigned int n = 0; n < samples; n++) {
		if (!make_runnable(b, &s, f, range, r))
			continue;
		s.rflags |= rflags;
		poke(b, s.target, s.poke, s.poke_size);
		check_sample(b, &s, r);
	}
}

START_TEST(agrees_with_the_cpu)
{
	struct random r = random_start("agrees_with_the_cpu");

	bench_create(&bench, &r);
	for (size_t i = 0; i < sample_form_count; i++)
		check_form(&bench, &sample_forms[i], RANGE_WINDOW, 0, SAMPLES, &r);
	ck_assert_uint_eq(bench.trapped, 0);
}
END_TEST

static void protect_at_random(struct bench *b, struct random *r)
{
	for (unsigned int i = 0; i < SAMPLE_WINDOW_PAGES; i++)
		protect(b, i, (enum protection)random_below(r, 3));
}

/* Samples that never trap, or always do, show nothing. */
static void check_balance(const struct bench *b)
{
	ck_assert_uint_gt(b->done, (b->done + b->trapped) / 50);
	ck_assert_uint_gt(b->trapped, (b->done + b->trapped) / 50);
}

/* Operands on pages that are read-only or not there, and across their borders. */
START_TEST(faults_as_the_cpu_does)
{
	struct random r = random_start("faults_as_the_cpu_does");

	bench_create(&bench, &r);
	for (unsigned int round = 0; round < 12; round++) {
		protect_at_random(&bench, &r);
		for (size_t i = 0; i < sample_form_count; i++)
			check_form(&bench, &sample_forms[i], RANGE_AROUND, 0, SAMPLES / 20, &r);
	}
	check_balance(&bench);
}
END_TEST

START_TEST(checks_alignment_as_the_cpu_does)
{
	struct random r = random_start("checks_alignment_as_the_cpu_does");

	bench_create(&bench, &r);
	for (unsigned int round = 0; round < 12; round++) {
		protect_at_random(&bench, &r);
		for (size_t i = 0; i < sample_form_count; i++)
			check_form(&bench, &sample_forms[i], RANGE_AROUND, RFLAGS_AC, SAMPLES / 20, &r);
	}
	check_balance(&bench);
}
END_TEST

/* Stack and other operands that are not canonical, in part or as a whole. */
START_TEST(traps_as_the_cpu_does)
{
	struct random r = random_start("traps_as_the_cpu_does");

	bench_create(&bench, &r);
	for (size_t i = 0; i < sample_form_count; i++)
		check_form(&bench, &sample_forms[i], RANGE_WILD, 0, SAMPLES / 10, &r);
	check_balance(&bench);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_insn_memory");

	native_start();
	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, agrees_with_the_cpu);
	tcase_add_test(tcase, faults_as_the_cpu_does);
	/* Other makers' CPUs check unaligned moves of 16 bytes less strictly than our model. */
	if (__builtin_cpu_is("amd"))
		tcase_add_test(tcase, checks_alignment_as_the_cpu_does);
	tcase_add_test(tcase, traps_as_the_cpu_does);
	return run_case("shadow_insn_memory", tcase);
}
