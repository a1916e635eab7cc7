/*
 * Which pages a guest uses, asked while it runs: it goes round a list of addresses that the test gives it, reading, writing and
 * calling, in either ring. After some rounds exactly the pages that these addresses lead to have been used, and those that going
 * round takes: code, list, stack and tables. Other names of the same pages, and tables that are written to, are among them.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/assembled.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"
#include "vmm/run.h"
#include "vmm/walk.h"

#define LIST 0x900000ull
#define COUNT 0x900f00ull /* rounds so far */
#define LIST_MAX 200u
#define FRAMES 0xa00000ull /* what the addresses lead to */
#define FRAME_COUNT 512u
#define ALIAS 0x40000000ull /* the frames once more, in another order, by small pages */
#define ALIAS_PD 0x620000ull
#define ALIAS_PT 0x621000ull
#define FREE_TABLE 0x622000ull /* a table in use, of which only the first entry is */
#define FREE_TABLE_GVA 0x80000000ull
#define PAGES (16u << 8)
#define TRIALS 12
#define ROUNDS 2u

/* In an address of the list. */
#define WRITE 1u
#define CALL 2u

static const uint8_t code[] = {
	0xbe, 0, 0, 0x90, 0,			/* start: mov $LIST, %esi */
	0x48, 0xad,				/* next: lodsq */
	0x48, 0x85, 0xc0, 0x74, 0x14,		/* test %rax, %rax; jz end */
	0xa8, WRITE, 0x75, 0x08,		/* test $WRITE, %al; jnz write */
	0xa8, CALL, 0x75, 0x08,			/* test $CALL, %al; jnz call */
	0x8a, 0x18, 0xeb, 0xed,			/* mov (%rax), %bl; jmp next */
	0xfe, 0x00, 0xeb, 0xe9,			/* write: incb (%rax); jmp next */
	0xff, 0xd0, 0xeb, 0xe5,			/* call: call *%rax; jmp next */
	0x48, 0xff, 0x04, 0x25, 0, 0x0f, 0x90, 0, /* end: incq COUNT */
	0xeb, 0xd6,				/* jmp start */
};

struct trial {
	struct vcpu_work work;
	sem_t done;
	uint64_t list[LIST_MAX + 1];	/* to be written; nothing where the first is zero */
	uint64_t said[PAGES / 64];
	int result;
};

static void run_work(struct vcpu_work *w, struct vm *vm)
{
	struct trial *t = (struct trial *)w;

	if (t->list[0])
		ck_assert_int_eq(mem_write(&vm->mem, LIST, t->list, sizeof(t->list)), 0);
	memset(t->said, 0, sizeof(t->said));
	t->result = vm->mmu->accessed(vm, t->said);
	sem_post(&t->done);
}

static void ask(struct trial *t, struct vm *vm)
{
	t->work.run = run_work;
	ck_assert(vcpu_post(&vm->vcpu, &t->work));
	sem_wait(&t->done);
}

/* The guest has been through its list from beginning to end. */
static void let_go_round(struct vm *vm)
{
	const uint64_t *count = mem_at(&vm->mem, COUNT, sizeof(*count), MEM_READ);
	uint64_t before = __atomic_load_n(count, __ATOMIC_RELAXED);

	while (__atomic_load_n(count, __ATOMIC_RELAXED) < before + ROUNDS && !vm_ended(vm))
		usleep(100);
}

static void map_alias(struct assembled *a, struct random *r)
{
	const uint64_t flags = PTE_P | PTE_W | PTE_U | PTE_A;
	const uint64_t pdpt = assembled_peek(a, a->cs.cr3) & PTE_ADDR;

	assembled_poke(a, pdpt + 8, ALIAS_PD | flags);
	assembled_poke(a, ALIAS_PD, ALIAS_PT | flags);
	for (uint64_t i = 0; i < FRAME_COUNT; i++)
		assembled_poke(a, ALIAS_PT + 8 * i, (FRAMES + random_below(r, FRAME_COUNT) * PAGE_SIZE) | flags | PTE_D);
	assembled_poke(a, pdpt + 16, ALIAS_PD | flags);
	assembled_poke(a, ALIAS_PD + 8, FREE_TABLE | flags);
	assembled_poke(a, FREE_TABLE, FRAMES | flags | PTE_D);
}

/* An address of a frame, or now and then of a table. */
static uint64_t pick(struct random *r)
{
	uint64_t frame = random_below(r, FRAME_COUNT) * PAGE_SIZE;
	unsigned int kind = (unsigned int)random_below(r, 3);

	if (random_below(r, 50) == 0)
		return (FREE_TABLE + 0x800) | WRITE;
	return (random_below(r, 2) ? FRAMES : ALIAS) + frame + kind;
}

static void make_list(struct trial *t, struct random *r)
{
	size_t count = 1 + random_below(r, LIST_MAX);

	memset(t->list, 0, sizeof(t->list));
	for (size_t i = 0; i < count; i++)
		t->list[i] = pick(r);
}

enum use { USED = 1, MAY_BE_USED };

static void expect_walk(struct assembled *a, uint64_t gva, uint8_t *uses)
{
	struct walk w;

	walk_guest(&a->vm.mem, &a->cs, gva, MMU_READ, &w);
	ck_assert(!w.fault);
	uses[w.gpa / PAGE_SIZE] = USED;
	for (int level = WALK_LEVELS; level >= w.level; level--)
		uses[w.gpte_gpa[level] / PAGE_SIZE] |= USED;
}

/* The stack by what calls; all else every round. */
static void check_said(struct assembled *a, const struct trial *t)
{
	uint8_t uses[PAGES] = {0};

	expect_walk(a, ASSEMBLED_CODE, uses);
	expect_walk(a, LIST, uses);
	for (size_t i = 0; t->list[i]; i++) {
		expect_walk(a, t->list[i], uses);
		if (t->list[i] & CALL)
			expect_walk(a, ASSEMBLED_STACK - 8, uses);
	}
	for (uint64_t i = 0; i < PAGES; i++)
		ck_assert_msg((t->said[i / 64] >> i % 64 & 1) == (uses[i] == USED), "page 0x%lx: used %d, said %d",
			      (unsigned long)(i * PAGE_SIZE), uses[i], (int)(t->said[i / 64] >> i % 64 & 1));
}

static void *run_guest(void *arg)
{
	struct vm *vm = arg;

	run_vm(vm);
	vcpu_close_mailbox(&vm->vcpu);
	return NULL;
}

static void try_lists(struct assembled *a, struct random *r)
{
	struct trial t = {.list = {0}};

	sem_init(&t.done, 0, 0);
	ask(&t, &a->vm);
	ck_assert_int_eq(t.result, 0);
	for (int i = 0; i < TRIALS; i++) {
		make_list(&t, r);
		ask(&t, &a->vm);
		let_go_round(&a->vm);
		/* What it had been at is behind it: from here on it is this list alone. */
		ask(&t, &a->vm);
		let_go_round(&a->vm);
		ask(&t, &a->vm);
		ck_assert_int_eq(t.result, 1);
		check_said(a, &t);
	}
}

static void prepare_guest(struct assembled *a, struct random *r, bool user)
{
	if (user)
		assembled_user(a);
	assembled_code(a, code, sizeof(code));
	map_alias(a, r);
	for (uint64_t i = 0; i < FRAME_COUNT; i++)
		ck_assert_int_eq(mem_write(&a->vm.mem, FRAMES + i * PAGE_SIZE + CALL, "\xc3", 1), 0);
	ck_assert_int_eq(a->vm.mmu->import_state(&a->vm.vcpu, &a->cs), 0);
}

START_TEST(test_used)
{
	struct random r = random_start("accessed");
	struct assembled a;
	struct kvm kvm;
	pthread_t thread;

	inside_open(&kvm);
	assembled_open(&a, &kvm);
	ck_assert((a.vm.mmu->accessed != NULL) == mmu_is_shadow());
	if (a.vm.mmu->accessed) {
		prepare_guest(&a, &r, _i);
		ck_assert_int_eq(pthread_create(&thread, NULL, run_guest, &a.vm), 0);
		try_lists(&a, &r);
		vm_ask_end(&a.vm, VM_STOPPED);
		pthread_join(thread, NULL);
		ck_assert_msg(a.vm.end.kind == VM_STOPPED, "%s", a.vm.end.reason);
	}
	assembled_close(&a);
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	return run_loop_test("accessed", test_used, 2);
}
