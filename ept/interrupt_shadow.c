#include "ept/interrupt_shadow.h"

#include <linux/kvm.h>

#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define MOMENT_NS 100000u

static bool told(const struct vcpu *v)
{
	struct kvm_vcpu_events e;

	return kvm_get_events(v->fd, &e) == 0 && e.interrupt.shadow;
}

static bool get_rip(const struct vcpu *v, uint64_t *rip)
{
	struct kvm_regs regs;
	bool known = kvm_get_regs(v->fd, &regs) == 0;

	*rip = known ? regs.rip : 0;
	return known;
}

/* What cannot be asked for has moved: KVM_RUN is about to fail, too. */
static bool has_moved(const struct interrupt_shadow *s, const struct vcpu *v)
{
	uint64_t rip;

	return !get_rip(v, &rip) || rip != s->rip;
}

static bool begins(struct interrupt_shadow *s, const struct vcpu *v)
{
	return told(v) && get_rip(v, &s->rip);
}

bool interrupt_shadow_lasts(struct interrupt_shadow *s, struct vcpu *v)
{
	if (s->tries && (s->tries > INTERRUPT_SHADOW_TRIES || has_moved(s, v)))
		s->tries = 0;
	return s->tries;
}

bool interrupt_shadow_see_out(struct interrupt_shadow *s, struct vcpu *v)
{
	if (!interrupt_shadow_lasts(s, v) && !begins(s, v))
		return false;
	vcpu_be_brief(v, MOMENT_NS << s->tries++);
	return true;
}
