#include "shadow/debug_stop.h"

#include "shadow/shadow_vm.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

static uint32_t denied_by(const struct debug_point *p)
{
	static const uint32_t denied[] = {[DEBUG_HARDWARE_BREAK] = GUARD_EXEC, [DEBUG_WATCH_WRITE] = GUARD_WRITE,
					  [DEBUG_WATCH_READ] = GUARD_ALL, [DEBUG_WATCH_ACCESS] = GUARD_ALL};

	return denied[p->kind];
}

static unsigned int add_guard(struct tables_guard *g, unsigned int count, const struct debug_point *p)
{
	unsigned int i = 0;

	while (i < count && g[i].gfn != p->gpa >> PAGE_SHIFT)
		i++;
	if (i == count)
		g[count++] = (struct tables_guard){.gfn = p->gpa >> PAGE_SHIFT};
	g[i].denies |= denied_by(p);
	return count;
}

static int points_changed(struct vm *vm)
{
	struct shadow_vm *s = vm->mmu_data;
	struct tables_guard guard[TABLES_MAX_GUARDS] = {0};
	unsigned int count = 0;

	_Static_assert(TABLES_MAX_GUARDS >= DEBUG_POINTS_MAX, "each has a page of its own at most");
	for (unsigned int i = 0; i < vm->debug->count; i++) {
		if (vm->debug->point[i].kind != DEBUG_BREAK)
			count = add_guard(guard, count, &vm->debug->point[i]);
	}
	tables_guard(s->tables, guard, count);
	return 0;
}

static const struct cpu_state *registers(struct vm *vm)
{
	return &((struct shadow_vm *)vm->mmu_data)->cs;
}

static void shadow_walk(struct vm *vm, uint64_t gva, uint64_t *entry)
{
	const struct shadow_vm *s = vm->mmu_data;

	tables_show(s->tables, &s->cs, shadow_view(s), gva, entry);
}

const struct debug_mmu_ops debug_stop_ops = {.points_changed = points_changed, .registers = registers, .shadow_walk = shadow_walk};

/* Bytes that the instruction at RIP may touch at one place, about. */
static uint32_t operand_size(struct shadow_vm *s)
{
	uint32_t most = 1;
	struct insn in;
	struct trap trap;

	if (insn_fetch(&s->gmem, &in, &trap) != INSN_DONE)
		return most;
	for (unsigned int i = 0; i < in.info.operand_count; i++) {
		if (in.op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in.op[i].size / 8 > most)
			most = in.op[i].size / 8;
	}
	return most;
}

void debug_stop_guarded(struct shadow_vm *s, uint64_t gva, unsigned int access, uint64_t gpa)
{
	if (!(access & MMU_EXEC))
		debug_touch(s->vm->debug, gva, operand_size(s), access);
	else if (gva == s->cs.rip && debug_break(s->vm->debug, DEBUG_HARDWARE_BREAK, gva, gpa))
		tables_close_guards(s->tables);
}

bool debug_stop_int3(struct shadow_vm *s)
{
	struct walk w;

	if (!s->vm->debug)
		return false;
	walk_guest(&s->vm->mem, &s->cs, s->cs.rip, MMU_EXEC | gmem_user(&s->cs), &w);
	if (w.fault || !debug_break(s->vm->debug, DEBUG_BREAK, s->cs.rip, w.gpa))
		return false;
	s->again = true;
	return true;
}

bool debug_stop_unfetched(struct shadow_vm *s, uint64_t gva)
{
	if (!s->vm->debug || gva != s->cs.rip || !debug_break_unfetched(s->vm))
		return false;
	s->again = true;
	return true;
}

void debug_stop_executed(struct shadow_vm *s, bool is_access)
{
	if (!s->vm->debug || s->again)
		return;
	tables_close_guards(s->tables);
	if (!vm_ended(s->vm))
		debug_executed(s->vm, is_access);
}

bool debug_stop_wants_step(const struct shadow_vm *s)
{
	return s->vm->debug && (s->vm->debug->stepping || tables_guards_open(s->tables));
}
