#include "vmm/software_event.h"

#include <stdbool.h>

#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/walk.h"

#define OPCODE_INT3 0xcc
#define OPCODE_INT 0xcd
#define VECTOR_BP 3
#define VECTOR_OF 4

static unsigned int user_of(const struct cpu_state *cs)
{
	return (cs->segment[CPU_SS].attributes >> CPU_SEGMENT_DPL_SHIFT & 3) == 3 ? MMU_USER : 0;
}

/* The code byte at gva, -1 where there is none. */
static int code_byte(struct mem *m, const struct cpu_state *cs, uint64_t gva)
{
	struct walk w;
	uint8_t byte;

	walk_guest(m, cs, gva, MMU_EXEC | user_of(cs), &w);
	return w.fault || mem_read(m, w.gpa, &byte, sizeof(byte)) < 0 ? -1 : byte;
}

unsigned int software_event_length(struct mem *m, const struct cpu_state *cs, uint8_t vector)
{
	int last = code_byte(m, cs, cs->rip - 1);

	if ((vector == VECTOR_BP || vector == VECTOR_OF) && last == vector && code_byte(m, cs, cs->rip - 2) == OPCODE_INT)
		return 2;
	return vector == VECTOR_BP && last == OPCODE_INT3 ? 1 : 0;
}

/* Something that KVM does tell of keeps interrupts away, so that nothing follows from their being refused. */
static bool tells_why(const struct kvm_vcpu_events *told)
{
	return told->exception.injected || told->exception.pending || told->interrupt.injected ||
	       told->interrupt.shadow || told->nmi.injected;
}

enum software_event software_event_at(struct mem *m, const struct cpu_state *cs, const struct kvm_vcpu_events *told,
				      const struct kvm_run *run)
{
	bool behind = software_event_length(m, cs, told->exception.nr) && !run->ready_for_interrupt_injection;
	int next = code_byte(m, cs, cs->rip);

	if (behind && run->if_flag && !tells_why(told))
		return SOFTWARE_EVENT_QUEUED;
	if (next == OPCODE_INT || next == OPCODE_INT3)
		return SOFTWARE_EVENT_NEXT;
	return behind ? SOFTWARE_EVENT_MAYBE : SOFTWARE_EVENT_NONE;
}
