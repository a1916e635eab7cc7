/*
 * Delivery of events and privileged instructions, as shadow/ works them out, against the CPU: the same random scenario is
 * run by KVM and by the model, and registers, segments and all of RAM have to come out the same.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "shadow/gmem.h"
#include "shadow/rflags.h"
#include "tests/vm/model.h"
#include "tests/vm/oracle.h"
#include "tests/vm/scenario.h"
#include "tests/vm/suite.h"
#include "vmm/ensure.h"
#include "vmm/vcpu_state.h"

#define CASES 4000u
#define SHOWN 20u
#define SEGMENT_G 0x800u
#define DR6_WRITABLE 0xe00full
#define DR7_WRITABLE 0xffff2bffull

/* What is left out on a host, and why. */
enum leave_out {
	OUT_EXT = 1,		/* EXT of error codes */
	OUT_SS_OF_IST = 2,	/* SS after an IST within a ring */
	OUT_NESTED = 4,		/* all, if an exception was raised in the delivery of an event */
	OUT_INNER_SEGMENTS = 8, /* what becomes of data segments that the outer ring may not have */
	OUT_RESERVED_DR = 16,	/* reserved bits of DR6 and DR7 */
	OUT_VIF_VIP = 32,
	OUT_CR2_OFFSET = 64,	/* which word of a frame was missing */
	OUT_NULL_SEGMENT = 128, /* attributes of null segments */
	OUT_IDT_ERROR = 256,	/* error codes that name a vector */
	OUT_STACK_FAULT = 512,	/* stack operands that are not canonical */
	OUT_TARGET = 1024,	/* returns to a RIP that is not canonical */
	OUT_INJECTED = 2048,	/* a fault in the delivery of an exception that KVM raises */
};

struct difference {
	const char *host; /* host_mmu's module, "lab" for the lab's emulated CPU, "" for all */
	unsigned int avoid, out;
	unsigned int tags;  /* scenarios with all of these are left out ... */
	bool only_if_fault; /* ... if an exception is delivered */
	const char *why;
};

static const struct difference differences[] = {
	{"", 0, 0, TAG_STRING_IN, true, "KVM reads the port before it looks where INS stores"},
	{"", 0, 0, TAG_CR1 | TAG_RING3, false, "the CPU looks at the ring first, and shadow/ leaves it to the CPU"},
	{"kvm_pvm", AVOID_SYSTEM_FLAGS, 0, 0, false, "ring 3 has the host's AC, IOPL and NT; an event clears AC"},
	{"kvm_pvm", AVOID_ODD_HANDLER, 0, 0, false, "delivery takes a gate's code segment without a look at it"},
	{"kvm_pvm", AVOID_GENERAL_DETECT, 0, 0, false, "DR7.GD ends in a triple fault"},
	{"kvm_pvm", AVOID_NO_SYSCALL, 0, 0, false, "SYSRET works without EFER.SCE"},
	{"kvm_pvm", 0, OUT_NESTED, 0, false, "whatever goes wrong in a delivery becomes a double fault"},
	{"kvm_pvm", 0, OUT_CR2_OFFSET, 0, false, "the real CPU reads a frame in another order"},
	{"kvm_pvm", 0, OUT_NULL_SEGMENT, 0, false, "null segments come back as present"},
	{"kvm_pvm", 0, 0, TAG_LOCAL_SYSTEM, true, "LTR and LLDT of the LDT have no selector in their error code"},
	{"kvm_pvm", 0, 0, TAG_SEGMENT | TAG_RING3, false, "ring 3 loads segments from the host's tables"},
	{"kvm_pvm", AVOID_UNMARKED, 0, 0, false, "IRET and far RET do not mark SS accessed"},
	{"kvm_pvm", 0, 0, TAG_FRAME, true, "IRET and far RET look at little of what they load"},
	{"kvm_pvm", 0, OUT_INNER_SEGMENTS, 0, false, "a return to an outer ring keeps data segments of the inner"},
	{"kvm_pvm", 0, 0, TAG_TABLE, true, "operands of table registers are not checked"},
	{"kvm_pvm", 0, 0, TAG_INT_N | TAG_RING3, false, "ring 3 has only INT 3 and INT 4"},
	{"kvm_pvm", 0, 0, TAG_SYSRET32, false, "SYSRET to 32-bit code goes to 64-bit code"},
	{"lab", 0, OUT_EXT, 0, false, "QEMU never sets EXT in an error code"},
	{"lab", 0, OUT_SS_OF_IST, 0, false, "QEMU makes SS null for every IST, not only with a change of ring"},
	{"lab", 0, 0, TAG_ODD_MSR, false, "QEMU takes any value of an MSR"},
	{"lab", 0, 0, TAG_PAT, false, "KVM lets the guest write PAT and does not see it"},
	{"lab", 0, OUT_RESERVED_DR, 0, false, "QEMU keeps reserved bits of debug registers"},
	{"lab", 0, OUT_VIF_VIP, 0, false, "QEMU's IRET leaves VIF and VIP alone"},
	{"lab", AVOID_GENERAL_DETECT, 0, 0, false, "QEMU has no DR7.GD"},
	{"lab", AVOID_UNMARKED, 0, 0, false, "QEMU's IRET and far RET do not mark SS accessed"},
	{"lab", AVOID_IO_BITMAP, 0, 0, false, "QEMU allows no port by the bitmap of a busy TSS"},
	{"lab", 0, 0, TAG_SOFTWARE_INTERRUPT, true, "QEMU's INT n that fails leaves RIP past it"},
	{"lab", 0, OUT_IDT_ERROR, 0, false, "QEMU counts 16 a vector in error codes"},
	{"lab", 0, OUT_STACK_FAULT, 0, false, "QEMU raises #GP where a stack is not canonical"},
	{"lab", 0, OUT_NULL_SEGMENT, 0, false, "QEMU's null LDTR is present, of limit 0"},
	{"lab", 0, 0, TAG_FRAME | TAG_RING3, true, "QEMU's IRET and far RET of ring 3 read the stack as ring 0"},
	{"lab", 0, 0, TAG_TABLE, true, "QEMU may have stored half of a table register, and loads any base"},
	{"lab", 0, OUT_TARGET, 0, false, "QEMU returns to any RIP and faults there"},
	{"lab", 0, OUT_INJECTED, 0, false, "QEMU forgets that an exception was being delivered if KVM raised it"},
	{"lab", 0, 0, TAG_CR3, true, "tables outside RAM are a nested fault without end"},
};

#define DIFFERENCES (sizeof(differences) / sizeof(*differences))

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

	if (i != CPU_CS && i != CPU_SS && i < CPU_LDTR && (c->out & OUT_INNER_SEGMENTS) && (c->s->tags & TAG_FRAME))
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
	uint64_t cr2 = c->out & OUT_CR2_OFFSET && c->s->tags & TAG_FRAME ? ~0xffull : ~0ull;
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
	return !known->host[0] || !strcmp(known->host, d->host);
}

static void choose_host(struct differential *d)
{
	d->host = getenv("PENUMBRA_LAB") ? "lab" : host_mmu_detect("").module;
	for (size_t i = 0; i < DIFFERENCES; i++) {
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
	if (d->model.bad_target && (d->out & OUT_TARGET))
		return true;
	for (size_t i = 0; i < DIFFERENCES; i++) {
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

	printf("CASE=%" PRIu64 " %s, CPL %u, tags %x, rip %" PRIx64 " rsp %" PRIx64 ": ends %d, CPU %d;%s%s\n%s", number, s->name,
	       gmem_cpl(&s->cs), s->tags, s->cs.rip, s->cs.gpr[CPU_RSP], d->worked.end, d->real.end, d->model.trace, d->model.nested ? " nested" : "", c->text);
}

static void run_real(struct differential *d)
{
	memcpy(oracle_ram(&d->oracle), d->scenario.ram, SCENARIO_RAM);
	oracle_run(&d->oracle, &d->scenario, &d->real);
}

static void one_case(struct differential *d, uint64_t seed, uint64_t number)
{
	struct comparison c = {.out = d->out, .s = &d->scenario, .model = &d->worked, .real = &d->real};

	d->scenario.random.state = seed + number * 0x51ed2701f3a5c4c1;
	scenario_make(&d->scenario);
	memcpy(model_ram(&d->model), d->scenario.ram, SCENARIO_RAM);
	model_run(&d->model, &d->scenario, &d->worked);
	if (is_left_out(d)) {
		d->left_out++;
		return;
	}
	if (d->worked.end == OUTCOME_ENDLESS || d->worked.end == OUTCOME_UNKNOWN) {
		d->skipped++;
		if (getenv("VERBOSE"))
			printf("skip %d %s:%s\n", d->worked.end, d->scenario.name, d->model.trace);
		return;
	}
	if (d->oracle.nested)
		/* For the first time now: pages that are missing at the second would change what is being delivered. */
		run_real(d);
	run_real(d);
	if (d->real.end == OUTCOME_REFUSED) {
		d->refused++;
		if (getenv("VERBOSE"))
			printf("refused %s:%s\n", d->scenario.name, d->model.trace);
		return;
	}
	d->compared++;
	differs(&c, "end", d->worked.end, d->real.end);
	if (d->worked.end == d->real.end && d->worked.end != OUTCOME_SHUTDOWN) {
		compare_registers(&c);
		compare_accesses(&c);
		compare_ram(&c, &d->model, &d->oracle);
	}
	if (!c.text[0])
		return;
	if (d->wrong++ < SHOWN)
		describe(d, number, &c);
}

START_TEST(the_model_does_what_the_cpu_does)
{
	static struct differential d;
	struct random r = random_start("differential");
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
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {the_model_does_what_the_cpu_does};

	return RUN_TESTS("differential", tests);
}
