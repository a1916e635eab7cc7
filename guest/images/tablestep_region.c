#include "guest/images/tablestep.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/trap.h"
#include "guest/lib/string.h"

#define VECTOR_DEBUG 1
#define RFLAGS_TF 0x100u
#define DATA_BITS (PTE_TABLE | PTE_D)

/* The head of boot.S's TSS. */
extern struct {
	uint32_t reserved;
	uint64_t rsp0;
} __attribute__((packed)) tss;

extern const uint8_t tablestep_user_text[], tablestep_user_text_end[], tablestep_kernel_traced_end[];

#define DECLARE(name)                                                                                                  \
	extern const uint8_t tablestep_user_##name[];                                                                  \
	uint64_t tablestep_kernel_##name(uint64_t gva, const void *image);

DECLARE(load)
DECLARE(read)
DECLARE(fxsave)
DECLARE(fnsave)
DECLARE(fnstenv)
DECLARE(stmxcsr)
DECLARE(movntq)
DECLARE(fst)
DECLARE(maskmovdqu)
DECLARE(pushfq)
uint64_t tablestep_kernel_traced(uint64_t gva, const void *image);

#define CODE(name) tablestep_user_##name, tablestep_kernel_##name

/* Where the last x87 instruction was is anybody's: AMD's FXRSTOR leaves it, and hosts clear it. */
const struct store stores[STORES] = {
	[STORE_FXSAVE] = { "fxsave", CODE(fxsave), 416, 6, 18, 512 },
	[STORE_MOVNTQ] = { "movntq", CODE(movntq), 8, 0, 0, 8 },
	{ "fnsave", CODE(fnsave), 108, 12, 16, 108 },
	{ "fnstenv", CODE(fnstenv), 28, 12, 16, 28 },
	{ "stmxcsr", CODE(stmxcsr), 4, 0, 0, 4 },
	{ "fst", CODE(fst), 8, 0, 0, 8 },
	{ "maskmovdqu", CODE(maskmovdqu), 16, 0, 0, 16 },
};

void paging_ring3(struct trap_frame *frame);
noreturn void paging_ring0(void);
noreturn void paging_on_own_stack(void (*run)(void));

struct region region;
static struct attempt now;
static bool armed;

/* Where ring 3 leaves its frame. */
static struct trap_frame user_frame __attribute__((aligned(16)));

static uint64_t zero_page(void)
{
	uint64_t gpa = page_alloc_zero();

	if (gpa == 0)
		panic("no page left");
	return gpa;
}

static uint64_t copy_of(uint64_t gpa)
{
	uint64_t copy = zero_page();

	memcpy(page_pointer(copy), page_pointer(gpa), PAGE_SIZE);
	return copy;
}

static void make_leaves(void)
{
	for (unsigned int i = 0; i < LEAVES; i++) {
		uint64_t table = zero_page();
		uint64_t page = zero_page();

		*(uint8_t *)page_pointer(page) = (uint8_t)SAYS(i);
		*(uint64_t *)page_pointer(table) = page | DATA_BITS;
		region.leaf[i] = table | PTE_TABLE;
	}
}

static void make_windows(uint64_t code)
{
	region.windows[0] = code | PTE_P | PTE_U | PTE_A;
	region.windows[1] = (uint64_t)region.image | DATA_BITS;
	for (unsigned int i = 0; i < WINDOWS; i++)
		region.windows[2 + i] = (uint64_t)region.window[i] | DATA_BITS;
}

static void make_region(void)
{
	uint64_t code = zero_page();
	uint64_t windows = zero_page();

	memcpy(page_pointer(code), tablestep_user_text, (size_t)(tablestep_user_text_end - tablestep_user_text));
	region.image = page_pointer(zero_page());
	region.windows = page_pointer(windows);
	for (unsigned int i = 0; i < WINDOWS; i++)
		region.window[i] = page_pointer(zero_page());
	region.root = (uint64_t)region.window[WINDOW_ROOT];
	region.window[WINDOW_ROOT][0] = kernel_pml4[0];
	region.window[WINDOW_ROOT][2] = (uint64_t)region.window[WINDOW_PDPT] | PTE_TABLE;
	region.window[WINDOW_ROOT][SELF_SLOT] = region.root | PTE_TABLE;
	region.window[WINDOW_PDPT][0] = (uint64_t)region.window[WINDOW_PD] | PTE_TABLE;
	region.window[WINDOW_PDPT][1] = (uint64_t)region.window[WINDOW_A] | PTE_TABLE;
	region.window[WINDOW_PDPT][2] = (uint64_t)region.window[WINDOW_B] | PTE_TABLE;
	region.window[WINDOW_PD][0] = windows | PTE_TABLE;
	make_windows(code);
	make_leaves();
	region.windows_copy = copy_of(windows) | PTE_TABLE;
	region.pd_copy = copy_of((uint64_t)region.window[WINDOW_PD]) | PTE_TABLE;
}

static void write_dr6(uint64_t value)
{
	__asm__ volatile("movq %0, %%dr6" : : "r"(value));
}

static uint64_t read_dr6(void)
{
	uint64_t value;

	__asm__ volatile("movq %%dr6, %0" : "=r"(value));
	return value;
}

static void page_fault(struct trap_frame *frame)
{
	if (!armed) {
		trap_unhandled(frame);
		return;
	}
	now.fault = true;
	now.error = frame->error;
	now.cr2 = read_cr2();
	if (trap_from_ring3(frame))
		paging_ring0();
	frame->rip = *(const uint64_t *)frame->rsp;
	frame->rsp += sizeof(uint64_t);
}

static void debug_trap(struct trap_frame *frame)
{
	if (!armed) {
		trap_unhandled(frame);
		return;
	}
	/* An instruction or two of ring 3 may come before the one that matters. */
	now.traces++;
	now.trace_rip = frame->rip;
	now.dr6 = read_dr6();
	write_dr6(0);
	if (!trap_from_ring3(frame) || *(const uint8_t *)(frame->rip - CODE_GVA + tablestep_user_text) == 0xcd)
		frame->rflags &= ~(uint64_t)RFLAGS_TF;
}

static void ring3_is_done(struct trap_frame *frame)
{
	if (!armed || !trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	now.al = (uint8_t)frame->rax;
	paging_ring0();
}

void region_flush(void)
{
	write_cr3(region.root);
}

noreturn void region_start(void (*run)(void))
{
	pages_init();
	make_region();
	region_flush();
	write_dr6(0);
	tss.rsp0 = (uint64_t)(&user_frame + 1);
	trap_set(VECTOR_PAGE_FAULT, page_fault);
	trap_set(VECTOR_DEBUG, debug_trap);
	trap_set(VECTOR_SYSCALL, ring3_is_done);
	paging_on_own_stack(run);
}

static uint64_t user_rip(const uint8_t *code)
{
	return CODE_GVA + (uint64_t)(code - tablestep_user_text);
}

static void in_ring3(const uint8_t *code, uint64_t gva, bool traced)
{
	user_frame.rip = user_rip(code);
	user_frame.cs = USER_CODE_SELECTOR;
	user_frame.ss = USER_DATA_SELECTOR;
	user_frame.rflags = RFLAGS_FIXED | (traced ? RFLAGS_TF : 0);
	user_frame.rdi = gva;
	user_frame.rsi = IMAGE_GVA;
	armed = true;
	paging_ring3(&user_frame);
	armed = false;
}

static void in_ring0(uint64_t (*code)(uint64_t gva, const void *image), uint64_t gva)
{
	armed = true;
	now.al = (uint8_t)code(gva, region.image);
	armed = false;
}

static void load(bool user)
{
	if (user)
		in_ring3(tablestep_user_load, 0, false);
	else
		in_ring0(tablestep_kernel_load, 0);
}

struct attempt attempt_store(bool user, const struct store *s, uint64_t gva, bool traced)
{
	load(user);
	now = (struct attempt){ .fault = false };
	if (user)
		in_ring3(s->user, gva, traced);
	else
		in_ring0(traced ? tablestep_kernel_traced : s->kernel, gva);
	if (!traced)
		now.dr6 = read_dr6();
	return now;
}

struct attempt attempt_pushfq(bool user, uint64_t gva, bool traced)
{
	now = (struct attempt){ .fault = false };
	if (user)
		in_ring3(tablestep_user_pushfq, gva, traced);
	else
		in_ring0(tablestep_kernel_pushfq, gva);
	return now;
}

struct attempt attempt_read(bool user, uint64_t gva)
{
	now = (struct attempt){ .fault = false };
	if (user)
		in_ring3(tablestep_user_read, gva, false);
	else
		in_ring0(tablestep_kernel_read, gva);
	return now;
}

uint64_t traced_rip(bool user, const struct store *s)
{
	const uint8_t *code = s->user;

	if (!user)
		return (uint64_t)tablestep_kernel_traced_end;
	/* The code of ring 3 is a list: each store ends in an INT of its own. */
	while (code[0] != 0xcd || code[1] != VECTOR_SYSCALL)
		code++;
	return user_rip(code);
}
