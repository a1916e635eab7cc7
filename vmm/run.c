#include "vmm/run.h"

#include <errno.h>

#include "vmm/debug.h"
#include "vmm/exit.h"
#include "vmm/image.h"
#include "vmm/steering.h"
#include "vmm/vm.h"

void run_deliver_interrupt(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint8_t vector = pic_acknowledge(&vm->pic);
	int r;

	access_interrupt(&v->port, vector);
	v->halted = false;
	r = vm->mmu->interrupt(v, vector);
	if (r < 0)
		vm_fail_said(vm, "interrupt delivery", r);
}

/* Who steps a guest that runs now wants to see its next instruction, and not always the timer's; but what is halted has none. */
static bool is_stepped(const struct vm *vm)
{
	return vm->debug && vm->debug->stepping && !vm->vcpu.halted;
}

/*
 * Gives the guest its interrupt if it can take one now, or asks to be told when it can. It is asked whether it can in any case: a HLT or a
 * poll that was interrupted may only be complete then (mmu.h), and the guest must not run on behind it.
 */
static void offer_interrupt(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	bool open = vm->mmu->interruptible(v);

	if (open && pic_pending(&vm->pic) && !vm_ended(vm) && !is_stepped(vm))
		run_deliver_interrupt(vm);
	vm->mmu->window(v, pic_pending(&vm->pic));
}

/* Nothing can wake it any more. That is how kernels of a PC end which know no way to switch it off. */
static void halt_for_good(struct vm *vm)
{
	if (image_is_pc(vm->image))
		vm_end(vm, VM_EXITED, 0, "the guest halted with interrupts off");
	else
		vm_kill(vm, "halted with interrupts off: nothing can wake it");
}

static void halt(struct vm *vm)
{
	if (!vm->mmu->interruptible(&vm->vcpu)) {
		halt_for_good(vm);
		return;
	}
	console_flush(&vm->console);
	if (vm->console.blocked)
		return;
	if (vm->steering)
		vm->steering->ops->idle(vm->steering, vm);
	else
		vcpu_sleep(&vm->vcpu);
}

/* For its debugger, who also wants to see each access: what was under way may have been completed by the question what comes to it. */
static bool is_stopped(const struct vm *vm, uint64_t before)
{
	return vm->debug && (vm->debug->stopped || vm->vcpu.port.position != before);
}

static void enter(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint64_t before = v->port.position;
	int r;

	debug_place(vm);
	r = vm->mmu->prepare ? vm->mmu->prepare(v) : 0;
	if (vm_ended(vm) || is_stopped(vm, before))
		return;
	debug_put_in(vm);
	if (r == 0)
		r = vcpu_enter(v);
	if (r == 0)
		exit_handle(v);
	else if (r != -EINTR)
		vm_fail_said(vm, "running the guest", r);
}

static void end_if_asked(struct vm *vm)
{
	int kind = atomic_load(&vm->asked_end);

	if (kind == VM_TIMED_OUT)
		vm_end(vm, kind, 0, "the guest did not end in time (--timeout)");
	else if (kind == VM_HOST_FAILED)
		vm_fail(vm, "%s", vm->ram_lost);
	else if (kind != VM_RUNNING)
		vm_end(vm, kind, 0, "stopped by the user");
}

static void look_outside(struct vm *vm)
{
	clock_run(&vm->clock);
	if (vm->console.blocked)
		return;
	console_feed(&vm->console);
	virtio_devices_take(&vm->virtio);
	offer_interrupt(vm);
}

/* One turn: what has become due outside the guest, then the guest until its next exit. */
static void turn(struct vm *vm)
{
	uint64_t before = vm->vcpu.port.position;

	if (vm->steering)
		vm->steering->ops->due(vm->steering, vm);
	else
		look_outside(vm);
	if (vm_ended(vm) || vm->console.blocked || is_stopped(vm, before))
		return;
	if (vm->solo5.polling)
		solo5_wait(&vm->solo5);
	else if (vm->vcpu.halted)
		halt(vm);
	else
		enter(vm);
}

bool run_turn(struct vm *vm)
{
	vcpu_take_work(&vm->vcpu);
	end_if_asked(vm);
	if (vm_ended(vm))
		console_flush(&vm->console);
	if (vm->console.blocked)
		console_wait(&vm->console);
	else if (vm_ended(vm))
		return false;
	else if (vm->paused)
		vcpu_wait(&vm->vcpu);
	else
		turn(vm);
	return true;
}

static void run_to_end(struct vm *vm)
{
	if (vm->debug)
		vm->debug->ops->drive(vm->debug, vm);
	while (run_turn(vm))
		;
	virtio_devices_settle(&vm->virtio);
}

void run_vm(struct vm *vm)
{
	vcpu_begin_thread(&vm->vcpu);
	do {
		clock_start(&vm->clock);
		run_to_end(vm);
		if (vm->steering)
			vm->steering->ops->ended(vm->steering, vm);
	} while (!vm_ended(vm)); /* who steers it may have put it back */
	if (vm->debug)
		vm->debug->ops->ended(vm->debug, vm);
	clock_stop(&vm->clock);
	vcpu_end_thread(&vm->vcpu);
}
