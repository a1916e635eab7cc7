#include "replay/debug_target.h"

#include <errno.h>

#include "replay/debug_monitor.h"
#include "replay/debugger.h"
#include "replay/gdb_server.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

static struct vm *vm_of(void *target)
{
	return ((struct debugger *)target)->travel.vm;
}

/* RF may be the doing of whatever stopped the guest: faults that it does not see set it (SDM vol. 3, 17.3.1.1). */
static int registers(void *target, struct cpu_state *cs)
{
	struct vm *vm = vm_of(target);
	int r = vm_settle(vm, cs);

	cs->rflags &= ~RFLAGS_RF;
	return r == 0 && vm_ended(vm) ? -ESRCH : r;
}

static int set_registers(void *target, const struct cpu_state *cs)
{
	struct vm *vm = vm_of(target);
	struct cpu_state now;
	int r = registers(target, &now);

	return r < 0 ? r : vm_go_on_from(vm, cs);
}

static int refuse_registers(void *target, const struct cpu_state *cs)
{
	return -EPERM;
}

static int read_memory(void *target, uint64_t gva, void *to, size_t size)
{
	struct vm *vm = vm_of(target);
	uint64_t gpa;

	if (vm->mmu->translate(&vm->vcpu, gva, MMU_READ, &gpa) < 0)
		return -EFAULT;
	return mem_read(&vm->mem, gpa, to, size);
}

/* Also where the guest itself may not write: code, say. */
static int write_memory(void *target, uint64_t gva, const void *from, size_t size)
{
	struct vm *vm = vm_of(target);
	const uint8_t *bytes = from;

	while (size) {
		uint64_t gpa, room = PAGE_SIZE - gva % PAGE_SIZE, part = size < room ? size : room;

		if (vm->mmu->translate(&vm->vcpu, gva, MMU_READ, &gpa) < 0 || mem_write(&vm->mem, gpa, bytes, part) < 0)
			return -EFAULT;
		gva += part;
		bytes += part;
		size -= part;
	}
	return 0;
}

static int refuse_memory(void *target, uint64_t gva, const void *from, size_t size)
{
	return -EPERM;
}

static enum debug_kind kind_of(enum gdb_point_kind kind)
{
	static const enum debug_kind kinds[] = {
		[GDB_POINT_BREAK] = DEBUG_BREAK,
		[GDB_POINT_HARDWARE_BREAK] = DEBUG_HARDWARE_BREAK,
		[GDB_POINT_WATCH] = DEBUG_WATCH_WRITE,
		[GDB_POINT_READ_WATCH] = DEBUG_WATCH_READ,
		[GDB_POINT_ACCESS_WATCH] = DEBUG_WATCH_ACCESS,
	};

	return kinds[kind];
}

static uint32_t size_of(const struct gdb_point *p)
{
	return p->size < UINT32_MAX ? (uint32_t)p->size : UINT32_MAX;
}

static int insert(void *target, const struct gdb_point *p)
{
	return debug_insert(vm_of(target), kind_of(p->kind), p->gva, size_of(p));
}

static void remove_point(void *target, const struct gdb_point *p)
{
	debug_remove(vm_of(target), kind_of(p->kind), p->gva, size_of(p));
}

static int monitor(void *target, const char *command, FILE *out)
{
	return debug_monitor(target, command, out);
}

static void interrupt(void *target)
{
	struct debugger *d = target;

	atomic_store(&d->travel.interrupted, true);
	vcpu_kick(&d->travel.vm->vcpu);
}

const struct gdb_target_ops debug_target_running = {
	.registers = registers,
	.set_registers = set_registers,
	.read = read_memory,
	.write = write_memory,
	.insert = insert,
	.remove = remove_point,
	.monitor = monitor,
	.interrupt = interrupt,
};

const struct gdb_target_ops debug_target_replayed = {
	.registers = registers,
	.set_registers = refuse_registers,
	.read = read_memory,
	.write = refuse_memory,
	.insert = insert,
	.remove = remove_point,
	.monitor = monitor,
	.interrupt = interrupt,
	.reverses = true,
};
