/*
 * Delivery of events and privileged instructions, as shadow/ works them out, against the CPU: the same random scenario is
 * run by KVM and by the model, and registers, segments and all of RAM have to come out the same. CASES=n runs so many,
 * CASE=n one of a SEED's.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "shadow/gmem.h"
#include "shadow/rflags.h"
#include "tests/vm/differences.h"
#include "tests/vm/effort.h"
#include "tests/vm/model.h"
#include "tests/vm/oracle.h"
#include "tests/vm/scenario_insn.h"
#include "tests/vm/suite.h"
#include "vmm/ensure.h"
#include "vmm/vcpu_state.h"
#include "vmm/walk.h"

#define CASES effort(2000, 1000)
#define TRIES 3
#define SHOWN 20u
#define SEGMENT_G 0x800u
#define DR6_WRITABLE 0xe00full
#define DR7_WRITABLE 0xffff2bffull

/* One comparison; what differs is described in text. */
struct comparison {
	unsigned int out;
	const struct scenario *s;
	const struct outcome *model, *real;
	char text[1024];
};

static void differs(struct comparison *c, const char *what, uint64_t model, uint64_t real)
{
	size_t used = strlen(c->text);

	if (model != real)
		snprintf(c->text + used, sizeof(c->text) - used, "  %s: %" PRIx64 ", CPU %" PRIx64 "\n", what, model, real);
}

static void compare_segment(struct comparison *c, unsigned int i)
{
	static const char *const names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
	const struct cpu_segment *m = &c->model->cs.segment[i], *r = &c->real->cs.segment[i];
	bool present = m->attributes & CPU_SEGMENT_PRESENT;
	char what[32];

	if (i != CPU_CS && i < CPU_LDTR && (c->out & OUT_INNER_SEGMENTS) && (c->s->tags & TAG_FRAME))
		return;
	if (i == CPU_TR && (c->out & OUT_TR) && (c->s->tags & TAG_SYSTEM))
		return;
	if (i == CPU_SS && (c->out & OUT_SS_OF_IST) && r->selector < 4)
		return;
	snprintf(what, sizeof(what), "%s.selector", names[i]);
	differs(c, what, m->selector, r->selector);
	snprintf(what, sizeof(what), "%s.attributes", names[i]);
	/* KVM derives G from the limit. Of a segment that is not there only the base of FS and GS means anything. */
	if (present || i == CPU_CS)
		differs(c, what, m->attributes & ~SEGMENT_G, r->attributes & ~SEGMENT_G);
	else if (!(c->out & OUT_NULL_SEGMENT))
		differs(c, what, 0, r->attributes & CPU_SEGMENT_PRESENT);
	snprintf(what, sizeof(what), "%s.limit", names[i]);
	if (present)
		differs(c, what, m->limit, r->limit);
	snprintf(what, sizeof(what), "%s.base", names[i]);
	if (present || i == CPU_FS || i == CPU_GS)
		differs(c, what, m->base, r->base);
}

static void compare_registers(struct comparison *c)
{
	const struct cpu_state *m = &c->model->cs, *r = &c->real->cs;
	uint64_t flags = c->out & OUT_VIF_VIP ? ~(RFLAGS_VIF | RFLAGS_VIP) : ~0ull;
	uint64_t cr2 = c->out & OUT_CR2_OFFSET && c->s->tags & (TAG_FRAME | TAG_SEGMENT) ? ~0xfffull : ~0ull;
	uint64_t dr6 = c->out & OUT_RESERVED_DR ? DR6_WRITABLE : ~0ull, dr7 = c->out & OUT_RESERVED_DR ? DR7_WRITABLE : ~0ull;
	char what[16];

	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++) {
		snprintf(what, sizeof(what), "gpr%u", i);
		differs(c, what, m->gpr[i], r->gpr[i]);
	}
	differs(c, "rip", m->rip, r->rip);
	differs(c, "rflags", m->rflags & flags, r->rflags & flags);
	differs(c, "cpl", gmem_cpl(m), gmem_cpl(r));
	for (unsigned int i = 0; i < CPU_SEGMENT_COUNT; i++)
		compare_segment(c, i);
	differs(c, "gdt.base", m->gdt.base, r->gdt.base);
	differs(c, "gdt.limit", m->gdt.limit, r->gdt.limit);
	differs(c, "idt.base", m->idt.base, r->idt.base);
	differs(c, "idt.limit", m->idt.limit, r->idt.limit);
	differs(c, "cr0", m->cr0, r->cr0);
	differs(c, "cr2", m->cr2 & cr2, r->cr2 & cr2);
	differs(c, "cr3", m->cr3, r->cr3);
	differs(c, "cr4", m->cr4, r->cr4);
	differs(c, "cr8", m->cr8, r->cr8);
	differs(c, "efer", m->efer, r->efer);
	differs(c, "dr6", m->dr6 & dr6, r->dr6 & dr6);
	differs(c, "dr7", m->dr7 & dr7, r->dr7 & dr7);
	for (unsigned int i = 0; i < 4; i++)
		differs(c, "dr", m->dr[i], r->dr[i]);
	for (unsigned int i = 0; i < CPU_MSR_COUNT; i++) {
		snprintf(what, sizeof(what), "msr%u", i);
		if (i != CPU_MSR_TSC)
			differs(c, what, m->msr[i], r->msr[i]);
	}
}

static void compare_accesses(struct comparison *c)
{
	differs(c, "accesses", c->model->accesses, c->real->accesses);
	for (unsigned int i = 0; i < c->model->accesses && i < c->real->accesses; i++) {
		differs(c, "access.kind", c->model->access[i].kind, c->real->access[i].kind);
		differs(c, "access.addr", c->model->access[i].addr, c->real->access[i].addr);
		differs(c, "access.size", c->model->access[i].size, c->real->access[i].size);
		differs(c, "access.value", c->model->access[i].value, c->real->access[i].value);
	}
}

/* Leaves out what an operand that faults may have left behind: marks of its page, and what was stored there. */
static uint64_t operand_mask(const struct scenario *s, uint64_t gpa)
{
	static const enum cpu_gpr pointers[] = {CPU_RBX, CPU_RSI, CPU_RDI};
	uint64_t mask = ~0ull;

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t operand = s->cs.gpr[pointers[i]];

		if (gpa == SCENARIO_TABLE + operand / 4096 * 8)
			mask &= ~(PTE_A | PTE_D);
		if (gpa - (operand & ~7ull) <= 8)
			mask = 0;
	}
	return mask;
}

/* The table's entry of a page on which the GDT lies. */
static bool maps_gdt(const struct scenario *s, uint64_t gpa)
{
	uint64_t first = s->cs.gdt.base / 4096, last = (s->cs.gdt.base + SCENARIO_SELECTORS * 8 - 1) / 4096;

	return gpa == SCENARIO_TABLE + first * 8 || gpa == SCENARIO_TABLE + last * 8;
}

/* Bits of a quadword of RAM that hosts may show otherwise. */
static uint64_t mask_of(const struct comparison *c, const struct model *m, uint64_t gpa, uint64_t model)
{
	uint64_t mask = ~0ull;

	for (unsigned int i = 0; i < m->deliveries; i++) {
		const uint64_t *at = m->frame[i].gpa;

		/* RFLAGS lies third, or fourth below an error code: RF in it is as hosts please. */
		if (gpa == at[2] || gpa == at[3])
			mask &= ~(RFLAGS_RF | (c->out & OUT_VIF_VIP ? RFLAGS_VIF | RFLAGS_VIP : 0));
		if (gpa == at[0] && (c->out & OUT_EXT))
			mask &= ~1ull;
		if (gpa == at[0] && (c->out & OUT_IDT_ERROR) && (model & ~0xffdull) == 2)
			mask &= ~0x1fffull;
		if ((gpa == at[4] || gpa == at[5]) && (c->out & OUT_SS_OF_IST) && i > 0)
			mask &= ~0x10ull;
	}
	if ((c->out & OUT_FIRST_PAGE) && m->faults)
		mask &= operand_mask(c->s, gpa);
	if ((c->out & OUT_GDT_MARK) && m->faults && c->s->tags & TAG_SYSTEM && maps_gdt(c->s, gpa))
		mask &= ~PTE_A;
	/* A frame that was begun and given up for another event. */
	for (unsigned int i = 0; m->nested && i < m->stores; i++)
		if (gpa == m->store[i])
			mask &= ~RFLAGS_RF;
	return mask;
}

static void compare_ram(struct comparison *c, struct model *m, struct oracle *o)
{
	const uint8_t *a = model_ram(m), *b = oracle_ram(o);
	uint64_t x, y;
	char what[32];

	if (!memcmp(a, b, SCENARIO_RAM))
		return;
	for (uint64_t gpa = 0; gpa < SCENARIO_RAM; gpa += 8) {
		memcpy(&x, a + gpa, 8);
		memcpy(&y, b + gpa, 8);
		snprintf(what, sizeof(what), "[%" PRIx64 "]", gpa);
		differs(c, what, x & mask_of(c, m, gpa, x), y & mask_of(c, m, gpa, x));
	}
}

struct differential {
	const char *host;
	unsigned int out;
	struct oracle oracle;
	struct model model;
	struct scenario scenario;
	struct outcome real, worked;
	unsigned int compared, refused, skipped, left_out, wrong;
};

static bool applies(const struct differential *d, const struct difference *known)
{
	bool lab_shadow = !strcmp(d->host, "lab") && !d->oracle.nested && !strcmp(known->host, "lab npt=0");

	return !known->host[0] || !strcmp(known->host, d->host) || lab_shadow;
}

static void choose_host(struct differential *d)
{
	d->host = getenv("PENUMBRA_LAB") ? "lab" : host_mmu_detect("").module;
	for (size_t i = 0; i < difference_count; i++) {
		if (!applies(d, &differences[i]))
			continue;
		printf("left out here: %s\n", differences[i].why);
		d->scenario.avoid |= differences[i].avoid;
		d->out |= differences[i].out;
	}
}

static bool is_left_out(const struct differential *d)
{
	if ((d->model.nested && (d->out & OUT_NESTED)) || (d->model.stack_fault && (d->out & OUT_STACK_FAULT)))
		return true;
	if (d->model.nested && ((d->model.odd_gate && (d->out & OUT_ODD_GATE)) ||
				(d->model.injected && (d->out & OUT_INJECTED))))
		return true;
	if (d->model.nested && d->scenario.cs.gpr[CPU_RSP] >= SCENARIO_RAM && (d->out & OUT_STACK_FAULT))
		return true;
	if ((d->out & OUT_BITMAP_FAULT) && d->worked.cs.cr2 - SCENARIO_TSS < 0x2000)
		return true;
	if (d->model.bad_target && (d->out & OUT_TARGET))
		return true;
	for (size_t i = 0; i < difference_count; i++) {
		const struct difference *known = &differences[i];

		if (applies(d, known) && known->tags && (d->scenario.tags & known->tags) == known->tags &&
		    (!known->only_if_fault || d->model.faults))
			return true;
	}
	return false;
}

static void describe(const struct differential *d, uint64_t number, const struct comparison *c)
{
	const struct scenario *s = &d->scenario;

	printf("CASE=%" PRIu64 " %s, CPL %u, tags %x, rip %" PRIx64 " rsp %" PRIx64 " rax %" PRIx64 ": ends %d, CPU %d;%s%s\n%s", number, s->name,
	       gmem_cpl(&s->cs), s->tags, s->cs.rip, s->cs.gpr[CPU_RSP], s->cs.gpr[CPU_RAX], d->worked.end, d->real.end, d->model.trace, d->model.nested ? " nested" : "", c->text);
}

static void run_real(struct differential *d)
{
	memcpy(oracle_ram(&d->oracle), d->scenario.ram, SCENARIO_RAM);
	oracle_run(&d->oracle, &d->scenario, &d->real);
}

/* Whether the model's run says anything, and about something that this host does right. */
static bool is_worth_it(struct differential *d)
{
	if (is_left_out(d))
		d->left_out++;
	else if (d->worked.end == OUTCOME_ENDLESS || d->worked.end == OUTCOME_UNKNOWN)
		d->skipped++;
	else
		return true;
	return false;
}

static void compare(struct differential *d, uint64_t number)
{
	struct comparison c = {.out = d->out, .s = &d->scenario, .model = &d->worked, .real = &d->real};

	d->compared++;
	if ((d->out & OUT_SHUTDOWN) && d->worked.end == OUTCOME_SHUTDOWN && d->real.end == OUTCOME_ENDLESS)
		return;
	differs(&c, "end", d->worked.end, d->real.end);
	if (d->worked.end == d->real.end && d->worked.end != OUTCOME_SHUTDOWN) {
		compare_registers(&c);
		compare_accesses(&c);
		compare_ram(&c, &d->model, &d->oracle);
	}
	if (c.text[0] && d->wrong++ < SHOWN)
		describe(d, number, &c);
}

/*
 * Only who interprets refuses: ring 0; where KVM shadows page tables, stores to them, an event's frame among these. And an
 * emulated processor that was led into a state in which it cannot enter its guest (QEMU takes any value of an MSR).
 */
static bool may_refuse(const struct differential *d)
{
	return !d->oracle.nested || (in_lab() && d->refused <= d->compared / 50);
}

/* A guest that got nowhere may have been on a host that is busy. */
static void run_until_it_ends(struct differential *d)
{
	unsigned int tries = 0;

	do
		run_real(d);
	while (d->real.end == OUTCOME_ENDLESS && d->worked.end != OUTCOME_SHUTDOWN && ++tries < TRIES);
}

static void one_case(struct differential *d, uint64_t seed, uint64_t number)
{
	d->scenario.random.state = seed + number * 0x51ed2701f3a5c4c1;
	scenario_make(&d->scenario);
	memcpy(model_ram(&d->model), d->scenario.ram, SCENARIO_RAM);
	model_run(&d->model, &d->scenario, &d->worked);
	if (!is_worth_it(d))
		return;
	/* Twice: pages that are missing the second time would change what is being delivered. */
	if (d->oracle.nested)
		run_real(d);
	run_until_it_ends(d);
	if (d->real.end == OUTCOME_REFUSED)
		d->refused++;
	else
		compare(d, number);
}

/*
 * What an emulated CPU does otherwise than any manual has it, once in thousands of cases, is for the long test to find: in the
 * short one the lab's cases are the same each time.
 */
static struct random start(void)
{
	if (in_lab() && !is_long())
		setenv("SEED", "1", false);
	return random_start("differential");
}

START_TEST(the_model_does_what_the_cpu_does)
{
	static struct differential d;
	struct random r = start();
	const char *only = getenv("CASE"), *count = getenv("CASES");

	oracle_create(&d.oracle);
	model_create(&d.model, d.oracle.vm.abi_cpu);
	choose_host(&d);
	d.scenario.ram = malloc(SCENARIO_RAM);
	d.scenario.cpu = d.oracle.vm.abi_cpu;
	ensure(vcpu_get_state(&d.oracle.vm.vcpu, &d.scenario.cs) == 0);
	if (only)
		one_case(&d, r.state, strtoull(only, NULL, 0));
	for (uint64_t i = 0; !only && i < (count ? strtoull(count, NULL, 0) : CASES); i++)
		one_case(&d, r.state, i);
	printf("%u compared, %u the host refused, %u left out, %u without an end, %u wrong\n", d.compared, d.refused,
	       d.left_out, d.skipped, d.wrong);
	fflush(stdout);
	ck_assert_uint_eq(d.wrong, 0);
	ck_assert(d.refused == 0 || may_refuse(&d));
	if (!only)
		ck_assert_uint_gt(d.compared, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {the_model_does_what_the_cpu_does};

	return RUN_TESTS("differential", tests);
}
