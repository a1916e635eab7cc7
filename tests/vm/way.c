#include "tests/vm/way.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "replay/timeline.h"
#include "vmm/cpu_state.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

static uint64_t digest_of(const struct vm *vm, uint64_t page)
{
	return XXH3_64bits(mem_page_hva(&vm->mem, page), PAGE_SIZE);
}

static uint64_t pages(const struct vm *vm)
{
	return vm->mem.size / PAGE_SIZE;
}

void way_begin(struct way *w, struct vm *vm, bool executes)
{
	struct cpu_state cs;

	way_forget(w);
	w->digest = calloc(pages(vm), sizeof(*w->digest));
	ck_assert_ptr_nonnull(w->digest);
	w->from = vm->vcpu.port.position;
	for (uint64_t page = 0; page < pages(vm); page++)
		w->digest[page] = digest_of(vm, page);
	ck_assert_int_eq(vm_settle(vm, &cs), 0);
	if (!executes || cs.halted || vm->mmu->translate(&vm->vcpu, cs.rip, MMU_READ, &w->code) < 0)
		w->code = UINT64_MAX;
}

void way_end(struct way *w, struct vm *vm, const struct timeline *t)
{
	uint64_t to = vm->vcpu.port.position;

	if (!w->digest || to <= w->from)
		return;
	for (uint64_t page = 0; page < pages(vm); page++) {
		uint64_t gpa = mem_page_gpa(&vm->mem, page);
		bool written = timeline_may_write(t, w->from, to, gpa);

		ck_assert_msg(written || digest_of(vm, page) == w->digest[page], "%" PRIx64 " is written between %" PRIu64 " and %" PRIu64, gpa,
			      w->from, to);
		w->unwritten += !written;
		w->unused += !timeline_may_use(t, w->from, to, gpa);
	}
	ck_assert_msg(w->code == UINT64_MAX || timeline_may_use(t, w->from, to, w->code), "%" PRIx64 " is executed between %" PRIu64 " and %" PRIu64,
		      w->code, w->from, to);
	way_forget(w);
}

void way_forget(struct way *w)
{
	free(w->digest);
	w->digest = NULL;
}
