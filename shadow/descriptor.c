#include "shadow/descriptor.h"

#include <errno.h>

#include "vmm/mmu.h"

#define SELECTOR_TI 4u
#define DESCRIPTOR_G 0x800u
#define UPPER_TYPE (0x1full << 40) /* where a descriptor of its own would have its type */

struct trap trap_selector(uint8_t vector, uint16_t selector, uint32_t ext)
{
	return (struct trap){.vector = vector, .has_error = true, .error = (selector & ~3u) | ext};
}

static enum insn_result read_table(struct gmem *g, uint64_t gva, void *to, uint32_t size, struct trap *trap)
{
	struct gfault fault;
	int r;

	if (!gmem_canonical(gva, size)) {
		*trap = trap_gp(0);
		return INSN_TRAP;
	}
	r = gmem_read(g, gva, to, size, MMU_READ, &fault);
	if (r == 0)
		return INSN_DONE;
	*trap = trap_of_fault(&fault);
	return r == -EFAULT ? INSN_TRAP : INSN_ENDED;
}

static struct cpu_segment unpack(uint16_t selector, uint64_t raw)
{
	struct cpu_segment seg = {.selector = selector};

	seg.base = (raw >> 16 & 0xffffff) | (raw >> 56 & 0xff) << 24;
	seg.limit = (uint32_t)((raw & 0xffff) | (raw >> 48 & 0xf) << 16);
	seg.attributes = (uint16_t)((raw >> 40 & 0xff) | (raw >> 52 & 0xf) << 8);
	if (seg.attributes & DESCRIPTOR_G)
		seg.limit = seg.limit << 12 | 0xfff;
	return seg;
}

static enum insn_result bad_selector(uint16_t selector, uint32_t ext, struct trap *trap)
{
	*trap = trap_selector(TRAP_GP, selector, ext);
	return INSN_TRAP;
}

enum insn_result descriptor_read(struct gmem *g, uint16_t selector, uint32_t ext, struct descriptor *d,
				 struct trap *trap)
{
	const struct cpu_segment *ldt = &g->cs->segment[CPU_LDTR];
	bool local = selector & SELECTOR_TI;
	uint64_t base = local ? ldt->base : g->cs->gdt.base, raw = 0;
	uint32_t limit = local ? (ldt->attributes & CPU_SEGMENT_PRESENT ? ldt->limit : 0) : g->cs->gdt.limit;
	uint32_t offset = selector & ~7u;
	enum insn_result r;

	if (offset + 7 > limit)
		return bad_selector(selector, ext, trap);
	d->gva = base + offset;
	r = read_table(g, d->gva, &raw, sizeof(raw), trap);
	d->segment = unpack(selector, raw);
	return r;
}

enum insn_result descriptor_read_upper(struct gmem *g, struct descriptor *d, struct trap *trap)
{
	uint32_t offset = d->segment.selector & ~7u;
	uint64_t upper = 0;
	enum insn_result r;

	if (offset + 15 > g->cs->gdt.limit)
		return bad_selector(d->segment.selector, 0, trap);
	r = read_table(g, d->gva + 8, &upper, sizeof(upper), trap);
	if (r != INSN_DONE)
		return r;
	d->segment.base |= upper << 32;
	if (upper & UPPER_TYPE || !gmem_canonical(d->segment.base, 1))
		return bad_selector(d->segment.selector, 0, trap);
	return INSN_DONE;
}

enum insn_result descriptor_set_type(struct gmem *g, struct descriptor *d, unsigned int bits, struct trap *trap)
{
	uint64_t gva = d->gva + sizeof(uint32_t);
	struct gfault fault;
	uint32_t word;
	int r = gmem_read(g, gva, &word, sizeof(word), MMU_READ, &fault);

	word |= bits << 8;
	if (r == 0)
		r = gmem_write(g, gva, &word, sizeof(word), MMU_WRITE, &fault);
	if (r == 0) {
		d->segment.attributes = (uint16_t)(d->segment.attributes | bits);
		return INSN_DONE;
	}
	*trap = trap_of_fault(&fault);
	return r == -EFAULT ? INSN_TRAP : INSN_ENDED;
}

enum insn_result descriptor_mark(struct gmem *g, struct descriptor *d, struct trap *trap)
{
	if (d->segment.attributes & SEGMENT_ACCESSED)
		return INSN_DONE;
	return descriptor_set_type(g, d, SEGMENT_ACCESSED, trap);
}
