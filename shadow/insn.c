#include "shadow/insn.h"

#include <errno.h>
#include <string.h>

#include "shadow/rflags.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

#define ATTRIBUTE_L (1u << 9)
#define HIGH_BYTE_SHIFT 8

struct trap trap_of_fault(const struct gfault *fault)
{
	return (struct trap){.vector = TRAP_PF, .has_error = true, .error = fault->error, .cr2 = fault->gva};
}

struct trap trap_gp(uint32_t error)
{
	return (struct trap){.vector = TRAP_GP, .has_error = true, .error = error};
}

struct trap trap_ss(uint32_t error)
{
	return (struct trap){.vector = TRAP_SS, .has_error = true, .error = error};
}

struct trap trap_ud(void)
{
	return (struct trap){.vector = TRAP_UD};
}

bool trap_pushes_error(int vector)
{
	return vector == TRAP_DF || (vector >= TRAP_TS && vector <= TRAP_PF) || vector == TRAP_AC || vector == TRAP_CP;
}

static enum insn_result trapped(struct trap *to, struct trap trap)
{
	*to = trap;
	return INSN_TRAP;
}

/* Reads code; what is not RAM is not touched, for a device may mind being read. */
static enum insn_result fetch_bytes(struct gmem *g, uint64_t rip, void *to, uint32_t size, struct trap *trap)
{
	struct gmem_range r;
	struct gfault fault;

	if (!gmem_canonical(rip, size))
		return trapped(trap, trap_gp(0));
	if (gmem_resolve(g, rip, size, MMU_EXEC | gmem_user(g->cs), &r, &fault) < 0)
		return trapped(trap, trap_of_fault(&fault));
	return mem_read(g->mem, r.part[0].gpa, to, size) < 0 ? INSN_UNKNOWN : INSN_DONE;
}

static ZyanStatus decode(struct insn *in, uint32_t size)
{
	ZydisDecoder decoder;

	/* AMD's near branches, which obey an operand-size prefix: the CPU model is one of theirs. */
	ensure(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	ensure(ZYAN_SUCCESS(ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE)));
	return ZydisDecoderDecodeFull(&decoder, in->bytes, size, &in->info, in->op);
}

enum insn_result insn_fetch(struct gmem *g, struct insn *in, struct trap *trap)
{
	const struct cpu_state *cs = g->cs;
	uint32_t size = (uint32_t)(PAGE_SIZE - cs->rip % PAGE_SIZE);
	enum insn_result r;
	ZyanStatus status;

	*in = (struct insn){0};
	if (!(cs->efer & EFER_LMA) || !(cs->segment[CPU_CS].attributes & ATTRIBUTE_L))
		return INSN_UNKNOWN;
	if (size > sizeof(in->bytes))
		size = sizeof(in->bytes);
	r = fetch_bytes(g, cs->rip, in->bytes, size, trap);
	if (r != INSN_DONE)
		return r;
	status = decode(in, size);
	if (status == ZYDIS_STATUS_NO_MORE_DATA && size < sizeof(in->bytes)) {
		r = fetch_bytes(g, cs->rip + size, in->bytes + size, (uint32_t)sizeof(in->bytes) - size, trap);
		if (r != INSN_DONE)
			return r;
		size = sizeof(in->bytes);
		status = decode(in, size);
	}
	if (ZYAN_SUCCESS(status))
		return INSN_DONE;
	if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return trapped(trap, trap_gp(0));
	return trapped(trap, trap_ud());
}

bool insn_exchange_last(struct insn *in, uint8_t byte)
{
	uint32_t size = in->info.length;

	in->bytes[size - 1] = byte;
	return ZYAN_SUCCESS(decode(in, size)) && in->info.length == size;
}

/* Where a general register's bits lie in gpr[]. */
struct place {
	unsigned int gpr, shift, size;
};

static bool place_of(ZydisRegister reg, struct place *p)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);
	ZyanI8 id = ZydisRegisterGetId(reg);

	if (id < 0)
		return false;
	*p = (struct place){.gpr = (unsigned int)id};
	switch (class) {
	case ZYDIS_REGCLASS_GPR64:
		p->size = 8;
		return true;
	case ZYDIS_REGCLASS_GPR32:
		p->size = 4;
		return true;
	case ZYDIS_REGCLASS_GPR16:
		p->size = 2;
		return true;
	case ZYDIS_REGCLASS_GPR8:
		break;
	default:
		return false;
	}
	p->size = 1;
	/* Zydis counts AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B ... */
	if (p->gpr >= 8) {
		p->gpr -= 4;
	} else if (p->gpr >= 4) {
		p->gpr -= 4;
		p->shift = HIGH_BYTE_SHIFT;
	}
	return true;
}

static uint64_t mask_of(unsigned int size)
{
	return size == 8 ? ~0ull : (1ull << 8 * size) - 1;
}

uint64_t insn_read_reg(const struct cpu_state *cs, ZydisRegister reg)
{
	struct place p;
	bool general = place_of(reg, &p);

	ensure(general);
	return cs->gpr[p.gpr] >> p.shift & mask_of(p.size);
}

void insn_write_reg(struct cpu_state *cs, ZydisRegister reg, uint64_t value)
{
	struct place p;
	bool general = place_of(reg, &p);
	uint64_t mask;

	ensure(general);
	mask = p.size == 4 ? ~0ull : mask_of(p.size) << p.shift;
	cs->gpr[p.gpr] = (cs->gpr[p.gpr] & ~mask) | (value & mask_of(p.size)) << p.shift;
}

/* What a base or index register adds. */
static uint64_t address_part(const struct cpu_state *cs, const struct insn *in, ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return 0;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return cs->rip + in->info.length;
	return insn_read_reg(cs, reg);
}

static uint64_t segment_base(const struct cpu_state *cs, ZydisRegister segment)
{
	if (segment == ZYDIS_REGISTER_FS)
		return cs->segment[CPU_FS].base;
	if (segment == ZYDIS_REGISTER_GS)
		return cs->segment[CPU_GS].base;
	return 0;
}

bool insn_address_beside(const struct cpu_state *cs, const struct insn *in, const ZydisDecodedOperand *op,
			 uint32_t size, uint64_t distance, uint64_t *gva, struct trap *trap)
{
	uint64_t effective = (uint64_t)op->mem.disp.value + distance;

	effective += address_part(cs, in, op->mem.base) + address_part(cs, in, op->mem.index) * op->mem.scale;
	if (in->info.address_width == 32)
		effective &= 0xffffffff;
	*gva = segment_base(cs, op->mem.segment) + effective;
	if (gmem_canonical(*gva, size))
		return true;
	*trap = op->mem.segment == ZYDIS_REGISTER_SS ? trap_ss(0) : trap_gp(0);
	return false;
}

bool insn_address(const struct cpu_state *cs, const struct insn *in, const ZydisDecodedOperand *op, uint32_t size,
		  uint64_t *gva, struct trap *trap)
{
	return insn_address_beside(cs, in, op, size, 0, gva, trap);
}

void insn_advance(struct cpu_state *cs, const struct insn *in)
{
	cs->rip += in->info.length;
	cs->rflags &= ~RFLAGS_RF;
	cs->interrupt_shadow = false;
}
