#include "shadow/deliver.h"

#include <errno.h>
#include <string.h>

#include "shadow/descriptor.h"
#include "shadow/rflags.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

#define GATE_BYTES 16u
#define GATE_INTERRUPT 0xeu
#define GATE_TRAP 0xfu
#define IDT_FLAG 2u /* of an error code: the index is one of the IDT */
#define TSS_RSP(cpl) (4u + 8u * (cpl))
#define TSS_IST(n) (36u + 8u * ((n) - 1u))

/* APM vol. 2, 4.8.4. */
struct gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t ist, type, dpl;
	bool present;
};

/* One delivery under way. */
struct delivery {
	struct gmem *g;
	struct cpu_state *cs;
	const struct trap *event;
	enum deliver_source source;
	uint8_t length;
	uint32_t ext;	   /* 1: a fault on the way is the event's doing, not the program's */
	struct gate gate;
	struct descriptor code;
	unsigned int cpl;  /* of the handler */
	uint64_t rsp;	   /* aligned, before the first push */
	struct trap *fault; /* out: what went wrong */
};

static bool canonical(uint64_t gva)
{
	return gva + (1ull << 47) < 1ull << 48;
}

static enum insn_result raise(struct delivery *d, struct trap trap)
{
	*d->fault = trap;
	return INSN_TRAP;
}

static struct trap idt_trap(const struct delivery *d, uint8_t vector)
{
	return (struct trap){.vector = vector, .has_error = true, .error = d->event->vector * 8u | IDT_FLAG | d->ext};
}

static enum insn_result read_guest(struct delivery *d, uint64_t gva, void *to, uint32_t size)
{
	struct gfault fault;
	int r;

	if (!gmem_canonical(gva, size))
		return raise(d, trap_gp(d->ext));
	r = gmem_read(d->g, gva, to, size, MMU_READ, &fault);
	if (r == 0)
		return INSN_DONE;
	return r == -EFAULT ? raise(d, trap_of_fault(&fault)) : INSN_ENDED;
}

static struct gate unpack_gate(const uint64_t raw[2])
{
	return (struct gate){
		.offset = (raw[0] & 0xffff) | (raw[0] >> 48) << 16 | raw[1] << 32,
		.selector = (uint16_t)(raw[0] >> 16),
		.ist = raw[0] >> 32 & 7,
		.type = raw[0] >> 40 & 0x1f,
		.dpl = raw[0] >> 45 & 3,
		.present = raw[0] >> 47 & 1,
	};
}

static enum insn_result find_gate(struct delivery *d)
{
	uint32_t offset = d->event->vector * GATE_BYTES;
	uint64_t raw[2];
	enum insn_result r;

	if (offset + GATE_BYTES - 1 > d->cs->idt.limit)
		return raise(d, idt_trap(d, TRAP_GP));
	r = read_guest(d, d->cs->idt.base + offset, raw, sizeof(raw));
	if (r != INSN_DONE)
		return r;
	d->gate = unpack_gate(raw);
	if (d->gate.type != GATE_INTERRUPT && d->gate.type != GATE_TRAP)
		return raise(d, idt_trap(d, TRAP_GP));
	if (d->source == DELIVER_SOFTWARE && d->gate.dpl < gmem_cpl(d->cs))
		return raise(d, idt_trap(d, TRAP_GP));
	return d->gate.present ? INSN_DONE : raise(d, idt_trap(d, TRAP_NP));
}

static enum insn_result find_code(struct delivery *d)
{
	unsigned int cpl = gmem_cpl(d->cs);
	enum insn_result r;

	if (selector_is_null(d->gate.selector))
		return raise(d, trap_gp(d->ext));
	r = descriptor_read(d->g, d->gate.selector, d->ext, &d->code, d->fault);
	if (r != INSN_DONE)
		return r;
	if (!descriptor_is_code(&d->code) || descriptor_dpl(&d->code) > cpl ||
	    !(d->code.segment.attributes & CPU_SEGMENT_LONG) || (d->code.segment.attributes & SEGMENT_DB))
		return raise(d, trap_selector(TRAP_GP, d->gate.selector, d->ext));
	if (!descriptor_present(&d->code))
		return raise(d, trap_selector(TRAP_NP, d->gate.selector, d->ext));
	d->cpl = d->code.segment.attributes & SEGMENT_CONFORMING ? cpl : descriptor_dpl(&d->code);
	return canonical(d->gate.offset) ? INSN_DONE : raise(d, trap_gp(d->ext));
}

static enum insn_result bad_stack(struct delivery *d)
{
	return raise(d, (struct trap){.vector = TRAP_SS, .has_error = true, .error = d->ext});
}

/* RSP from the TSS: for the handler's ring, or by the gate's IST. */
static enum insn_result new_stack(struct delivery *d)
{
	const struct cpu_segment *tr = &d->cs->segment[CPU_TR];
	uint32_t offset = d->gate.ist ? TSS_IST(d->gate.ist) : TSS_RSP(d->cpl);
	enum insn_result r;

	if (offset + 7 > tr->limit)
		return raise(d, trap_selector(TRAP_TS, tr->selector, d->ext));
	r = read_guest(d, tr->base + offset, &d->rsp, sizeof(d->rsp));
	if (r != INSN_DONE)
		return r;
	return canonical(d->rsp) ? INSN_DONE : bad_stack(d);
}

static enum insn_result find_stack(struct delivery *d)
{
	enum insn_result r = INSN_DONE;

	d->rsp = d->cs->gpr[CPU_RSP];
	if (d->gate.ist || d->cpl < gmem_cpl(d->cs))
		r = new_stack(d);
	d->rsp &= ~15ull;
	return r;
}

static uint64_t pushed_rflags(const struct delivery *d)
{
	bool restarts = d->source == DELIVER_FAULT && d->event->vector != TRAP_DB && d->event->vector != TRAP_DF;

	return d->cs->rflags | (restarts ? RFLAGS_RF : 0);
}

/*
 * Pushes go from the top down, so it is the highest quadword of the first page that cannot be written whose address CR2 gets,
 * and what lies above it has been written by then. The stack is aligned: no quadword crosses a page.
 */
static enum insn_result push(struct delivery *d, const uint64_t *words, uint32_t size)
{
	unsigned int access = MMU_WRITE | (d->cpl == 3 ? MMU_USER : 0);

	while (size) {
		uint32_t room = (uint32_t)((d->rsp - 1) % PAGE_SIZE + 1), piece = size < room ? size : room;
		struct gfault fault;
		int r;

		if (!canonical(d->rsp - 1))
			return bad_stack(d);
		r = gmem_write(d->g, d->rsp - piece, (const uint8_t *)words + size - piece, piece, access, &fault);
		if (r == -EFAULT) {
			fault.gva = d->rsp - sizeof(*words);
			return raise(d, trap_of_fault(&fault));
		}
		if (r < 0)
			return INSN_ENDED;
		d->rsp -= piece;
		size -= piece;
	}
	return INSN_DONE;
}

static enum insn_result push_frame(struct delivery *d)
{
	const struct cpu_state *cs = d->cs;
	const uint64_t frame[6] = {
		d->event->error, cs->rip + d->length, cs->segment[CPU_CS].selector, pushed_rflags(d),
		cs->gpr[CPU_RSP], cs->segment[CPU_SS].selector,
	};
	unsigned int skip = d->event->has_error ? 0 : 1;

	return push(d, frame + skip, (6 - skip) * (uint32_t)sizeof(*frame));
}

static void enter_handler(struct delivery *d)
{
	struct cpu_state *cs = d->cs;

	if (d->cpl < gmem_cpl(cs)) {
		cs->segment[CPU_SS] = (struct cpu_segment){.selector = (uint16_t)d->cpl, .limit = UINT32_MAX};
		cs->segment[CPU_SS].attributes = (uint16_t)(d->cpl << CPU_SEGMENT_DPL_SHIFT);
	}
	cs->segment[CPU_CS] = d->code.segment;
	cs->segment[CPU_CS].selector = (uint16_t)((d->gate.selector & ~3u) | d->cpl);
	cs->gpr[CPU_RSP] = d->rsp;
	cs->rip = d->gate.offset;
	cs->rflags &= ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
	if (d->gate.type == GATE_INTERRUPT)
		cs->rflags &= ~RFLAGS_IF;
	cs->interrupt_shadow = false;
}

static enum insn_result deliver_once(struct delivery *d)
{
	static enum insn_result (*const steps[])(struct delivery *) = {find_gate, find_code, find_stack, push_frame};
	enum insn_result r = INSN_DONE;

	for (unsigned int i = 0; i < sizeof(steps) / sizeof(*steps) && r == INSN_DONE; i++)
		r = steps[i](d);
	if (r == INSN_DONE)
		r = descriptor_mark(d->g, &d->code, d->fault);
	if (r == INSN_DONE)
		enter_handler(d);
	return r;
}

static bool contributory(uint8_t vector)
{
	return vector == 0 || (vector >= TRAP_TS && vector <= TRAP_GP);
}

/* APM vol. 2, table 8-5: two exceptions that together are a double fault. */
static bool doubles(uint8_t first, uint8_t second)
{
	if (first == TRAP_PF)
		return second == TRAP_PF || contributory(second);
	return contributory(first) && contributory(second);
}

enum deliver_result deliver(struct gmem *g, const struct trap *trap, enum deliver_source source, uint8_t length)
{
	struct trap event = *trap, fault;

	if (source == DELIVER_FAULT && trap->vector == TRAP_PF)
		g->cs->cr2 = trap->cr2;
	for (;;) {
		struct delivery d = {.g = g, .cs = g->cs, .event = &event, .source = source, .length = length,
				     .ext = source != DELIVER_SOFTWARE, .fault = &fault};
		enum insn_result r = deliver_once(&d);

		if (r != INSN_TRAP)
			return r == INSN_DONE ? DELIVER_DONE : DELIVER_ENDED;
		/* Even if it is a double fault that is delivered for it. */
		if (fault.vector == TRAP_PF)
			g->cs->cr2 = fault.cr2;
		if (source == DELIVER_FAULT && event.vector == TRAP_DF)
			return DELIVER_SHUTDOWN;
		if (source == DELIVER_FAULT && doubles(event.vector, fault.vector))
			fault = (struct trap){.vector = TRAP_DF, .has_error = true};
		event = fault;
		source = DELIVER_FAULT;
		length = 0;
	}
}
