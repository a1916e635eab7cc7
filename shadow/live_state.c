#include "shadow/live_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/debug_registers.h"
#include "shadow/shadow_vm.h"
#include "vmm/log.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

/* What SYSCALL clears on its way into the stub: all that could disturb it. */
#define SFMASK_ALL (RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC)

int live_state_get(struct shadow_vm *s)
{
	struct cpu_state *real = calloc(1, sizeof(*real));
	int r;

	if (!real)
		return log_errno(ENOMEM, "shadow: CPU state");
	r = vcpu_get_parts(&s->vm->vcpu, real, VCPU_MSRS | VCPU_XSAVE | VCPU_DEBUGREGS);
	memcpy(s->cs.xsave, real->xsave, sizeof(s->cs.xsave));
	s->cs.msr[CPU_MSR_TSC] = real->msr[CPU_MSR_TSC];
	if (!s->debug_stale)
		s->cs.dr6 = real->dr6;
	free(real);
	return r;
}

/* SYSCALL is to end in its stub with every flag off; SYSENTER is to fault. */
int live_state_set(struct shadow_vm *s)
{
	struct cpu_state *real = malloc(sizeof(*real));
	int r;

	if (!real)
		return log_errno(ENOMEM, "shadow: CPU state");
	*real = s->cs;
	real->msr[CPU_MSR_STAR] = (uint64_t)MONITOR_CS << 32;
	real->msr[CPU_MSR_LSTAR] = monitor_syscall_gva();
	real->msr[CPU_MSR_SFMASK] = SFMASK_ALL;
	real->msr[CPU_MSR_SYSENTER_CS] = 0;
	real->dr7 = debug_registers_dr7(&s->cs);
	real->exception.valid = real->interrupt.valid = real->interrupt_shadow = real->nmi_masked = false;
	s->debug_stale = false;
	r = vcpu_set_parts(&s->vm->vcpu, real, VCPU_MSRS | VCPU_XSAVE | VCPU_DEBUGREGS | VCPU_EVENTS);
	free(real);
	return r;
}
