/* badtables: how an access or an event is made to happen under any tables, and comes back. */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/badtables.h"
#include "guest/images/badtables_descriptors.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/lib/string.h"

#define EXCEPTIONS 32u
#define RESERVED_ADDRESS 0x000fff0000000000ull /* beyond the 40 bits of the CPU model */
#define LARGE_OFFSET (LARGE_PAGE_SIZE - 1)

extern const uint8_t bad_code[], bad_code_end[], bad_ring0_done[], bad_ring3_done[];
extern const uint8_t bad_read[], bad_write1[], bad_fetch[];
extern uint64_t bad_ring0_rax;

void paging_ring3(struct trap_frame *frame); /* to any ring: it goes where the frame says */
noreturn void paging_ring0(void);
noreturn void paging_on_own_stack(void (*run)(void));

static uint64_t first_page, root, user_text;
static bool (*filter)(struct trap_frame *frame);

static struct {
	bool armed;
	struct outcome outcome;
} attempt;

/* Where ring 3 leaves its frame, unless a case moves RSP0. */
static struct trap_frame user_frame __attribute__((aligned(16)));

/* The frame a run starts with. IRETQ may fault, and then leaves its own frame, and the handler's, below. */
static struct {
	uint8_t room[PAGE_SIZE - sizeof(struct trap_frame)];
	struct trap_frame frame;
} start __attribute__((aligned(16)));

uint64_t bad_page(unsigned int n)
{
	return first_page + n * PAGE_SIZE;
}

uint64_t bad_root(void)
{
	return root;
}

uint64_t bad_ring3_stack(void)
{
	return (uint64_t)(&user_frame + 1);
}

void bad_flush(void)
{
	write_cr3(root);
}

void bad_set_filter(bool (*new_filter)(struct trap_frame *frame))
{
	filter = new_filter;
}

static uint64_t zero_page(void)
{
	uint64_t gpa = page_alloc_zero();

	if (gpa == 0)
		panic("no page left");
	return gpa;
}

/* Tables are never given back: a case that needs some leaves them for the next. */
volatile uint64_t *bad_entry(uint64_t gva, int level)
{
	uint64_t table = root;

	for (int l = TABLE_LEVELS;; l--) {
		volatile uint64_t *entry = (volatile uint64_t *)page_pointer(table) + (gva >> (12 + 9 * (l - 1)) & 511);

		if (l == level)
			return entry;
		if (!(*entry & PTE_P))
			*entry = zero_page() | PTE_TABLE;
		table = *entry & PTE_FRAME;
	}
}

void bad_map(uint64_t gva, uint64_t gpa, uint64_t flags)
{
	*bad_entry(gva, 1) = gpa | flags;
}

static void on_trap(struct trap_frame *frame)
{
	struct outcome *o = &attempt.outcome;

	if (!attempt.armed) {
		trap_unhandled(frame);
		return;
	}
	if (filter != NULL && !filter(frame))
		return;
	o->vector = (uint8_t)frame->vector;
	if (frame->vector == VECTOR_SYSCALL && trap_from_ring3(frame))
		o->vector = BAD_NOTHING;
	o->error = frame->error;
	o->cr2 = read_cr2();
	o->rax = frame->rax;
	o->frame = *frame;
	attempt.armed = false;
	paging_ring0();
}

static uint64_t aligned_run(void)
{
	for (;;) {
		uint64_t got;
		uint64_t gpa = page_alloc_run(TABLE_ENTRIES, &got);

		if (gpa == 0)
			panic("no run of pages left");
		if (got == TABLE_ENTRIES)
			return gpa;
	}
}

noreturn void bad_start(void (*run)(void))
{
	pages_init();
	first_page = aligned_run();
	root = zero_page();
	user_text = zero_page();
	memcpy(page_pointer(user_text), bad_code, (size_t)(bad_code_end - bad_code));
	for (unsigned int vector = 0; vector < EXCEPTIONS; vector++)
		trap_set(vector, on_trap);
	bad_reset();
	paging_on_own_stack(run);
}

void bad_reset(void)
{
	filter = NULL;
	bad_restore_descriptors();
	memset(page_pointer(first_page), 0, BAD_PAGES * PAGE_SIZE);
	/* It may be in use: the kernel's slot is never empty. */
	*(volatile uint64_t *)page_pointer(root) = kernel_pml4[0];
	memset((uint64_t *)page_pointer(root) + 1, 0, PAGE_SIZE - sizeof(uint64_t));
	bad_map(BAD_TEXT, user_text, PTE_P | PTE_U | PTE_A);
	bad_flush();
}

static uint64_t user_address(const uint8_t *code)
{
	return BAD_TEXT + (uint64_t)(code - bad_code);
}

struct trap_frame bad_frame(const uint8_t *code, bool user)
{
	return (struct trap_frame){
		.rip = user ? user_address(code) : (uint64_t)code,
		.cs = user ? USER_CODE_SELECTOR : KERNEL_CODE,
		.ss = user ? USER_DATA_SELECTOR : KERNEL_DATA,
		.rflags = RFLAGS_FIXED,
		.rsp = user ? 0 : STACK_TOP,
		.rbx = user ? user_address(bad_ring3_done) : (uint64_t)bad_ring0_done,
	};
}

struct outcome bad_run(const struct trap_frame *frame)
{
	start.frame = *frame;
	attempt.outcome = (struct outcome){ .vector = BAD_NOTHING };
	attempt.armed = true;
	paging_ring3(&start.frame);
	if (attempt.armed)
		attempt.outcome.rax = bad_ring0_rax;
	attempt.armed = false;
	return attempt.outcome;
}

struct outcome bad_access(unsigned int access, uint64_t gva, uint8_t value)
{
	const uint8_t *code = access & ACCESS_FETCH ? bad_fetch : access & ACCESS_WRITE ? bad_write1 : bad_read;
	struct trap_frame frame = bad_frame(code, access & ACCESS_USER);

	frame.rdi = gva;
	frame.rsi = value;
	return bad_run(&frame);
}

bool bad_is_ram(uint64_t gpa)
{
	const struct abi_boot *boot = machine_boot();

	for (unsigned int i = 0; i < boot->region_count; i++) {
		if (gpa >= boot->region[i].base && gpa - boot->region[i].base < boot->region[i].size)
			return true;
	}
	return false;
}

uint64_t bad_nowhere(void)
{
	const struct abi_boot *boot = machine_boot();
	const struct abi_region *last = &boot->region[boot->region_count - 1];
	uint64_t gpa = (last->base + last->size + LARGE_OFFSET) & ~LARGE_OFFSET;

	return gpa >= ABI_HOLE_START && gpa < ABI_HOLE_END ? ABI_HOLE_END : gpa;
}

static bool has_reserved(uint64_t entry, int level)
{
	if (entry & RESERVED_ADDRESS)
		return true;
	if (!(entry & PTE_PS) || level == 1)
		return false;
	return level > 2 || (entry & PTE_FRAME & LARGE_OFFSET & ~0x1000ull);
}

struct verdict bad_walk(unsigned int access, uint64_t gva)
{
	uint64_t table = root, all = PTE_W | PTE_U, entry, size;
	int level = TABLE_LEVELS;

	for (;; level--) {
		size = 1ull << (12 + 9 * (level - 1));
		if (!bad_is_ram(table))
			return (struct verdict){ true, bad_error(access, 0), 0 };
		entry = *((volatile uint64_t *)page_pointer(table) + (gva / size & 511));
		if (!(entry & PTE_P))
			return (struct verdict){ true, bad_error(access, 0), 0 };
		if (has_reserved(entry, level))
			return (struct verdict){ true, bad_error(access, FAULT_PRESENT | FAULT_RESERVED), 0 };
		all = (all & entry) | ((all | entry) & PTE_NX);
		if (level == 1 || (entry & PTE_PS))
			break;
		table = entry & PTE_FRAME;
	}
	/* CR0.WP is set, SMEP is off. */
	if (((access & ACCESS_USER) && !(all & PTE_U)) || ((access & ACCESS_WRITE) && !(all & PTE_W)) ||
	    ((access & ACCESS_FETCH) && (all & PTE_NX)))
		return (struct verdict){ true, bad_error(access, FAULT_PRESENT), 0 };
	return (struct verdict){ false, 0, (entry & PTE_FRAME & ~(size - 1)) | (gva & (size - 1)) };
}
