#include "tests/vm/model.h"

#include <stdio.h>
#include <string.h>

#include "guest/abi.h"
#include "shadow/deliver.h"
#include "shadow/insn_memory.h"
#include "shadow/privileged.h"
#include "shadow/rflags.h"
#include "tests/vm/scenario_insn.h"
#include "vmm/ensure.h"
#include "vmm/mmu.h"
#include "vmm/walk.h"

#define STEPS_MAX 16u
#define END_LENGTH_COMPAT 5u /* of the store in 32-bit code */

/* One run. */
struct run {
	struct gmem g;
	struct privileged p;
	struct model *m;
	bool stored; /* to the device page */
};

static struct run *run_of(struct gmem *g)
{
	return (struct run *)((char *)g - offsetof(struct run, g));
}

static bool device(struct gmem *g, struct access *a)
{
	struct run *r = run_of(g);

	r->stored |= a->kind == ACCESS_MMIO_WRITE && a->addr == SCENARIO_DEVICE_GPA;
	return outcome_access(r->m->out, a);
}

static void stored(struct gmem *g, uint64_t gpa, uint64_t size)
{
	struct model *m = run_of(g)->m;

	for (uint64_t at = gpa; at < gpa + size && m->stores < MODEL_STORES; at += 8)
		m->store[m->stores++] = at;
}

static bool port(struct privileged *p, struct access *a)
{
	return outcome_access(run_of(p->g)->m->out, a);
}

static bool read_tsc(struct privileged *p, uint64_t *value)
{
	*value = 0;
	return true;
}

static bool write_tsc(struct privileged *p, uint64_t value)
{
	return true;
}

void model_create(struct model *m, uint32_t cpu)
{
	memset(m, 0, sizeof(*m));
	m->cpu = cpu;
	ensure(mem_create(&m->mem, SCENARIO_RAM, MEM_HUGE_NEVER) == 0);
}

uint8_t *model_ram(struct model *m)
{
	return mem_at(&m->mem, 0, SCENARIO_RAM, MEM_WRITE);
}

static void note(struct model *m, const char *what, unsigned int vector, uint32_t error)
{
	size_t used = strlen(m->trace);

	snprintf(m->trace + used, sizeof(m->trace) - used, " %s %u(%x)", what, vector, error);
}

/* Where the frame of a delivery lies, for the masks of the comparison. */
static void note_frame(struct run *r)
{
	struct model_frame *f = &r->m->frame[r->m->deliveries++];
	struct walk w;

	for (unsigned int i = 0; i < 6; i++) {
		walk_guest(r->g.mem, r->g.cs, r->g.cs->gpr[CPU_RSP] + i * 8, MMU_READ, &w);
		f->gpa[i] = w.fault ? ~0ull : w.gpa;
	}
}

/* Of the gate of a vector: where it leads and by which code segment; ~0 and 0 if it cannot be read. */
struct target {
	uint64_t rip;
	uint16_t selector;
};

static struct target target_of(const struct run *r, uint8_t vector)
{
	uint64_t gate[2];

	/* The IDT is mapped where it lies. */
	if (mem_read(r->g.mem, r->g.cs->idt.base + vector * 16u, gate, sizeof(gate)) < 0)
		return (struct target){.rip = ~0ull};
	return (struct target){.rip = (gate[0] & 0xffff) | gate[0] >> 48 << 16 | gate[1] << 32,
			       .selector = (uint16_t)(gate[0] >> 16)};
}

static void note_gate(struct run *r, uint8_t vector)
{
	r->m->odd_gate |= target_of(r, vector).selector != 0x08;
}

/* Exceptions of a delivery go by one of these gates; deliver() does not say which. */
static void note_nested(struct run *r)
{
	static const uint8_t vectors[] = {TRAP_DF, TRAP_TS, TRAP_NP, TRAP_SS, TRAP_GP, TRAP_PF};

	r->m->nested = true;
	for (size_t i = 0; i < sizeof(vectors); i++)
		note_gate(r, vectors[i]);
}

/* Returns true when that ended it. */
static bool event(struct run *r, const struct trap *trap, enum deliver_source source, uint8_t length)
{
	uint64_t handler = target_of(r, trap->vector).rip;

	note_gate(r, trap->vector);
	r->m->faults += source == DELIVER_FAULT;
	r->m->stack_fault |= source == DELIVER_FAULT && trap->vector == TRAP_SS && !trap->error;
	note(r->m, source == DELIVER_FAULT ? "fault" : source == DELIVER_SOFTWARE ? "int" : "irq", trap->vector, trap->error);
	switch (deliver(&r->g, trap, source, length)) {
	case DELIVER_DONE:
		r->m->faults += source == DELIVER_SOFTWARE && r->g.cs->rip != handler;
		if (r->g.cs->rip != handler)
			note_nested(r);
		note_frame(r);
		return false;
	case DELIVER_SHUTDOWN:
		note_nested(r);
		r->m->out->end = OUTCOME_SHUTDOWN;
		return true;
	default:
		r->m->out->end = OUTCOME_UNKNOWN;
		return true;
	}
}

static bool is_code64(const struct cpu_state *cs)
{
	return cs->segment[CPU_CS].attributes & CPU_SEGMENT_LONG;
}

/* 32-bit code is only ever the store; its fetch and its DS have to be good for that. */
static bool step_compat(struct run *r)
{
	struct cpu_state *cs = r->g.cs;
	const struct cpu_segment *ds = &cs->segment[CPU_DS];
	struct gmem_range range;
	struct gfault fault;
	struct trap trap;
	uint8_t opcode;

	r->m->out->end = OUTCOME_UNKNOWN;
	if ((ds->attributes & 0x9a) != 0x92 || ds->base || ds->limit != UINT32_MAX || (ds->attributes & 4))
		return true;
	if (gmem_resolve(&r->g, cs->rip, END_LENGTH_COMPAT, MMU_EXEC | gmem_user(cs), &range, &fault) < 0) {
		trap = trap_of_fault(&fault);
		return event(r, &trap, DELIVER_FAULT, 0);
	}
	if (mem_read(r->g.mem, range.part[0].gpa, &opcode, 1) < 0 || opcode != 0xa2)
		return true;
	if (gmem_resolve(&r->g, SCENARIO_DEVICE, 1, MMU_WRITE | gmem_user(cs), &range, &fault) < 0) {
		trap = trap_of_fault(&fault);
		return event(r, &trap, DELIVER_FAULT, 0);
	}
	cs->rip += END_LENGTH_COMPAT;
	cs->rflags &= ~RFLAGS_RF;
	r->m->out->end = OUTCOME_STORE;
	outcome_access(r->m->out, &(struct access){.kind = ACCESS_MMIO_WRITE, .size = 1, .addr = SCENARIO_DEVICE_GPA,
						   .value = cs->gpr[CPU_RAX] & 0xff});
	return true;
}

static bool is_return(const struct insn *in)
{
	ZydisMnemonic m = in->info.mnemonic;

	return m == ZYDIS_MNEMONIC_IRETD || m == ZYDIS_MNEMONIC_IRETQ || m == ZYDIS_MNEMONIC_RET || m == ZYDIS_MNEMONIC_SYSRET;
}

static bool is_emulated(const struct insn *in)
{
	static const ZydisMnemonic emulated[] = {ZYDIS_MNEMONIC_RDPMC, ZYDIS_MNEMONIC_RDMSR, ZYDIS_MNEMONIC_WRMSR,
						 ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT, ZYDIS_MNEMONIC_INSB,
						 ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD, ZYDIS_MNEMONIC_OUTSB,
						 ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD, ZYDIS_MNEMONIC_LMSW,
						 ZYDIS_MNEMONIC_UD2};
	bool control = in->info.mnemonic == ZYDIS_MNEMONIC_MOV &&
		       ZydisRegisterGetClass(in->op[0].reg.value) == ZYDIS_REGCLASS_CONTROL;

	for (size_t i = 0; i < sizeof(emulated) / sizeof(*emulated); i++)
		if (in->info.mnemonic == emulated[i])
			return true;
	return control;
}

static enum insn_result execute(struct run *r, const struct insn *in, struct trap *trap)
{
	enum insn_result result;

	switch (in->info.mnemonic) {
	case ZYDIS_MNEMONIC_NOP:
		insn_advance(r->g.cs, in);
		return INSN_DONE;
	case ZYDIS_MNEMONIC_UD2:
		*trap = trap_ud();
		return INSN_TRAP;
	case ZYDIS_MNEMONIC_DIV:
		*trap = (struct trap){.vector = 0};
		return INSN_TRAP;
	default:
		result = privileged_execute(&r->p, in, trap);
	}
	if (result == INSN_UNKNOWN)
		result = insn_execute_memory(&r->g, in, NULL, 1, trap);
	return result;
}

static bool step(struct run *r)
{
	struct insn in;
	struct trap trap;
	enum insn_result result;

	if (!is_code64(r->g.cs))
		return step_compat(r);
	result = insn_fetch(&r->g, &in, &trap);
	if (result == INSN_DONE && (in.info.mnemonic == ZYDIS_MNEMONIC_INT || in.info.mnemonic == ZYDIS_MNEMONIC_INT3)) {
		trap = (struct trap){.vector = in.info.mnemonic == ZYDIS_MNEMONIC_INT3 ? TRAP_BP :
								(uint8_t)in.op[0].imm.value.u};
		return event(r, &trap, DELIVER_SOFTWARE, in.info.length);
	}
	if (result == INSN_DONE)
		result = execute(r, &in, &trap);
	r->m->bad_target |= result == INSN_TRAP && is_return(&in) && trap.vector == TRAP_GP && !trap.error;
	r->m->injected |= result == INSN_TRAP && is_emulated(&in);
	if (result == INSN_TRAP)
		return event(r, &trap, DELIVER_FAULT, 0);
	r->m->out->end = r->stored ? OUTCOME_STORE : r->p.effects & PRIVILEGED_HALT ? OUTCOME_HALTED : OUTCOME_UNKNOWN;
	return result != INSN_DONE || r->stored || (r->p.effects & PRIVILEGED_HALT);
}

static uint64_t cr4_allowed(uint32_t cpu)
{
	/* VME, PVI, MCE and PCE are KVM's gift to every guest. */
	return 0x143 | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT |
	       (cpu & ABI_CPU_UMIP ? CR4_UMIP : 0) | (cpu & ABI_CPU_SMEP ? CR4_SMEP : 0);
}

void model_run(struct model *m, const struct scenario *s, struct outcome *out)
{
	struct run r = {.m = m, .g = {.mem = &m->mem, .cs = &out->cs, .stored = stored, .device = device},
			.p = {.cr4_allowed = cr4_allowed(m->cpu), .iterations = 3, .port = port, .read_tsc = read_tsc,
			      .write_tsc = write_tsc}};

	r.p.g = &r.g;
	m->out = out;
	m->deliveries = m->faults = m->stores = 0;
	m->nested = m->stack_fault = m->bad_target = m->odd_gate = m->injected = false;
	m->trace[0] = 0;
	out->cs = s->cs;
	out->accesses = 0;
	if (s->interrupt >= 0 && event(&r, &(struct trap){.vector = (uint8_t)s->interrupt}, DELIVER_INTERRUPT, 0))
		return;
	for (unsigned int i = 0; i < STEPS_MAX; i++)
		if (step(&r))
			return;
	out->end = OUTCOME_ENDLESS;
}
