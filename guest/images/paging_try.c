#include "guest/images/paging_try.h"

#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/trap.h"
#include "guest/lib/string.h"

/* PML4 slots: 0 is the kernel, as everywhere. Another index at each level, lest a mix-up of levels goes unnoticed. */
#define SLOT(level, index) ((uint64_t)(index) << (12 + 9 * ((level) - 1)))
#define USER_TEXT_GVA SLOT(4, 1)
#define TEST_PAGE (SLOT(4, 2) | SLOT(3, 5) | SLOT(2, 3) | SLOT(1, 9))
#define PAGE_OF(gva) ((gva) & (LARGE_PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))

/* A page under test: what is read, written and executed there. */
#define DATA_OFFSET 0x208
#define KERNEL_CODE_OFFSET 0x420
#define USER_CODE_OFFSET 0xa30
#define OTHER_VALUE 0x77 /* to be written */

#define CR0_WP (1ull << 16)
#define CR4_SMEP (1ull << 20)
#define EFER 0xc0000080u
#define EFER_NXE (1ull << 11)

#define MODE_UNKNOWN 0xff

/* The head of boot.S's TSS. */
extern struct {
	uint32_t reserved;
	uint64_t rsp0;
} __attribute__((packed)) tss;

extern const uint8_t paging_user_text[], paging_user_text_end[];
extern const uint8_t paging_user_read[], paging_user_write[], paging_user_fetch[];

uint64_t paging_kernel_read(uint64_t gva, uint64_t value);
uint64_t paging_kernel_write(uint64_t gva, uint64_t value);
uint64_t paging_kernel_fetch(uint64_t gva, uint64_t value);
void paging_ring3(struct trap_frame *frame);
noreturn void paging_ring0(void);
noreturn void paging_on_own_stack(void (*run)(void));

static struct {
	uint64_t root;
	volatile uint64_t *entry[PAGING_LEVELS + 1]; /* under test, by level */
	uint64_t next[PAGING_LEVELS + 1];   /* gpa each of them leads to */
	uint64_t value[PAGING_LEVELS + 1];  /* and what it is given */
	uint64_t large;			    /* gpa of the large page */
	uint8_t *small_page, *large_page;   /* the 4 KiB under test, as the kernel sees them */
	uint8_t mode;
	uint64_t cr0, cr4, efer; /* without what a mode switches */
} region;

/* The access that is being made. */
static struct {
	bool armed;
	uint64_t gva;
	uint32_t fault; /* 0, or a result's RESULT_FAULT and what belongs to it */
	uint64_t said;	/* by the page */
} attempt;

/* Where ring 3 leaves its frame. */
static struct trap_frame user_frame __attribute__((aligned(16)));

static uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value));
	return value;
}

static uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low;
	uint32_t high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static uint64_t zero_page(void)
{
	uint64_t gpa = page_alloc_zero();

	if (gpa == 0)
		panic("no page left");
	return gpa;
}

static uint64_t large_page(void)
{
	for (;;) {
		uint64_t got;
		uint64_t gpa = page_alloc_run(TABLE_ENTRIES, &got);

		if (gpa == 0)
			panic("no large page left");
		if (got == TABLE_ENTRIES)
			return gpa;
	}
}

static volatile uint64_t *entry_at(uint64_t table, uint64_t gva, int level)
{
	volatile uint64_t *entries = page_pointer(table);

	return &entries[gva >> (12 + 9 * (level - 1)) & (TABLE_ENTRIES - 1)];
}

/* Tables down to the page at `gva`, those above the last one accessed and open; tells the table of each level. */
static void make_tables(uint64_t gva, uint64_t table[PAGING_LEVELS + 1])
{
	table[PAGING_LEVELS] = region.root;
	for (int level = PAGING_LEVELS; level > 1; level--) {
		table[level - 1] = zero_page();
		*entry_at(table[level], gva, level) = table[level - 1] | PTE_TABLE;
	}
}

static void make_user_text(void)
{
	uint64_t table[PAGING_LEVELS + 1];
	uint64_t page = zero_page();

	memcpy(page_pointer(page), paging_user_text, (size_t)(paging_user_text_end - paging_user_text));
	make_tables(USER_TEXT_GVA, table);
	*entry_at(table[1], USER_TEXT_GVA, 1) = page | PTE_P | PTE_U | PTE_A;
}

/* mov $said, %al, and back: ret for ring 0, int $4 for ring 3 */
static void fill_page(uint8_t *page, uint8_t said)
{
	const uint8_t kernel_code[] = { 0xb0, said, 0xc3 };
	const uint8_t user_code[] = { 0xb0, said, 0xcd, 0x04 };

	page[DATA_OFFSET] = said;
	memcpy(page + KERNEL_CODE_OFFSET, kernel_code, sizeof(kernel_code));
	memcpy(page + USER_CODE_OFFSET, user_code, sizeof(user_code));
}

static void make_region(void)
{
	uint64_t table[PAGING_LEVELS + 1];

	region.root = zero_page();
	*entry_at(region.root, 0, PAGING_LEVELS) = kernel_pml4[0];
	make_user_text();
	make_tables(TEST_PAGE, table);
	for (int level = 1; level <= PAGING_LEVELS; level++) {
		region.entry[level] = entry_at(table[level], TEST_PAGE, level);
		region.next[level] = level > 1 ? table[level - 1] : zero_page();
	}
	region.large = large_page();
	region.small_page = page_pointer(region.next[1]);
	region.large_page = page_pointer(region.large + PAGE_OF(TEST_PAGE));
	fill_page(region.small_page, PLACE_SMALL);
	fill_page(region.large_page, PLACE_LARGE);
}

static void clear_nx(volatile uint64_t *table)
{
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++) {
		if (table[i] & PTE_NX)
			table[i] &= ~PTE_NX;
	}
}

/* The first GiB of the kernel's half: where everything is that this image has. */
static void make_kernel_executable(void)
{
	volatile uint64_t *pdpt = page_pointer(kernel_pml4[0] & PTE_FRAME);
	volatile uint64_t *pd = page_pointer(pdpt[0] & PTE_FRAME);

	clear_nx(pd);
	clear_nx(page_pointer(pd[0] & PTE_FRAME));
}

static void page_fault(struct trap_frame *frame)
{
	uint64_t address = read_cr2();

	if (!attempt.armed || attempt.fault) {
		trap_unhandled(frame);
		return;
	}
	attempt.fault = RESULT_FAULT | ((uint32_t)frame->error & RESULT_ERROR);
	if (address != attempt.gva || frame->error & ~(uint64_t)RESULT_ERROR)
		attempt.fault |= RESULT_ODD;
	if (trap_from_ring3(frame))
		paging_ring0();
	frame->rip = *(const uint64_t *)frame->rsp;
	frame->rsp += sizeof(uint64_t);
}

static void ring3_is_done(struct trap_frame *frame)
{
	if (!attempt.armed || !trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	attempt.said = frame->rax;
	paging_ring0();
}

noreturn void paging_try_start(void (*run)(void))
{
	pages_init();
	make_region();
	make_kernel_executable();
	write_cr3(region.root);
	region.cr0 = read_cr0() & ~CR0_WP;
	region.cr4 = read_cr4() & ~CR4_SMEP;
	region.efer = rdmsr(EFER) & ~EFER_NXE;
	region.mode = MODE_UNKNOWN;
	tss.rsp0 = (uint64_t)(&user_frame + 1);
	trap_set(VECTOR_PAGE_FAULT, page_fault);
	trap_set(VECTOR_SYSCALL, ring3_is_done);
	paging_on_own_stack(run);
}

/* Only what changes is written: each of them costs a virtual machine dearly. */
static void set_mode(uint8_t mode)
{
	uint8_t changed = region.mode == MODE_UNKNOWN ? MODE_UNKNOWN : mode ^ region.mode;

	if (changed & MODE_WP)
		__asm__ volatile("movq %0, %%cr0" : : "r"(region.cr0 | (mode & MODE_WP ? CR0_WP : 0)) : "memory");
	if (changed & MODE_NXE)
		wrmsr(EFER, region.efer | (mode & MODE_NXE ? EFER_NXE : 0));
	if (changed & MODE_SMEP)
		__asm__ volatile("movq %0, %%cr4" : : "r"(region.cr4 | (mode & MODE_SMEP ? CR4_SMEP : 0)) : "memory");
	region.mode = mode;
}

static uint64_t entry_of(const struct paging_case *c, int level)
{
	uint64_t says = c->says[level];
	uint64_t value = region.next[level];

	if (level == 2 && (says & SAYS_PS))
		value = region.large | (says & SAYS_LOW);
	return value | (says & SAYS_BYTE) | (says & SAYS_HIGH) << 37 | (says & SAYS_NX) << 48;
}

static void set_entries(const struct paging_case *c)
{
	for (int level = 1; level <= PAGING_LEVELS; level++) {
		uint64_t value = entry_of(c, level);

		region.value[level] = value;
		if (*region.entry[level] != value)
			*region.entry[level] = value;
	}
}

static uint64_t address_of(const struct paging_case *c)
{
	if (!(c->access & ACCESS_FETCH))
		return TEST_PAGE | DATA_OFFSET;
	return TEST_PAGE | (c->access & ACCESS_USER ? USER_CODE_OFFSET : KERNEL_CODE_OFFSET);
}

static void from_ring0(uint8_t access)
{
	uint64_t said;

	if (access & ACCESS_FETCH)
		said = paging_kernel_fetch(attempt.gva, 0);
	else if (access & ACCESS_WRITE)
		said = paging_kernel_write(attempt.gva, OTHER_VALUE);
	else
		said = paging_kernel_read(attempt.gva, 0);
	attempt.said = said;
}

static void from_ring3(uint8_t access)
{
	const uint8_t *stub = access & ACCESS_FETCH ? paging_user_fetch :
			      access & ACCESS_WRITE ? paging_user_write : paging_user_read;

	user_frame.rip = USER_TEXT_GVA + (uint64_t)(stub - paging_user_text);
	user_frame.cs = USER_CODE_SELECTOR;
	user_frame.ss = USER_DATA_SELECTOR;
	user_frame.rflags = RFLAGS_FIXED;
	user_frame.rdi = attempt.gva;
	user_frame.rsi = OTHER_VALUE;
	paging_ring3(&user_frame);
}

static void perform(uint8_t access)
{
	attempt.fault = 0;
	attempt.said = 0;
	attempt.armed = true;
	if (access & ACCESS_USER)
		from_ring3(access);
	else
		from_ring0(access);
	attempt.armed = false;
}

/* Whether a write arrived at the page; it then is as it was before. */
static uint32_t written(uint8_t *page, uint8_t place)
{
	volatile uint8_t *data = page + DATA_OFFSET;

	if (*data != OTHER_VALUE)
		return *data == place ? PLACE_NONE : PLACE_WRONG;
	*data = place;
	return place;
}

static uint32_t place_of(uint8_t access)
{
	if (access & ACCESS_WRITE)
		return written(region.small_page, PLACE_SMALL) | written(region.large_page, PLACE_LARGE);
	if (attempt.fault)
		return PLACE_NONE;
	return (attempt.said & 0xff) == PLACE_SMALL ? PLACE_SMALL :
	       (attempt.said & 0xff) == PLACE_LARGE ? PLACE_LARGE : PLACE_WRONG;
}

/* What became of the entries. */
static uint32_t marks(void)
{
	uint32_t result = 0;

	for (int level = 1; level <= PAGING_LEVELS; level++) {
		uint64_t value = *region.entry[level];

		if ((value ^ region.value[level]) & ~(uint64_t)(PTE_A | PTE_D))
			result |= RESULT_FOREIGN;
		if (value & PTE_A)
			result |= 1u << (RESULT_A_SHIFT + level - 1);
		if (value & PTE_D)
			result |= 1u << (RESULT_D_SHIFT + level - 1);
	}
	return result;
}

uint32_t paging_try(const struct paging_case *c)
{
	set_mode(c->mode);
	set_entries(c);
	attempt.gva = address_of(c);
	if (c->reload)
		write_cr3(region.root);
	else
		invlpg(attempt.gva);
	perform(c->access);
	return attempt.fault | marks() | place_of(c->access) << RESULT_PLACE_SHIFT;
}
