/*
 * Segment descriptors of the guest's GDT and LDT, read as the CPU reads them (AMD APM vol. 2, 4.7-4.8; Intel SDM vol. 3, 3.4.5).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/insn.h"
#include "vmm/cpu_state.h"

/* Bits of cpu_segment.attributes. */
#define SEGMENT_ACCESSED 0x001u
#define SEGMENT_WRITABLE 0x002u   /* data */
#define SEGMENT_READABLE 0x002u   /* code */
#define SEGMENT_CONFORMING 0x004u /* code */
#define SEGMENT_CODE 0x008u
#define SEGMENT_S 0x010u /* code or data, not system */
#define SEGMENT_DB 0x400u

struct descriptor {
	struct cpu_segment segment; /* as it would be in a segment register, selector included */
	uint64_t gva;		    /* where its first 8 bytes lie */
};

static inline unsigned int descriptor_dpl(const struct descriptor *d)
{
	return d->segment.attributes >> CPU_SEGMENT_DPL_SHIFT & 3;
}

static inline bool descriptor_present(const struct descriptor *d)
{
	return d->segment.attributes & CPU_SEGMENT_PRESENT;
}

static inline bool descriptor_is_code(const struct descriptor *d)
{
	return (d->segment.attributes & (SEGMENT_S | SEGMENT_CODE)) == (SEGMENT_S | SEGMENT_CODE);
}

static inline bool descriptor_is_data(const struct descriptor *d)
{
	return (d->segment.attributes & (SEGMENT_S | SEGMENT_CODE)) == SEGMENT_S;
}

static inline bool selector_is_null(uint16_t selector)
{
	return !(selector & ~3u);
}

/*
 * Reads the descriptor `selector` names; of a system descriptor the lower half. INSN_DONE, or INSN_TRAP: #GP of the selector
 * beyond its table's limit (| ext, 0 or 1), or a page fault. INSN_ENDED if the VM ended.
 */
enum insn_result descriptor_read(struct gmem *g, uint16_t selector, uint32_t ext, struct descriptor *d,
				 struct trap *trap);

/*
 * Completes a system descriptor of the GDT from its upper half: base 63:32 (AMD APM vol. 2, 4.8.3). Besides what descriptor_read()
 * says, a base that is not canonical or an upper half that could pass for a descriptor is #GP of the selector.
 */
enum insn_result descriptor_read_upper(struct gmem *g, struct descriptor *d, struct trap *trap);

/* Sets the accessed bit of a code or data descriptor in guest memory, if it is not set. */
enum insn_result descriptor_mark(struct gmem *g, struct descriptor *d, struct trap *trap);

/* Sets bits of a descriptor's type in guest memory and in *d, by a store to its upper doubleword. */
enum insn_result descriptor_set_type(struct gmem *g, struct descriptor *d, unsigned int bits, struct trap *trap);

/* A trap with a selector's error code: selector without RPL, | ext. */
struct trap trap_selector(uint8_t vector, uint16_t selector, uint32_t ext);
