#include "shadow/port.h"

#include "shadow/rflags.h"
#include "vmm/access.h"
#include "vmm/cpu_state.h"
#include "vmm/mmu.h"

#define TSS_BITMAP_OFFSET 102u

/* With CPL > IOPL the TSS's I/O bitmap decides: every bit of the access must be clear. */
static enum insn_result check_bitmap(const struct privileged_insn *x, uint16_t port, uint8_t size)
{
	const struct cpu_segment *tr = &x->cs->segment[CPU_TR];
	uint16_t start, bits;
	enum insn_result r;

	if (tr->limit < TSS_BITMAP_OFFSET + 1)
		return privileged_trap(x, trap_gp(0));
	r = privileged_read(x, tr->base + TSS_BITMAP_OFFSET, &start, sizeof(start), 0);
	if (r != INSN_DONE)
		return r;
	if (start + port / 8u + 1 > tr->limit)
		return privileged_trap(x, trap_gp(0));
	r = privileged_read(x, tr->base + start + port / 8u, &bits, sizeof(bits), 0);
	if (r != INSN_DONE)
		return r;
	return bits >> port % 8 & ((1u << size) - 1) ? privileged_trap(x, trap_gp(0)) : INSN_DONE;
}

static enum insn_result check(const struct privileged_insn *x, uint16_t port, uint8_t size)
{
	if (gmem_cpl(x->cs) <= (x->cs->rflags & RFLAGS_IOPL) >> 12)
		return INSN_DONE;
	return check_bitmap(x, port, size);
}

static uint16_t port_of(const struct privileged_insn *x, const ZydisDecodedOperand *op)
{
	if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return (uint8_t)op->imm.value.u;
	return (uint16_t)x->cs->gpr[CPU_RDX];
}

enum insn_result port_in(const struct privileged_insn *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	struct access a = {.kind = ACCESS_PORT_READ, .addr = port_of(x, &op[1]), .size = (uint8_t)(op[0].size / 8)};
	enum insn_result r = check(x, (uint16_t)a.addr, a.size);

	if (r != INSN_DONE)
		return r;
	if (!x->p->port(x->p, &a))
		return INSN_ENDED;
	insn_write_reg(x->cs, op[0].reg.value, a.value);
	return privileged_done(x, 0);
}

enum insn_result port_out(const struct privileged_insn *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	struct access a = {.kind = ACCESS_PORT_WRITE, .addr = port_of(x, &op[0]), .size = (uint8_t)(op[1].size / 8)};
	enum insn_result r = check(x, (uint16_t)a.addr, a.size);

	if (r != INSN_DONE)
		return r;
	a.value = insn_read_reg(x->cs, op[1].reg.value);
	if (!x->p->port(x->p, &a))
		return INSN_ENDED;
	return privileged_done(x, 0);
}

/* One string instruction's moving parts. */
struct string {
	uint64_t mask; /* of the address size */
	uint8_t size;
	enum cpu_gpr index; /* RDI or RSI */
	uint64_t base;	    /* of the segment */
	bool rep;
};

static struct string string_of(const struct privileged_insn *x, const ZydisDecodedOperand *memory,
			       enum cpu_gpr index)
{
	bool gs = memory->mem.segment == ZYDIS_REGISTER_GS, fs = memory->mem.segment == ZYDIS_REGISTER_FS;

	return (struct string){
		.mask = x->in->info.address_width == 32 ? UINT32_MAX : UINT64_MAX,
		.size = (uint8_t)(memory->size / 8),
		.index = index,
		.base = fs ? x->cs->segment[CPU_FS].base : gs ? x->cs->segment[CPU_GS].base : 0,
		.rep = x->in->info.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE),
	};
}

/* A 32-bit address size clears the upper halves of what it counts with. */
static void set_masked(struct cpu_state *cs, enum cpu_gpr reg, uint64_t value, uint64_t mask)
{
	cs->gpr[reg] = mask == UINT64_MAX ? value : value & mask;
}

static void step(const struct privileged_insn *x, const struct string *s)
{
	uint64_t delta = x->cs->rflags & RFLAGS_DF ? -(uint64_t)s->size : s->size;

	set_masked(x->cs, s->index, x->cs->gpr[s->index] + delta, s->mask);
	if (s->rep)
		set_masked(x->cs, CPU_RCX, x->cs->gpr[CPU_RCX] - 1, s->mask);
}

/* Moves one element; the memory is checked before the port is touched, as no port access can be undone. */
static enum insn_result move(const struct privileged_insn *x, const struct string *s, enum access_kind kind)
{
	struct access a = {.kind = kind, .addr = (uint16_t)x->cs->gpr[CPU_RDX], .size = s->size};
	uint64_t gva = s->base + (x->cs->gpr[s->index] & s->mask);
	bool in = kind == ACCESS_PORT_READ;
	struct gmem_range range;
	struct gfault fault;

	if (!gmem_canonical(gva, s->size))
		return privileged_trap(x, trap_gp(0));
	if (gmem_resolve(x->g, gva, s->size, gmem_user(x->cs) | (in ? MMU_WRITE : MMU_READ), &range, &fault) < 0)
		return privileged_trap(x, trap_of_fault(&fault));
	if (!in && gmem_load(x->g, &range, &a.value) < 0)
		return INSN_ENDED;
	if (!x->p->port(x->p, &a))
		return INSN_ENDED;
	if (in && gmem_store(x->g, &range, &a.value) < 0)
		return INSN_ENDED;
	return INSN_DONE;
}

static enum insn_result string_io(const struct privileged_insn *x, const struct string *s, enum access_kind kind)
{
	enum insn_result r = check(x, (uint16_t)x->cs->gpr[CPU_RDX], s->size);

	for (uint32_t i = 0; r == INSN_DONE; i++) {
		if (s->rep && !(x->cs->gpr[CPU_RCX] & s->mask))
			return privileged_done(x, 0);
		if (i == x->p->iterations)
			return INSN_DONE;
		r = move(x, s, kind);
		if (r != INSN_DONE)
			break;
		step(x, s);
		if (!s->rep)
			return privileged_done(x, 0);
	}
	return r;
}

enum insn_result port_ins(const struct privileged_insn *x)
{
	struct string s = string_of(x, &x->in->op[0], CPU_RDI);

	return string_io(x, &s, ACCESS_PORT_READ);
}

enum insn_result port_outs(const struct privileged_insn *x)
{
	struct string s = string_of(x, &x->in->op[1], CPU_RSI);

	return string_io(x, &s, ACCESS_PORT_WRITE);
}
