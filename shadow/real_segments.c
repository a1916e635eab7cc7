#include "shadow/real_segments.h"

#include <linux/kvm.h>

#include "shadow/descriptor.h"
#include "vmm/cpu_state.h"

/* The monitor's IRETQ makes 0 of every null selector it finds in DS and ES: that 0 says nothing new of one that was null. */
static void take_null(struct cpu_segment *seg, const struct kvm_segment *real)
{
	if (!selector_is_null(real->selector) || (!real->selector && selector_is_null(seg->selector)))
		return;
	*seg = (struct cpu_segment){.selector = real->selector};
}

void real_segments_take(struct cpu_state *cs, const struct kvm_sregs *real)
{
	take_null(&cs->segment[CPU_ES], &real->es);
	take_null(&cs->segment[CPU_DS], &real->ds);
	take_null(&cs->segment[CPU_FS], &real->fs);
	take_null(&cs->segment[CPU_GS], &real->gs);
	cs->segment[CPU_FS].base = real->fs.base;
	cs->segment[CPU_GS].base = real->gs.base;
}
