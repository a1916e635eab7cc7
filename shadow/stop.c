#include "shadow/stop.h"

#include <errno.h>
#include <linux/kvm.h>

#include "shadow/real_segments.h"
#include "shadow/shadow_vm.h"
#include "vmm/ensure.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/software_event.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

#define NO_VECTOR (-1)

static void take_registers(struct shadow_vm *s)
{
	uint64_t rsp = s->cs.gpr[CPU_RSP];

	vcpu_gprs_from_kvm(s->cs.gpr, &s->vm->vcpu.run->s.regs.regs);
	s->cs.gpr[CPU_RSP] = rsp;
	real_segments_take(&s->cs, &s->vm->vcpu.run->s.regs.sregs);
}

/* A TF of ours ends here, by whichever event comes first, and with it the interrupt shadow it was to see out. */
static void take_rflags(struct shadow_vm *s, uint64_t real)
{
	if (s->tf_added)
		real &= ~RFLAGS_TF;
	s->cs.rflags = (real & ~RFLAGS_VIRTUAL) | (s->cs.rflags & RFLAGS_VIRTUAL);
}

/* The interrupt shadow lasts one instruction: it is over when RIP has moved on. */
static void end_interrupt_shadow(struct shadow_vm *s)
{
	if (s->cs.rip != s->shadow_rip)
		s->cs.interrupt_shadow = false;
}

void stop_take_syscall(struct shadow_vm *s)
{
	s->cs.rip = s->cs.gpr[CPU_RCX];
	take_rflags(s, s->cs.gpr[CPU_R11]);
}

static void take_frame(struct shadow_vm *s, const struct monitor_frame *frame)
{
	take_registers(s);
	s->cs.gpr[CPU_RSP] = frame->rsp;
	s->cs.rip = frame->rip;
	take_rflags(s, frame->rflags);
}

/*
 * The guest stopped, whether the instruction it was lent tables for has been executed or not. A page fault of that
 * instruction leaves the wish: with the next address it may be wanted for another table, and then both at once.
 */
static void end_loans(struct shadow_vm *s, int vector)
{
	s->counters.count[SHADOW_TABLE_STEP] += tables_lent(s->tables) && vector == TRAP_DB;
	tables_take_back(s->tables);
	if (vector != TRAP_PF || s->cs.rip != s->wish.rip)
		s->wish.count = 0;
}

/* A TF of ours has had its time. The real DR6 is the guest's only outside of it. */
static void end_step(struct shadow_vm *s, int vector)
{
	s->stepped = s->tf_added && vector == TRAP_DB;
	s->counters.count[SHADOW_STEP] += s->stepped && !tables_lent(s->tables);
	s->debug_stale |= s->tf_added;
	s->tf_added = false;
	end_loans(s, vector);
}

int stop_take_event(struct shadow_vm *s, int *vector, uint32_t *error)
{
	struct monitor_frame frame;

	*vector = monitor_vector(s->vm->vcpu.run->s.regs.regs.rip);
	if (*vector < 0)
		return log_bad(EIO, "shadow: the monitor stopped at 0x%llx, where it has no stub",
			       (unsigned long long)s->vm->vcpu.run->s.regs.regs.rip);
	*error = 0;
	if (*vector == MONITOR_SYSCALL) {
		take_registers(s);
		s->cs.gpr[CPU_RSP] = s->vm->vcpu.run->s.regs.regs.rsp;
		stop_take_syscall(s);
	} else {
		frame = monitor_frame(&s->monitor, trap_pushes_error(*vector), error);
		take_frame(s, &frame);
	}
	end_interrupt_shadow(s);
	tables_edits_done(s->tables);
	end_step(s, *vector);
	s->where = SHADOW_IN_MONITOR;
	return 0;
}

static void take_ring3(struct shadow_vm *s)
{
	const struct kvm_regs *regs = &s->vm->vcpu.run->s.regs.regs;

	take_registers(s);
	s->cs.gpr[CPU_RSP] = regs->rsp;
	s->cs.rip = regs->rip;
	take_rflags(s, regs->rflags);
	end_interrupt_shadow(s);
	tables_edits_done(s->tables);
	s->where = SHADOW_IN_GUEST;
}

/*
 * A TF of ours that a kick found still set is in the real RFLAGS, where it may not stay: the guest goes on by the way out.
 * Loans end here and not before: until ring 3 is known to be at rest the instruction may yet be executed.
 */
static void drop_step(struct shadow_vm *s)
{
	s->reload |= s->tf_added;
	end_step(s, NO_VECTOR);
}

static bool is_stub_exit(const struct shadow_vm *s)
{
	const struct kvm_run *run = s->vm->vcpu.run;

	return run->exit_reason == KVM_EXIT_IO && run->io.port == MONITOR_PORT;
}

static bool in_ring3(const struct shadow_vm *s)
{
	return s->vm->vcpu.run->s.regs.sregs.ss.dpl == 3;
}

/*
 * An event was under way when the kick came: KVM has it queued, or the CPU stands in its stub, whose `out` is the very next
 * thing. To go anywhere else now would deliver the event there, to code that is not the guest's.
 */
static int finish_stub(struct shadow_vm *s)
{
	struct vcpu *v = &s->vm->vcpu;
	int r;

	do {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		r = kvm_run(v->fd);
	} while (r == -EINTR);
	if (r < 0)
		return r;
	ensure(is_stub_exit(s));
	return 1;
}

/* RUN_MOMENT_US doubles from try to try: entering a guest may take longer than the first ones. */
#define RUN_MOMENT_US 20u
#define RUN_MOMENT_MAX_US 5000u

/*
 * Whether an event may be under way in KVM: one it tells of, or a software event it keeps to itself. cs must stand where the
 * real CPU stands, in ring 3.
 */
static int event_under_way(struct shadow_vm *s, enum software_event *software)
{
	struct kvm_vcpu_events events;
	int r = kvm_get_events(s->vm->vcpu.fd, &events);

	if (r < 0)
		return r;
	*software = software_event_at(&s->vm->mem, &s->cs, &events, s->vm->vcpu.run);
	return events.exception.injected || events.exception.pending || *software == SOFTWARE_EVENT_NEXT;
}

/* Stands between two instructions of ring 3, as far as the registers tell. As stop_catch_up(). */
static int settle_in_ring3(struct shadow_vm *s)
{
	enum software_event software;
	int r;

	for (unsigned int us = RUN_MOMENT_US;; us = us < RUN_MOMENT_MAX_US ? 2 * us : us) {
		take_ring3(s);
		r = event_under_way(s, &software);
		if (r < 0)
			return r;
		if (r > 0)
			return finish_stub(s);
		if (software == SOFTWARE_EVENT_NONE) {
			drop_step(s);
			return 0;
		}
		r = vcpu_enter_briefly(&s->vm->vcpu, us);
		if (r == 0)
			return is_stub_exit(s) ? 1 : -EIO;
		if (r != -EINTR)
			return r;
		if (!in_ring3(s))
			return finish_stub(s);
	}
}

int stop_catch_up(struct shadow_vm *s)
{
	const struct kvm_run *run = s->vm->vcpu.run;

	if (s->where != SHADOW_RUNNING)
		return 0;
	s->counters.count[SHADOW_KICK]++;
	if (monitor_vector(run->s.regs.regs.rip) >= 0)
		return finish_stub(s);
	if (in_ring3(s))
		return settle_in_ring3(s);
	/* On the way out: cs still says where to, and the way can be gone again from its start. */
	end_step(s, NO_VECTOR);
	s->where = SHADOW_IN_MONITOR;
	s->reload = true;
	return 0;
}
