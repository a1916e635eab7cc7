#include "vmm/debug.h"

#include <errno.h>
#include <string.h>

#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

#define INT3 0xccu

int debug_attach(struct debug *d, struct vm *vm)
{
	if (!vm->mmu->debug)
		return log_bad(ENOTSUP, "%s: the debugger does not work with --mmu=%s; try --mmu=shadow", vm->image->path, vm->mmu->name);
	vm->debug = d;
	return 0;
}

static void place(struct vm *vm, struct debug_point *p)
{
	if (p->placed)
		return;
	p->placed = vm->mmu->translate(&vm->vcpu, p->gva, MMU_READ, &p->gpa) == 0;
	p->cr3 = vm->mmu->debug->registers(vm)->cr3;
}

/* Not by MEM_WRITE: see invariant 2. The guest may have written there, or given the page to somebody else: then nothing is ours. */
static void exchange(struct vm *vm, struct debug_point *p, uint8_t byte)
{
	uint8_t *at = mem_at(&vm->mem, p->gpa, 1, MEM_READ);

	if (!at || (p->in && *at != INT3))
		return;
	p->byte = *at;
	*at = byte;
}

static void put_in(struct vm *vm, struct debug_point *p)
{
	if (p->kind != DEBUG_BREAK || p->in || !p->placed)
		return;
	exchange(vm, p, INT3);
	p->in = true;
}

static void take_out(struct vm *vm, struct debug_point *p)
{
	if (!p->in)
		return;
	exchange(vm, p, p->byte);
	p->in = false;
}

void debug_place(struct vm *vm)
{
	struct debug *d = vm->debug;

	for (unsigned int i = 0; d && i < d->count; i++)
		place(vm, &d->point[i]);
}

void debug_put_in(struct vm *vm)
{
	struct debug *d = vm->debug;

	if (!d || d->stepping)
		return;
	for (unsigned int i = 0; i < d->count; i++)
		put_in(vm, &d->point[i]);
	if (d->own.size)
		put_in(vm, &d->own);
}

/* Where two lie on one byte the last one in goes first. */
void debug_take_out(struct vm *vm)
{
	struct debug *d = vm->debug;

	if (!d)
		return;
	take_out(vm, &d->own);
	for (unsigned int i = d->count; i--;)
		take_out(vm, &d->point[i]);
}

static struct debug_point *find(struct debug *d, enum debug_kind kind, uint64_t gva, uint32_t size)
{
	for (unsigned int i = 0; i < d->count; i++) {
		struct debug_point *p = &d->point[i];

		if (p->kind == kind && p->gva == gva && (p->size == size || !debug_is_watch(kind)))
			return p;
	}
	return NULL;
}

/* A watch lies in one page: what is behind it may be anywhere. */
static int check_size(enum debug_kind kind, uint64_t gva, uint32_t size)
{
	if (!debug_is_watch(kind))
		return 0;
	if (!size || size > DEBUG_WATCH_MOST || gva % PAGE_SIZE + size > PAGE_SIZE)
		return -E2BIG;
	return 0;
}

/* Only an INT3 can be put in later. */
static int start(struct vm *vm, struct debug_point *p)
{
	place(vm, p);
	if (p->kind == DEBUG_BREAK)
		return 0;
	if (!p->placed || mem_read(&vm->mem, p->gpa, p->value, debug_is_watch(p->kind) ? p->size : 1) < 0)
		return -EFAULT;
	return 0;
}

int debug_insert(struct vm *vm, enum debug_kind kind, uint64_t gva, uint32_t size)
{
	struct debug *d = vm->debug;
	struct debug_point p = {.kind = kind, .gva = gva, .size = size};
	int r = check_size(kind, gva, size);

	if (r == 0 && find(d, kind, gva, size))
		r = -EEXIST;
	if (r == 0 && d->count == DEBUG_POINTS_MAX)
		r = -ENOSPC;
	if (r == 0)
		r = start(vm, &p);
	if (r < 0)
		return r;
	d->point[d->count++] = p;
	return vm->mmu->debug->points_changed(vm);
}

int debug_remove(struct vm *vm, enum debug_kind kind, uint64_t gva, uint32_t size)
{
	struct debug *d = vm->debug;
	struct debug_point *p = find(d, kind, gva, size);

	if (!p)
		return -ENOENT;
	take_out(vm, p);
	d->count--;
	memmove(p, p + 1, (size_t)(d->point + d->count - p) * sizeof(*p));
	return vm->mmu->debug->points_changed(vm);
}

int debug_set(struct vm *vm, const struct debug_point *point, unsigned int count)
{
	struct debug *d = vm->debug;

	debug_take_out(vm);
	if (count)
		memcpy(d->point, point, count * sizeof(*point));
	d->count = count;
	for (unsigned int i = 0; i < count; i++) {
		d->point[i].in = false;
		if (debug_is_watch(point[i].kind))
			mem_read(&vm->mem, point[i].gpa, d->point[i].value, point[i].size);
	}
	return vm->mmu->debug->points_changed(vm);
}

void debug_remove_own(struct vm *vm)
{
	take_out(vm, &vm->debug->own);
	vm->debug->own = (struct debug_point){0};
}

void debug_set_own(struct vm *vm, uint64_t gva, uint64_t gpa, uint64_t cr3)
{
	debug_take_out(vm);
	vm->debug->own = (struct debug_point){.kind = DEBUG_BREAK, .gva = gva, .gpa = gpa, .cr3 = cr3, .size = 1, .placed = true};
}

/* One that has waited for the page has it now. */
static bool is_at(const struct debug_point *p, enum debug_kind kind, uint64_t gva, uint64_t gpa)
{
	return p->kind == kind && p->gva == gva && (!p->placed || p->gpa == gpa);
}

static bool has_break(const struct debug *d, enum debug_kind kind, uint64_t gva, uint64_t gpa)
{
	for (unsigned int i = 0; i < d->count; i++) {
		if (is_at(&d->point[i], kind, gva, gpa))
			return true;
	}
	return false;
}

static bool stands_at(struct vm *vm, const struct debug_point *p)
{
	const struct cpu_state *cs = vm->mmu->debug->registers(vm);
	uint64_t gpa;

	if (debug_is_watch(p->kind) || p->gva != cs->rip)
		return false;
	if (vm->mmu->translate(&vm->vcpu, cs->rip, MMU_READ, &gpa) < 0)
		return !p->placed || p->cr3 == cs->cr3;
	return !p->placed || p->gpa == gpa;
}

bool debug_is_at_break(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->debug->count; i++) {
		if (stands_at(vm, &vm->debug->point[i]))
			return true;
	}
	return false;
}

bool debug_is_at_own(struct vm *vm)
{
	return vm->debug->own.size && stands_at(vm, &vm->debug->own);
}

/* What was noted first stays. */
static void note(struct debug *d, enum debug_why why, enum debug_kind kind, uint64_t gva)
{
	if (d->stopped)
		return;
	d->stopped = true;
	d->stop = (struct debug_stop){.why = why, .kind = kind, .gva = gva};
}

bool debug_break(struct debug *d, enum debug_kind kind, uint64_t gva, uint64_t gpa)
{
	if (d->stepping)
		return false;
	if (has_break(d, kind, gva, gpa))
		note(d, DEBUG_POINT, kind, gva);
	else if (d->own.size && is_at(&d->own, kind, gva, gpa))
		note(d, DEBUG_OWN_BREAK, kind, gva);
	else
		return false;
	return true;
}

bool debug_break_unfetched(struct vm *vm)
{
	struct debug *d = vm->debug;
	uint64_t rip = vm->mmu->debug->registers(vm)->rip;

	if (d->stepping)
		return false;
	if (debug_is_at_break(vm))
		note(d, DEBUG_POINT, DEBUG_BREAK, rip);
	else if (debug_is_at_own(vm))
		note(d, DEBUG_OWN_BREAK, DEBUG_BREAK, rip);
	return d->stopped;
}

static bool overlap(const struct debug_point *p, uint64_t gva, uint32_t size)
{
	return gva < p->gva + p->size && p->gva < gva + size;
}

/* A write watch is met by another value, not by a write. */
static bool is_met(const struct debug_point *p, unsigned int access)
{
	return p->kind == DEBUG_WATCH_ACCESS || (p->kind == DEBUG_WATCH_READ && !(access & MMU_WRITE));
}

void debug_touch(struct debug *d, uint64_t gva, uint32_t size, unsigned int access)
{
	for (unsigned int i = 0; i < d->count; i++) {
		const struct debug_point *p = &d->point[i];

		if (!is_met(p, access) || !overlap(p, gva, size))
			continue;
		d->touched = true;
		d->touch = (struct debug_stop){.why = DEBUG_POINT, .kind = p->kind, .gva = p->gva};
	}
}

static bool has_changed(struct vm *vm, struct debug_point *p)
{
	uint8_t now[DEBUG_WATCH_MOST];

	if (mem_read(&vm->mem, p->gpa, now, p->size) < 0 || !memcmp(now, p->value, p->size))
		return false;
	memcpy(p->value, now, p->size);
	return true;
}

/* All are brought up to date, also when another was met first. */
static void note_changes(struct vm *vm)
{
	struct debug *d = vm->debug;

	for (unsigned int i = 0; i < d->count; i++) {
		struct debug_point *p = &d->point[i];

		if (debug_is_watch(p->kind) && has_changed(vm, p) && p->kind != DEBUG_WATCH_READ)
			note(d, DEBUG_POINT, p->kind, p->gva);
	}
}

void debug_was_put(struct vm *vm)
{
	struct debug *d = vm->debug;

	d->stopped = false;
	note_changes(vm);
	if (debug_is_at_break(vm))
		note(d, DEBUG_POINT, DEBUG_BREAK, vm->mmu->debug->registers(vm)->rip);
	d->stop.is_access = false;
}

void debug_executed(struct vm *vm, bool is_access)
{
	struct debug *d = vm->debug;

	if (d->touched)
		note(d, d->touch.why, d->touch.kind, d->touch.gva);
	d->touched = false;
	note_changes(vm);
	if (d->stepping)
		note(d, DEBUG_STEPPED, 0, 0);
	d->stop.is_access = is_access;
}
