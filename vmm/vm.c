#include "vmm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/boot.h"
#include "vmm/cpu_state.h"
#include "vmm/debug.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/steering.h"

#define IRQ_TIMER 0
#define IRQ_KEYBOARD 1
#define IRQ_COM1 4
#define IRQ_RTC 8

static const struct {
	const char *name, *whose;
	int status; /* -1: the guest's own code */
} end_table[] = {
	[VM_RUNNING] = {"running", "", 0},
	[VM_EXITED] = {"exited", "guest", -1},
	[VM_KILLED] = {"killed", "guest", 126},
	[VM_TIMED_OUT] = {"timed out", "guest", 126},
	[VM_HOST_LIMIT] = {"cannot in this mode on this host", "host", 125},
	[VM_HOST_FAILED] = {"host failed", "host", 125},
	[VM_STOPPED] = {"stopped", "user", 130},
	[VM_REPLAYED] = {"replayed", "user", 0},
	[VM_DIVERGED] = {"replay diverged", "host", 124},
	[VM_BAD_INPUT] = {"bad input", "user", 125},
};

const char *vm_end_name(enum vm_end_kind kind)
{
	return end_table[kind].name;
}

const char *vm_end_whose(enum vm_end_kind kind)
{
	return end_table[kind].whose;
}

int vm_end_status(const struct vm_end *end)
{
	int status = end_table[end->kind].status;

	return status < 0 ? end->code : status;
}

/* Nothing that is seen of a guest that has zeros for its data is its own doing, or the user's. */
static void end_for_lost_ram(struct vm *vm)
{
	vm->end.kind = VM_HOST_FAILED;
	snprintf(vm->end.reason, sizeof(vm->end.reason), "%s", vm->ram_lost);
}

void vm_end(struct vm *vm, enum vm_end_kind kind, uint8_t code, const char *fmt, ...)
{
	va_list args;

	if (vm_ended(vm))
		return;
	if (mem_is_lost(&vm->mem)) {
		end_for_lost_ram(vm);
		return;
	}
	vm->end.kind = kind;
	vm->end.code = code;
	if (kind == VM_KILLED || kind == VM_TIMED_OUT || kind == VM_REPLAYED || kind == VM_DIVERGED)
		vm->end.has_rip = vm->mmu->rip(&vm->vcpu, &vm->end.rip) == 0;
	va_start(args, fmt);
	vsnprintf(vm->end.reason, sizeof(vm->end.reason), fmt, args);
	va_end(args);
}

void vm_fail_said(struct vm *vm, const char *what, int error)
{
	if (vm_ended(vm))
		return;
	vm_fail(vm, "%s: %s", what, strerrordesc_np(-error));
	vm->end.said = !mem_is_lost(&vm->mem); /* nobody has said why that is */
}

void vm_ask_end(struct vm *vm, enum vm_end_kind kind)
{
	int none = VM_RUNNING;

	atomic_compare_exchange_strong(&vm->asked_end, &none, kind);
	if (vm->debug)
		vm->debug->ops->cancel(vm->debug);
	vcpu_kick(&vm->vcpu);
}

/*
 * Any thread, before anybody sees what is not there any more: a vCPU that waits for the page has a signal pending when it goes
 * on, so that KVM_RUN returns and vcpu.c sees what happened.
 */
static void on_ram_lost(void *arg, const char *reason)
{
	struct vm *vm = arg;

	snprintf(vm->ram_lost, sizeof(vm->ram_lost), "%s", reason);
	atomic_store(&vm->mem.lost, true);
	if (vm->vcpu.run)
		vm_ask_end(vm, VM_HOST_FAILED);
}

void vm_pause(struct vm *vm, bool pause)
{
	vm->paused = pause;
	if (!pause) {
		clock_start(&vm->clock);
		return;
	}
	console_flush(&vm->console); /* what is gathered would wait for a clock that stands still */
	clock_stop(&vm->clock);
	/* The host's timer goes on, and what expires during a pause would be missed after it. */
	vcpu_forget_timer(&vm->vcpu);
}

static int attach_mmu(struct vm *vm, const struct mmu_ops *mmu)
{
	int r = mmu->attach(vm);

	if (r < 0)
		return r;
	vm->mmu = mmu;
	vm->attached = true;
	return 0;
}

static void detach_mmu(struct vm *vm)
{
	if (vm->attached)
		vm->mmu->detach(vm);
	vm->attached = false;
}

static int enter_mmu(struct vm *vm, const struct mmu_ops *mmu, const struct cpu_state *cs)
{
	int r = attach_mmu(vm, mmu);

	if (r < 0)
		return r;
	r = mmu->import_state(&vm->vcpu, cs);
	if (r < 0)
		detach_mmu(vm);
	return r;
}

/*
 * Between two modes KVM forgets what it knows of guest RAM: while one mode ran, the VMM may have written tables that KVM
 * shadows for the other.
 */
static int forget_translations(struct vm *vm)
{
	int r = dirty_settle(&vm->dirty);

	return r < 0 ? r : slots_forget(&vm->slots);
}

/* Requests of disks may be under way: they know nothing of the vCPU. */
static int export_vcpu(struct vm *vm, struct cpu_state *cs)
{
	int r;

	debug_take_out(vm);
	r = vcpu_drain(&vm->vcpu);
	if (r < 0 || vm_ended(vm))
		return r;
	return vm->mmu->export_state(&vm->vcpu, cs);
}

int vm_settle(struct vm *vm, struct cpu_state *cs)
{
	int r = export_vcpu(vm, cs);

	if (r == 0 && !vm_ended(vm))
		virtio_devices_settle(&vm->virtio);
	return r;
}

int vm_change_mmu(struct vm *vm, const struct mmu_ops *to)
{
	const struct mmu_ops *from = vm->mmu;
	struct cpu_state cs;
	int r = export_vcpu(vm, &cs);

	if (r < 0 || vm_ended(vm) || from == to)
		return r;
	from->window(&vm->vcpu, false); /* a wish of the old mode would stop the new one */
	detach_mmu(vm);
	r = forget_translations(vm);
	if (r == 0)
		r = enter_mmu(vm, to, &cs);
	if (r < 0 && enter_mmu(vm, from, &cs) < 0)
		vm_fail(vm, "neither --mmu=%s nor back to --mmu=%s: %s", to->name, from->name, strerror(-r));
	return r;
}

int vm_go_on_from(struct vm *vm, const struct cpu_state *cs)
{
	int r;

	vm->mmu->window(&vm->vcpu, false);
	if (vm->mmu->move)
		return vm->mmu->move(&vm->vcpu, cs);
	detach_mmu(vm);
	r = forget_translations(vm);
	return r < 0 ? r : enter_mmu(vm, vm->mmu, cs);
}

static void on_exit_port(void *arg, uint8_t code)
{
	vm_end(arg, VM_EXITED, code, "the guest ended with code %u", code);
}

static void on_pc_reset(void *arg, const char *how)
{
	vm_end(arg, VM_EXITED, 0, "the guest reset the machine by %s", how);
}

static void on_pc_end(void *arg, enum pc_end end, uint8_t status)
{
	if (end == PC_RESET)
		on_pc_reset(arg, "a reset port");
	else if (end == PC_POWER_OFF)
		vm_end(arg, VM_EXITED, status, "the guest switched the machine off");
	else
		vm_end(arg, VM_EXITED, status, "the guest ended with status %u by the debug-exit port", status);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct irq_line line(struct vm *vm, unsigned int n)
{
	return (struct irq_line){.set = pic_set_irq, .controller = &vm->pic, .n = n};
}

static void add_devices(struct vm *vm, const struct vm_config *config)
{
	bus_init(&vm->bus);
	clock_init(&vm->clock, NULL, NULL, wall_ns());
	pic_init(&vm->pic, &vm->bus);
	pit_init(&vm->pit, &vm->bus, &vm->clock, line(vm, IRQ_TIMER));
	uart_init(&vm->uart, &vm->bus, line(vm, IRQ_COM1), console_put, &vm->console);
	rtc_init(&vm->rtc, &vm->bus, &vm->clock, line(vm, IRQ_RTC));
	if (image_is_pc(vm->image)) {
		i8042_init(&vm->keyboard, &vm->bus, line(vm, IRQ_KEYBOARD), on_pc_reset, vm);
		pci_init(&vm->pci, &vm->bus);
		pc_power_init(&vm->power, &vm->bus, &vm->pci, on_pc_end, vm);
	} else if (vm->image->kind == IMAGE_SOLO5) {
		solo5_device_init(&vm->solo5, vm);
	} else {
		abi_device_init(&vm->abi, &vm->bus, &vm->clock, on_exit_port, vm);
	}
	virtio_devices_init(&vm->virtio, vm, config);
}

/* Sets the first vCPU before its next instruction. */
static int boot(struct vm *vm, const struct vm_config *config)
{
	const struct vm_origin *origin = config->origin;
	struct cpu_state cs;
	int r = origin ? origin->bring(origin, vm, &cs) : boot_image(vm, config, &cs);

	return r < 0 ? r : vm->mmu->import_state(&vm->vcpu, &cs);
}

static int make_cpu(struct vm *vm, const struct vm_config *config)
{
	const struct kvm_cpuid2 *supported = config->kvm->supported;

	if (config->origin)
		return cpu_model_recreate(&config->origin->cpu, supported, &vm->cpuid, &vm->abi_cpu);
	return cpu_model_create(config->cpu, supported, &vm->cpuid, &vm->abi_cpu);
}

int vm_create(struct vm *vm, const struct vm_config *config)
{
	int r;

	*vm = (struct vm){.kvm = config->kvm, .image = config->image, .mmu = config->mmu, .number = config->number};
	add_devices(vm, config);
	r = solo5_units_open(&vm->solo5.units, config->image, config->solo5, config->solo5_absent);
	if (r < 0)
		goto devices;
	r = console_init(&vm->console, vm, &config->console);
	if (r < 0)
		goto units;
	r = mem_create(&vm->mem, config->mem, config->huge);
	if (r < 0)
		goto console;
	r = make_cpu(vm, config);
	if (r < 0)
		goto mem;
	vm->fd = r = kvm_create_vm(config->kvm);
	if (r < 0)
		goto cpuid;
	r = slots_create(&vm->slots, vm->fd, &vm->mem);
	if (r < 0)
		goto close;
	dirty_init(&vm->dirty, &vm->mem, &vm->slots);
	userfault_init(&vm->userfault, &vm->mem, on_ram_lost, vm);
	r = vcpu_create(&vm->vcpu, vm);
	if (r < 0)
		goto dirty;
	r = attach_mmu(vm, config->mmu);
	if (r < 0)
		goto vcpu;
	r = boot(vm, config);
	if (r == 0 && config->steerer)
		r = config->steerer->begin(config->steerer, vm);
	if (r == 0 && config->debug)
		r = debug_attach(config->debug, vm);
	if (r < 0)
		goto detach;
	return 0;
detach:
	detach_mmu(vm);
vcpu:
	vcpu_destroy(&vm->vcpu);
dirty:
	userfault_destroy(&vm->userfault);
	dirty_destroy(&vm->dirty);
	slots_destroy(&vm->slots);
close:
	close(vm->fd);
cpuid:
	free(vm->cpuid);
mem:
	mem_destroy(&vm->mem);
console:
	console_destroy(&vm->console);
units:
	solo5_units_close(&vm->solo5.units);
devices:
	virtio_devices_destroy(&vm->virtio);
	return r;
}

void vm_destroy(struct vm *vm)
{
	while (vm->kept) {
		struct vm_keep *k = vm->kept;

		vm->kept = k->next;
		k->end(k, vm);
	}
	virtio_devices_destroy(&vm->virtio);
	userfault_destroy(&vm->userfault); /* its thread may kick the vCPU */
	detach_mmu(vm);
	vcpu_destroy(&vm->vcpu);
	dirty_destroy(&vm->dirty);
	slots_destroy(&vm->slots);
	close(vm->fd);
	free(vm->cpuid);
	mem_destroy(&vm->mem);
	console_destroy(&vm->console);
	solo5_units_close(&vm->solo5.units);
}
