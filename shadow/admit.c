#include "shadow/admit.h"

#include <stddef.h>

#include "shadow/gmem.h"
#include "shadow/rflags.h"
#include "vmm/cpu_state.h"

#define CR0_NEEDED (CR0_PE | CR0_PG)
#define EFER_NEEDED (EFER_LME | EFER_LMA)
#define EFER_KNOWN (EFER_NEEDED | EFER_SCE | EFER_NXE)
#define CR4_KNOWN                                                                                                      \
	(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_SMEP)

const char *admit_reason(const struct cpu_state *cs)
{
	if ((cs->cr0 & CR0_NEEDED) != CR0_NEEDED || (cs->efer & EFER_NEEDED) != EFER_NEEDED || !(cs->cr4 & CR4_PAE))
		return "the guest is not in 64-bit mode; when it is, `penumbra ctl SOCKET mmu shadow` may do";
	if (cs->cr4 & ~CR4_KNOWN)
		return "the guest's CR4 has bits that the CPU model has not";
	if (cs->efer & ~EFER_KNOWN)
		return "the guest's EFER has bits that the CPU model has not";
	if (!gmem_canonical(cs->segment[CPU_FS].base, 1) || !gmem_canonical(cs->segment[CPU_GS].base, 1))
		return "the guest's FS or GS has a base that is no address";
	return NULL;
}

uint64_t admit_rflags(uint64_t rflags)
{
	return (rflags & RFLAGS_KNOWN) | RFLAGS_ONE;
}

bool admit_rip(const struct cpu_state *cs)
{
	const struct cpu_segment *code = &cs->segment[CPU_CS];

	return code->attributes & CPU_SEGMENT_LONG ? gmem_canonical(cs->rip, 1) : cs->rip <= code->limit;
}
