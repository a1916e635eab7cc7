#include "shadow/host_selectors.h"

#include <stddef.h>
#include <stdlib.h>

#include "shadow/descriptor.h"
#include "shadow/shadow_vm.h"
#include "vmm/cpu_model.h"
#include "vmm/kvm.h"
#include "vmm/mmu.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"
#include "vmm/vm.h"

#define HOST_CODE 0x30u

static const uint16_t places[] = {0x28, HOST_CODE, 0x78};

/* The descriptor at an offset of the GDT, 0 where there is none; the guest notices nothing. */
static uint64_t peek(struct mem *m, const struct cpu_state *cs, uint16_t offset)
{
	uint64_t raw = 0, gva = cs->gdt.base + offset;
	struct walk w;

	if (offset + sizeof(raw) - 1 > cs->gdt.limit)
		return 0;
	walk_guest(m, cs, gva, MMU_READ, &w);
	/* A table that is not aligned may have the entry in two pages: the rarest of all guests is let through. */
	if (w.fault || gva % PAGE_SIZE > PAGE_SIZE - sizeof(raw) || mem_read(m, w.gpa, &raw, sizeof(raw)) < 0)
		return 0;
	return raw;
}

/* Attributes as in cpu_segment.attributes. */
static unsigned int attributes_of(uint64_t raw)
{
	return (raw >> 40 & 0xff) | (raw >> 52 & 0xf) << 8;
}

/* Code that is both of 64 and of 32 bits is none: nobody could go there. */
static bool open_code(unsigned int a)
{
	bool none = (a & CPU_SEGMENT_LONG) && (a & SEGMENT_DB);

	return !none && ((a & SEGMENT_CONFORMING) || (a >> CPU_SEGMENT_DPL_SHIFT & 3) == 3);
}

static bool clashes(uint16_t place, unsigned int a)
{
	if (!(a & CPU_SEGMENT_PRESENT) || !(a & SEGMENT_S))
		return false;
	return a & SEGMENT_CODE ? place == HOST_CODE && open_code(a) : true;
}

uint16_t host_selectors_clash(struct mem *m, const struct cpu_state *cs)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		unsigned int a = attributes_of(peek(m, cs, places[i]));

		if (clashes(places[i], a))
			return (uint16_t)(places[i] | (a >> CPU_SEGMENT_DPL_SHIFT & 3));
	}
	return 0;
}

static int ask(struct probe *p, bool *load)
{
	struct probe_result result;
	int r = probe_start(p, probe_enter, probe_far_return, 0);

	if (r == 0)
		r = probe_run(p, &result);
	if (r == 0)
		*load = result.stop == PROBE_EVENT && result.vector == TRAP_UD;
	return r;
}

int host_selectors_find(const struct kvm *k, bool *load)
{
	struct kvm_cpuid2 *cpuid;
	struct probe p;
	uint32_t facts;
	int r = cpu_model_create(CPU_MODEL_BASE, k->supported, &cpuid, &facts);

	if (r < 0)
		return r;
	r = probe_open(&p, k, cpuid);
	if (r == 0) {
		r = ask(&p, load);
		probe_close(&p);
	}
	free(cpuid);
	return r;
}

static void ask_once(struct shadow_vm *s)
{
	bool load;
	int r;

	if (s->host_selectors != HOST_SELECTORS_UNKNOWN)
		return;
	r = host_selectors_find(s->vm->kvm, &load);
	if (r < 0)
		vm_fail_said(s->vm, "shadow: selectors of this host", r);
	else
		s->host_selectors = load ? HOST_SELECTORS_LOAD : HOST_SELECTORS_TRAP;
}

void host_selectors_check(struct shadow_vm *s)
{
	uint16_t selector;

	if (s->host_selectors == HOST_SELECTORS_TRAP || gmem_cpl(&s->cs) == 3)
		return;
	selector = host_selectors_clash(&s->vm->mem, &s->cs);
	if (!selector)
		return;
	ask_once(s);
	if (s->host_selectors == HOST_SELECTORS_LOAD)
		vm_end(s->vm, VM_HOST_LIMIT, 0, "--mmu=shadow cannot run a kernel with a segment of its own at selector "
		       "0x%x of its GDT: ring 3 loads the host's there, untrapped; move it (docs/shadow-guests.md)",
		       selector);
}
