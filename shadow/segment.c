#include "shadow/segment.h"

#include <stddef.h>

#include "shadow/descriptor.h"
#include "vmm/cpu_state.h"

#define TABLE_BYTES 10u /* limit and base, as in memory */
#define TYPE_LDT 0x2u
#define TYPE_TSS 0x9u
#define TYPE_TSS_BUSY 0xbu
#define ATTRIBUTES_TYPE 0x1fu /* with S */

static struct cpu_table *table_of(const struct privileged_insn *x)
{
	ZydisMnemonic m = x->in->info.mnemonic;

	return m == ZYDIS_MNEMONIC_LGDT || m == ZYDIS_MNEMONIC_SGDT ? &x->cs->gdt : &x->cs->idt;
}

enum insn_result segment_load_table(const struct privileged_insn *x)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} raw;
	uint64_t gva;
	enum insn_result r;

	if (!insn_address(x->cs, x->in, &x->in->op[0], TABLE_BYTES, &gva, x->trap))
		return INSN_TRAP;
	r = privileged_read(x, gva, &raw, sizeof(raw), 0);
	if (r != INSN_DONE)
		return r;
	if (!privileged_canonical(raw.base))
		return privileged_trap(x, trap_gp(0));
	*table_of(x) = (struct cpu_table){.base = raw.base, .limit = raw.limit};
	return privileged_done(x, 0);
}

static bool hidden_by_umip(const struct privileged_insn *x)
{
	return (x->cs->cr4 & CR4_UMIP) && gmem_cpl(x->cs);
}

enum insn_result segment_store_table(const struct privileged_insn *x)
{
	const struct cpu_table *t = table_of(x);
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} raw = {t->limit, t->base};
	uint64_t gva;
	enum insn_result r;

	if (hidden_by_umip(x))
		return privileged_trap(x, trap_gp(0));
	if (!insn_address(x->cs, x->in, &x->in->op[0], TABLE_BYTES, &gva, x->trap))
		return INSN_TRAP;
	r = privileged_write(x, gva, &raw, sizeof(raw), gmem_user(x->cs));
	return r == INSN_DONE ? privileged_done(x, 0) : r;
}

/* A system segment for LDTR or TR: a descriptor of the GDT, of `type`, present. */
static enum insn_result read_system(const struct privileged_insn *x, uint16_t selector, unsigned int type,
				    struct descriptor *d)
{
	enum insn_result r;

	if (selector & 4)
		return privileged_trap(x, trap_selector(TRAP_GP, selector, 0));
	r = descriptor_read(x->g, selector, 0, d, x->trap);
	if (r != INSN_DONE)
		return r;
	if ((d->segment.attributes & ATTRIBUTES_TYPE) != type)
		return privileged_trap(x, trap_selector(TRAP_GP, selector, 0));
	if (!descriptor_present(d))
		return privileged_trap(x, trap_selector(TRAP_NP, selector, 0));
	return descriptor_read_upper(x->g, d, x->trap);
}

enum insn_result segment_lldt(const struct privileged_insn *x)
{
	struct descriptor d = {0};
	uint16_t selector;
	enum insn_result r = privileged_read16(x, &x->in->op[0], &selector);

	if (r != INSN_DONE)
		return r;
	d.segment.selector = selector;
	if (!selector_is_null(selector))
		r = read_system(x, selector, TYPE_LDT, &d);
	if (r != INSN_DONE)
		return r;
	x->cs->segment[CPU_LDTR] = d.segment;
	return privileged_done(x, 0);
}

/* The descriptor becomes a busy one, in memory and in TR. */
enum insn_result segment_ltr(const struct privileged_insn *x)
{
	struct descriptor d;
	uint16_t selector;
	enum insn_result r = privileged_read16(x, &x->in->op[0], &selector);

	if (r != INSN_DONE)
		return r;
	if (selector_is_null(selector))
		return privileged_trap(x, trap_gp(0));
	r = read_system(x, selector, TYPE_TSS, &d);
	if (r != INSN_DONE)
		return r;
	r = descriptor_set_type(x->g, &d, TYPE_TSS_BUSY, x->trap);
	if (r != INSN_DONE)
		return r;
	x->cs->segment[CPU_TR] = d.segment;
	return privileged_done(x, 0);
}

enum insn_result segment_store_selector(const struct privileged_insn *x)
{
	bool task = x->in->info.mnemonic == ZYDIS_MNEMONIC_STR;
	enum insn_result r;

	if (hidden_by_umip(x))
		return privileged_trap(x, trap_gp(0));
	r = privileged_write16(x, &x->in->op[0], x->cs->segment[task ? CPU_TR : CPU_LDTR].selector);
	return r == INSN_DONE ? privileged_done(x, 0) : r;
}

static int name_of(ZydisRegister reg)
{
	static const struct {
		ZydisRegister reg;
		enum cpu_segment_name name;
	} names[] = {
		{ZYDIS_REGISTER_ES, CPU_ES}, {ZYDIS_REGISTER_SS, CPU_SS}, {ZYDIS_REGISTER_DS, CPU_DS},
		{ZYDIS_REGISTER_FS, CPU_FS}, {ZYDIS_REGISTER_GS, CPU_GS},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].reg == reg)
			return (int)names[i].name;
	return -1;
}

/* A null selector: SS may have one in 64-bit code below CPL 3, with the RPL of the CPL. */
static enum insn_result load_null(const struct privileged_insn *x, enum cpu_segment_name name, uint16_t selector)
{
	unsigned int cpl = gmem_cpl(x->cs);

	if (name == CPU_SS && (cpl == 3 || (selector & 3) != cpl))
		return privileged_trap(x, trap_gp(0));
	x->cs->segment[name] = (struct cpu_segment){.selector = selector};
	if (name == CPU_SS)
		x->cs->segment[name].attributes = (uint16_t)(cpl << CPU_SEGMENT_DPL_SHIFT);
	return INSN_DONE;
}

static bool right_for_stack(const struct privileged_insn *x, const struct descriptor *d)
{
	unsigned int cpl = gmem_cpl(x->cs);

	return descriptor_is_data(d) && (d->segment.attributes & SEGMENT_WRITABLE) && descriptor_dpl(d) == cpl &&
	       (d->segment.selector & 3) == cpl;
}

static bool right_for_data(const struct privileged_insn *x, const struct descriptor *d)
{
	unsigned int rpl = d->segment.selector & 3, cpl = gmem_cpl(x->cs);
	unsigned int a = d->segment.attributes;

	if (!(a & SEGMENT_S) || ((a & SEGMENT_CODE) && !(a & SEGMENT_READABLE)))
		return false;
	if ((a & SEGMENT_CODE) && (a & SEGMENT_CONFORMING))
		return true;
	return descriptor_dpl(d) >= (rpl > cpl ? rpl : cpl);
}

static enum insn_result load(const struct privileged_insn *x, enum cpu_segment_name name, uint16_t selector)
{
	struct descriptor d;
	enum insn_result r;

	if (selector_is_null(selector))
		return load_null(x, name, selector);
	r = descriptor_read(x->g, selector, 0, &d, x->trap);
	if (r != INSN_DONE)
		return r;
	if (!(name == CPU_SS ? right_for_stack(x, &d) : right_for_data(x, &d)))
		return privileged_trap(x, trap_selector(TRAP_GP, selector, 0));
	if (!descriptor_present(&d))
		return privileged_trap(x, trap_selector(name == CPU_SS ? TRAP_SS : TRAP_NP, selector, 0));
	r = descriptor_mark(x->g, &d, x->trap);
	if (r == INSN_DONE)
		x->cs->segment[name] = d.segment;
	return r;
}

/* MOV SS, like STI, keeps interrupts off for one instruction more. */
enum insn_result segment_mov(const struct privileged_insn *x)
{
	int name = name_of(x->in->op[0].reg.value);
	uint16_t selector;
	enum insn_result r;

	if (name < 0)
		return privileged_trap(x, trap_ud());
	r = privileged_read16(x, &x->in->op[1], &selector);
	if (r == INSN_DONE)
		r = load(x, (enum cpu_segment_name)name, selector);
	if (r != INSN_DONE)
		return r;
	r = privileged_done(x, PRIVILEGED_SEGMENTS);
	x->cs->interrupt_shadow = name == CPU_SS;
	return r;
}

/* RSP moves by the operand size, but only the selector is read. */
enum insn_result segment_pop(const struct privileged_insn *x)
{
	uint64_t rsp = x->cs->gpr[CPU_RSP];
	int name = name_of(x->in->op[0].reg.value);
	uint16_t selector;
	enum insn_result r;

	if (!gmem_canonical(rsp, sizeof(selector)))
		return privileged_trap(x, trap_ss(0));
	r = privileged_read(x, rsp, &selector, sizeof(selector), gmem_user(x->cs));
	if (r == INSN_DONE)
		r = load(x, (enum cpu_segment_name)name, selector);
	if (r != INSN_DONE)
		return r;
	x->cs->gpr[CPU_RSP] = rsp + x->in->info.operand_width / 8u;
	return privileged_done(x, PRIVILEGED_SEGMENTS);
}
