/*
 * States that no guest would be found in by itself, imported: RIP where no code can be, any RFLAGS, any RSP. The guest's next step
 * is a fault, which must arrive with the right frame, and never end the VM. So must that of an instruction at the end
 * of the lower half, after which RIP is not canonical.
 */
#include <stdlib.h>
#include <string.h>

#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "shadow/shadow.h"
#include "tests/unit/random.h"
#include "tests/vm/assembled.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"
#include "vmm/walk.h"

#define VECTOR_GP 13
#define VECTOR_PF 14
#define ROUNDS 60
#define RFLAGS_TF 0x100ull
#define RFLAGS_ANY 0x3d7fd7ull /* all that can be set in long mode */
#define RFLAGS_NT 0x4000ull
#define RAM_END 0x1000000ull

static bool canonical(uint64_t gva)
{
	return (int64_t)(gva << 16) >> 16 == (int64_t)gva;
}

/* NT does not survive in ring 3 where that runs on the real CPU under a KVM without hardware virtualisation. */
static uint64_t unsure_flags(void)
{
	return RFLAGS_RF | (mmu_is_shadow() && host_mmu_detect("").ring0_interpreted ? RFLAGS_NT : 0);
}

/* What the handler found on its stack: with the error code at the lowest address. */
static void check_frame(struct assembled *a, uint64_t top, uint64_t rip, uint64_t rflags)
{
	ck_assert_uint_eq(assembled_peek(a, top - 40), rip);
	ck_assert_uint_eq((assembled_peek(a, top - 24) ^ rflags) & ~unsure_flags(), 0);
	if (!canonical(rip))
		ck_assert_uint_eq(assembled_peek(a, top - 48), 0);
}

static void check_end(const struct assembled *a, uint64_t rip)
{
	ck_assert_msg(a->vm.end.kind == VM_EXITED && a->vm.end.code == (canonical(rip) ? VECTOR_PF : VECTOR_GP),
		      "RIP 0x%lx: %s", (unsigned long)rip, a->vm.end.reason);
}

/* Somewhere with nothing mapped; mostly near a border of the canonical addresses. */
static uint64_t pick_rip(struct random *r)
{
	static const uint64_t near[] = {0, 1ull << 47, 0xffff7fffffffffff, 0xffff800000000000, 1ull << 63, ~0ull};
	uint64_t rip = near[random_below(r, 6)] + random_below(r, 1 << 20) - (1 << 19);

	if (random_below(r, 4) == 0)
		rip = random_next(r);
	return rip < RAM_END ? rip + (1ull << 47) : rip;
}

static void try_state(const struct kvm *kvm, struct random *r, bool user)
{
	uint64_t rip = pick_rip(r), rflags = random_next(r) & ~RFLAGS_TF;
	struct assembled a;

	assembled_open(&a, kvm);
	if (user) {
		assembled_user(&a);
		a.cs.gpr[CPU_RSP] = random_next(r);
	}
	a.cs.rip = rip;
	a.cs.rflags = mmu_is_shadow() ? rflags : (rflags & RFLAGS_ANY) | RFLAGS_ONE;
	assembled_run(&a);
	check_end(&a, rip);
	check_frame(&a, user ? ASSEMBLED_HANDLER_STACK : ASSEMBLED_STACK, rip, (rflags & RFLAGS_ANY) | RFLAGS_ONE);
	assembled_close(&a);
}

/* What a KVM that runs ring 3 on the real CPU makes of such a RIP in direct mode is its own matter, and the host's risk. */
START_TEST(test_random)
{
	bool native = host_mmu_detect("").ring0_interpreted && !mmu_is_shadow();
	struct random r = random_start("imports");
	struct kvm kvm;

	inside_open(&kvm);
	for (int i = 0; i < ROUNDS; i++)
		try_state(&kvm, &r, !native && random_below(&r, 2));
	kvm_close(&kvm);
}
END_TEST

#define PDPT_TOP 0x620000ull
#define PD_TOP 0x621000ull
#define LAST_PAGE 0xa00000ull /* the frame of the last 2 MiB below 1 << 47 */

static void map_last_page(struct assembled *a)
{
	const uint64_t flags = PTE_P | PTE_W | PTE_U | PTE_A;

	assembled_poke(a, a->cs.cr3 + 8 * 255, PDPT_TOP | flags);
	assembled_poke(a, PDPT_TOP + 8 * 511, PD_TOP | flags);
	assembled_poke(a, PD_TOP + 8 * 511, LAST_PAGE | flags | PTE_D | PTE_PS);
}

/* The last instruction below the gap: CLI, which shadow mode emulates. */
START_TEST(test_edge)
{
	const uint8_t cli = 0xfa;
	struct assembled a;
	struct kvm kvm;

	inside_open(&kvm);
	assembled_open(&a, &kvm);
	map_last_page(&a);
	ck_assert_int_eq(mem_write(&a.vm.mem, LAST_PAGE + (1 << 21) - 1, &cli, 1), 0);
	a.cs.rip = (1ull << 47) - 1;
	assembled_run(&a);
	check_end(&a, 1ull << 47);
	check_frame(&a, ASSEMBLED_STACK, 1ull << 47, RFLAGS_ONE);
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

/* A guest that is not in long mode stays where it is, and can go on there. */
START_TEST(test_refused)
{
	struct assembled a;
	struct kvm kvm;

	inside_open(&kvm);
	assembled_open_in(&a, &kvm, &ept_mmu);
	a.cs.cr0 &= ~CR0_PG;
	a.cs.efer &= ~(EFER_LMA | EFER_LME);
	a.cs.segment[CPU_CS].attributes = 0xc9b;
	ck_assert_int_eq(a.vm.mmu->import_state(&a.vm.vcpu, &a.cs), 0);
	ck_assert_int_lt(vm_change_mmu(&a.vm, &shadow_mmu), 0);
	ck_assert(!vm_ended(&a.vm));
	ck_assert_ptr_eq(a.vm.mmu, &ept_mmu);
	ck_assert_int_eq(a.vm.mmu->export_state(&a.vm.vcpu, &a.cs), 0);
	ck_assert(!(a.cs.cr0 & CR0_PG));
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {test_random, test_edge, test_refused};

	return RUN_TESTS("imports", tests);
}
