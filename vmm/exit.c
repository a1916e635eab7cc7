#include "vmm/exit.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/access.h"
#include "vmm/bus.h"
#include "vmm/ensure.h"
#include "vmm/image.h"
#include "vmm/mmu.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

/* One exit may carry many elements of a string instruction: each is an access of its own. */
static void on_io(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	bool in = run->io.direction == KVM_EXIT_IO_IN;
	uint8_t *data = (uint8_t *)v->run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		struct access a = {.kind = in ? ACCESS_PORT_READ : ACCESS_PORT_WRITE, .addr = run->io.port,
				   .size = run->io.size};

		if (!in)
			memcpy(&a.value, data, a.size);
		access_complete(&v->port, &a);
		if (in)
			memcpy(data, &a.value, a.size);
	}
}

static bool in_device_hole(uint64_t gpa, uint64_t size)
{
	return gpa >= ABI_HOLE_START && gpa + size <= ABI_HOLE_END;
}

/* On a PC nobody answers at such an address, and kernels look for things there. */
static bool may_touch_nothing(const struct vcpu *v)
{
	return image_is_pc(v->vm->image);
}

bool exit_complete_mmio(struct vcpu *v, struct access *a)
{
	if (!in_device_hole(a->addr, a->size) && !may_touch_nothing(v)) {
		vm_kill(v->vm, "%s of %u bytes at gpa 0x%" PRIx64 ": no RAM and no device is there",
			access_is_read(a->kind) ? "read" : "write", a->size, a->addr);
		return false;
	}
	access_complete(&v->port, a);
	return !vm_ended(v->vm);
}

static void on_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct access a = {.kind = run->mmio.is_write ? ACCESS_MMIO_WRITE : ACCESS_MMIO_READ,
			   .addr = run->mmio.phys_addr, .size = (uint8_t)run->mmio.len};

	ensure(run->mmio.len >= 1 && run->mmio.len <= sizeof(a.value));
	if (run->mmio.is_write)
		memcpy(&a.value, run->mmio.data, a.size);
	if (exit_complete_mmio(v, &a) && !run->mmio.is_write)
		memcpy(run->mmio.data, &a.value, a.size);
}

static void on_hlt(struct vcpu *v)
{
	struct access a = {.kind = ACCESS_HLT};

	access_complete(&v->port, &a);
	v->halted = true;
}

static void on_shutdown(struct vcpu *v)
{
	vm_kill(v->vm, "triple fault: an exception could not be delivered, nor the double fault that followed");
}

static void on_fail_entry(struct vcpu *v)
{
	vm_kill(v->vm, "the CPU refuses to enter this guest state (hardware reason 0x%" PRIx64 ")",
		(uint64_t)v->run->fail_entry.hardware_entry_failure_reason);
}

static void on_internal_error(struct vcpu *v)
{
	vm_kill(v->vm, "KVM cannot go on with this guest: internal error %u, %s", v->run->internal.suberror,
		v->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? "an instruction it cannot emulate"
		: v->run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV
			? "an exception whose delivery touches a device"
			: "see KVM_EXIT_INTERNAL_ERROR");
}

static void on_nothing(struct vcpu *v)
{
}

struct exit_kind {
	const char *name;
	void (*handle)(struct vcpu *v);
};

static const struct exit_kind exit_table[VCPU_EXIT_KINDS] = {
	[KVM_EXIT_IO] = {"io", on_io},
	[KVM_EXIT_MMIO] = {"mmio", on_mmio},
	[KVM_EXIT_HLT] = {"hlt", on_hlt},
	[KVM_EXIT_IRQ_WINDOW_OPEN] = {"irq_window", on_nothing},
	[KVM_EXIT_INTR] = {"intr", on_nothing},
	[KVM_EXIT_DEBUG] = {"debug", NULL},
	[KVM_EXIT_SHUTDOWN] = {"shutdown", on_shutdown},
	[KVM_EXIT_FAIL_ENTRY] = {"fail_entry", on_fail_entry},
	[KVM_EXIT_INTERNAL_ERROR] = {"internal_error", on_internal_error},
	[KVM_EXIT_EXCEPTION] = {"exception", NULL},
	[KVM_EXIT_UNKNOWN] = {"unknown", NULL},
};

const char *exit_name(unsigned int reason)
{
	return reason < VCPU_EXIT_KINDS ? exit_table[reason].name : NULL;
}

void exit_handle(struct vcpu *v)
{
	uint32_t reason = v->run->exit_reason;

	if (v->vm->mmu->handle_exit(v) == MMU_DONE)
		return;
	if (reason < VCPU_EXIT_KINDS && exit_table[reason].handle)
		exit_table[reason].handle(v);
	else
		vm_fail(v->vm, "KVM_RUN returned for reason %u, which this program does not know", reason);
}
