#include "shadow/reflect.h"

#include "shadow/admit.h"
#include "shadow/shadow_vm.h"
#include "vmm/vm.h"

/* cs moves on without the real CPU: where that stands between two instructions, it may not just run on. */
static void leave_guest(struct shadow_vm *s)
{
	if (s->where == SHADOW_IN_GUEST)
		s->where = SHADOW_OUTSIDE;
}

void reflect(struct shadow_vm *s, const struct trap *trap, enum deliver_source source, uint8_t length)
{
	leave_guest(s);
	s->counters.count[source == DELIVER_FAULT ? SHADOW_REFLECTED : SHADOW_SYSTEM_CALL]++;
	if (deliver(&s->gmem, trap, source, length) == DELIVER_SHUTDOWN)
		vm_kill(s->vm, "triple fault: an exception could not be delivered, nor the double fault that followed");
}

void reflect_interrupt(struct shadow_vm *s, uint8_t vector)
{
	struct trap trap = {.vector = vector};

	leave_guest(s);
	s->counters.count[SHADOW_INTERRUPT]++;
	if (deliver(&s->gmem, &trap, DELIVER_INTERRUPT, 0) == DELIVER_SHUTDOWN)
		vm_kill(s->vm, "triple fault while an interrupt was delivered");
}

void reflect_pending(struct shadow_vm *s)
{
	struct cpu_state *cs = &s->cs;

	if (cs->exception.valid) {
		struct trap trap = {.vector = cs->exception.vector, .has_error = cs->exception.has_error,
				    .error = cs->exception.error, .cr2 = cs->cr2};

		cs->exception.valid = false;
		reflect(s, &trap, DELIVER_FAULT, 0);
	}
	if (cs->interrupt.valid && !vm_ended(s->vm)) {
		cs->interrupt.valid = false;
		reflect_interrupt(s, cs->interrupt.vector);
	}
	if (!admit_rip(cs) && !vm_ended(s->vm)) {
		const struct trap gp = trap_gp(0);

		reflect(s, &gp, DELIVER_FAULT, 0);
	}
}
