#include "shadow/shadow.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>

#include "guest/abi.h"
#include "shadow/admit.h"
#include "shadow/debug_stop.h"
#include "shadow/emulate.h"
#include "shadow/live_state.h"
#include "shadow/reflect.h"
#include "shadow/resume.h"
#include "shadow/scan.h"
#include "shadow/scan_host.h"
#include "shadow/shadow_vm.h"
#include "shadow/stop.h"
#include "shadow/traps.h"
#include "vmm/debug.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/slots.h"
#include "vmm/vm.h"

#define POOL_PAGES_MIN 448u
#define RAM_PAGES_PER_POOL_PAGE 64u /* one leaf table maps 512 pages; two views, sparse use */
#define POOL_PAGES_MAX 65536u

static uint32_t pool_pages(const struct mem *m)
{
	uint64_t pages = POOL_PAGES_MIN + m->size / PAGE_SIZE / RAM_PAGES_PER_POOL_PAGE;

	return pages < POOL_PAGES_MAX ? (uint32_t)pages : POOL_PAGES_MAX;
}

/* The VMM is about to store where a table may be: what the shadow knew of that page is given up. */
static void on_dirtied(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct shadow_vm *s = (struct shadow_vm *)((char *)l - offsetof(struct shadow_vm, listener));

	if (!s->gmem.storing)
		tables_forget(s->tables, gpa, size);
}

static void on_guest_store(struct gmem *g, uint64_t gpa, uint64_t size)
{
	tables_stored(shadow_of_gmem(g)->tables, gpa, size);
}

static void on_guest_walk(struct gmem *g, const struct walk *w, bool used)
{
	tables_walked(shadow_of_gmem(g)->tables, w, used);
}

static void use_shared_registers(struct vm *vm, bool on)
{
	vm->vcpu.run->kvm_valid_regs = on ? KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS : 0;
	vm->vcpu.run->kvm_dirty_regs = 0;
}

/* Refuses an image that this host would run wrongly in ring 3. */
static int create_patches(struct shadow_vm *s, struct vm *vm)
{
	struct image_reason why;
	struct scan_host host;
	struct scan scan;
	int r = scan_for_host(&scan, vm->image, vm->kvm, &host, &why);

	if (r < 0 && *why.text)
		return log_bad(-r, "%s: not with --mmu=shadow on this host: %s", vm->image->path, why.text);
	if (r < 0)
		return r;
	r = patches_create(&s->patches, &scan, &host);
	scan_free(&scan);
	return r;
}

static int create_tables(struct shadow_vm *s, struct vm *vm)
{
	struct tables_pool pool;
	int r = monitor_create(&s->monitor, vm->fd, SLOTS_FREE, pool_pages(&vm->mem));

	if (r < 0)
		return r;
	pool = monitor_pool(&s->monitor);
	s->tables = tables_create(&vm->mem, &pool, monitor_pml4e(&s->monitor));
	if (s->tables)
		return 0;
	monitor_destroy(&s->monitor);
	return -ENOMEM;
}

static int attach(struct vm *vm)
{
	const int needed = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	struct shadow_vm *s;
	int r;

	if ((kvm_capability(vm->fd, KVM_CAP_SYNC_REGS) & needed) != needed)
		return log_bad(ENOTSUP, "--mmu=shadow: this kernel's KVM does not share registers (KVM_CAP_SYNC_REGS)");
	s = calloc(1, sizeof(*s));
	if (!s)
		return log_errno(ENOMEM, "shadow");
	s->vm = vm;
	r = create_patches(s, vm);
	if (r < 0)
		goto free;
	r = create_tables(s, vm);
	if (r < 0)
		goto patches;
	s->gmem = (struct gmem){.mem = &vm->mem, .cs = &s->cs, .stored = on_guest_store, .walked = on_guest_walk,
				.device = emulate_device_access};
	s->listener.dirtied = on_dirtied;
	mem_listen(&vm->mem, &s->listener);
	use_shared_registers(vm, true);
	vm->abi_cpu |= ABI_CPU_SYSCALL;
	vm->mmu_data = s;
	return vm->debug ? debug_stop_ops.points_changed(vm) : 0;
patches:
	patches_destroy(&s->patches);
free:
	free(s);
	return r;
}

static void detach(struct vm *vm)
{
	struct shadow_vm *s = vm->mmu_data;

	if (!s)
		return;
	use_shared_registers(vm, false);
	mem_unlisten(&vm->mem, &s->listener);
	tables_destroy(s->tables);
	monitor_destroy(&s->monitor);
	patches_take_out(&s->patches, &vm->mem);
	patches_destroy(&s->patches);
	free(s);
	vm->mmu_data = NULL;
}

static enum mmu_verdict handle_event(struct shadow_vm *s)
{
	uint32_t error;
	int vector;

	if (stop_take_event(s, &vector, &error) < 0)
		vm_fail(s->vm, "shadow: the monitor lost its way");
	else
		trap_handle(s, vector, error);
	return MMU_DONE;
}

static enum mmu_verdict handle_exit(struct vcpu *v)
{
	const struct kvm_run *run = v->run;

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == MONITOR_PORT)
		return handle_event(v->vm->mmu_data);
	if (run->exit_reason == KVM_EXIT_INTR)
		return MMU_DONE;
	vm_fail(v->vm, "shadow: the monitor left the VM for reason %u", run->exit_reason);
	return MMU_DONE;
}

/* Brings cs up to date, through an event that was just being delivered if need be. */
static int settle(struct shadow_vm *s)
{
	int r = stop_catch_up(s);

	if (r > 0)
		handle_event(s);
	return r < 0 ? r : 0;
}

static int export_state(struct vcpu *v, struct cpu_state *cs)
{
	struct shadow_vm *s = v->vm->mmu_data;
	int r = settle(s);

	if (r < 0)
		return r;
	s->cs.halted = v->halted;
	patches_take_out(&s->patches, &v->vm->mem);
	if (s->where != SHADOW_OUTSIDE)
		r = live_state_get(s);
	*cs = s->cs;
	return r;
}

/* The guest's state from here on is *cs, and nothing of what was under way. */
static int take_state(struct vcpu *v, const struct cpu_state *cs)
{
	struct shadow_vm *s = v->vm->mmu_data;
	const char *why = admit_reason(cs);

	if (why)
		return log_bad(ENOTSUP, "%s: not with --mmu=shadow: %s", v->vm->image ? v->vm->image->path : "guest", why);
	s->cs = *cs;
	s->cs.rflags = admit_rflags(cs->rflags);
	s->where = SHADOW_OUTSIDE;
	s->shadow_rip = cs->rip;
	s->step = s->tf_added = s->stepped = false;
	s->wish.count = 0;
	s->reload = true;
	v->halted = cs->halted;
	return live_state_set(s);
}

static int import_state(struct vcpu *v, const struct cpu_state *cs)
{
	struct shadow_vm *s = v->vm->mmu_data;

	tables_drop_all(s->tables);
	return take_state(v, cs);
}

/*
 * What was being delivered when a kick came goes no further than the monitor. Tables that the VMM wrote to are forgotten already
 * (on_dirtied()), those that the guest wrote to unseen are read again.
 */
static int move(struct vcpu *v, const struct cpu_state *cs)
{
	struct shadow_vm *s = v->vm->mmu_data;
	int r = stop_catch_up(s);

	if (r < 0)
		return r;
	tables_take_back(s->tables);
	tables_close_guards(s->tables);
	patches_take_out(&s->patches, &v->vm->mem);
	r = take_state(v, cs);
	tables_load_cr3(s->tables, &s->cs);
	return r;
}

static int prepare(struct vcpu *v)
{
	struct shadow_vm *s = v->vm->mmu_data;
	int r = settle(s);

	if (r < 0 || vm_ended(v->vm))
		return r;
	if (v->vm->debug && v->vm->debug->stopped)
		return 0;
	reflect_pending(s);
	host_selectors_check(s);
	if (vm_ended(v->vm))
		return 0;
	patches_put_in(&s->patches, &v->vm->mem);
	return resume_prepare(s);
}

static bool interruptible(struct vcpu *v)
{
	struct shadow_vm *s = v->vm->mmu_data;

	if (settle(s) < 0 || !(s->cs.rflags & RFLAGS_IF))
		return false;
	return !s->cs.interrupt_shadow && !s->cs.exception.valid && !s->cs.interrupt.valid;
}

/*
 * Whatever makes a guest with IF = 0 interruptible is an exit anyway. An interrupt shadow ends without one: then the one
 * instruction it covers is stepped.
 */
static void window(struct vcpu *v, bool wanted)
{
	struct shadow_vm *s = v->vm->mmu_data;

	s->step = wanted && (s->cs.rflags & RFLAGS_IF) && s->cs.interrupt_shadow;
}

static int interrupt(struct vcpu *v, uint8_t vector)
{
	reflect_interrupt(v->vm->mmu_data, vector);
	return 0;
}

static int exception(struct vcpu *v, const struct cpu_event *event)
{
	struct shadow_vm *s = v->vm->mmu_data;
	int r = settle(s);

	s->cs.exception = *event;
	return r;
}

static int translate(struct vcpu *v, uint64_t gva, unsigned int access, uint64_t *gpa)
{
	struct shadow_vm *s = v->vm->mmu_data;
	struct walk w;
	int r = settle(s);

	if (r < 0)
		return r;
	walk_guest(&v->vm->mem, &s->cs, gva, access, &w);
	*gpa = w.gpa;
	return w.fault ? -EFAULT : 0;
}

/* Nothing may be under way that would go on in entries whose A has been noted. */
static int accessed(struct vm *vm, uint64_t *pages)
{
	struct shadow_vm *s = vm->mmu_data;
	int r = settle(s);

	if (r < 0)
		return r;
	if (pages)
		return tables_accessed(s->tables, pages);
	tables_ignore_accessed(s->tables);
	return 0;
}

static int rip(struct vcpu *v, uint64_t *rip)
{
	const struct shadow_vm *s = v->vm->mmu_data;
	bool in_ring3 = v->run->s.regs.sregs.ss.dpl == 3;

	*rip = s->where == SHADOW_RUNNING && in_ring3 ? v->run->s.regs.regs.rip : s->cs.rip;
	return 0;
}

static void stats(const struct vm *vm, struct mmu_stats *stats)
{
	const struct shadow_vm *s = vm->mmu_data;

	counters_report(&s->counters, s->tables, stats);
}

const struct mmu_ops shadow_mmu = {
	.name = "shadow",
	.check_image = scan_check,
	.attach = attach,
	.detach = detach,
	.export_state = export_state,
	.import_state = import_state,
	.move = move,
	.prepare = prepare,
	.handle_exit = handle_exit,
	.interruptible = interruptible,
	.window = window,
	.interrupt = interrupt,
	.exception = exception,
	.translate = translate,
	.accessed = accessed,
	.rip = rip,
	.stats = stats,
	.debug = &debug_stop_ops,
};
