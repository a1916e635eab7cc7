#include "shadow/debug_registers.h"

#include <linux/kvm.h>
#include <string.h>

#include "shadow/monitor.h"
#include "vmm/cpu_state.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define BREAKPOINTS 4u
#define DR7_GD (1ull << 13)
#define DR7_ENABLE(n) (3ull << 2 * (n)) /* locally and globally */

uint64_t debug_registers_dr7(const struct cpu_state *cs)
{
	uint64_t dr7 = cs->dr7 & ~DR7_GD;

	for (unsigned int n = 0; n < BREAKPOINTS; n++)
		if (monitor_contains(cs->dr[n]))
			dr7 &= ~DR7_ENABLE(n);
	return dr7;
}

int debug_registers_write(struct vcpu *v, const struct cpu_state *cs, uint64_t dr6)
{
	struct kvm_debugregs dr = {.dr6 = dr6, .dr7 = debug_registers_dr7(cs)};

	memcpy(dr.db, cs->dr, sizeof(dr.db));
	return kvm_set_debugregs(v->fd, &dr);
}

int debug_registers_read_dr6(struct vcpu *v, uint64_t *dr6)
{
	struct kvm_debugregs dr;
	int r = kvm_get_debugregs(v->fd, &dr);

	if (r == 0)
		*dr6 = dr.dr6;
	return r;
}
