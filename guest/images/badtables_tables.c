/* badtables: entries and roots that lead where none should. */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/badtables.h"
#include "guest/kernel/io.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MONITOR_GVA 0xffff800000000000ul /* PML4 slot 256: docs/shadow-guests.md */
#define MONITOR_GPA 0xff00000000ull
#define LAST_GPA 0xfffffff000ull
#define UNOWNED_GPA 0xe0000000ull /* in the hole for devices */
#define TAG_A 0xa1
#define TAG_B 0xb2
#define JUMP_BACK 0xe3ffull /* jmp *%rbx */

extern const uint8_t bad_fetch[], bad_write8[], bad_load_cr3[], bad_flush_page[];

static const unsigned int accesses[] = {
	0, ACCESS_WRITE, ACCESS_FETCH, ACCESS_USER, ACCESS_USER | ACCESS_WRITE, ACCESS_USER | ACCESS_FETCH,
};

static uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value));
	return value;
}

static uint8_t *bytes_of(unsigned int page)
{
	return page_pointer(bad_page(page));
}

static volatile uint64_t *words_of(uint64_t gpa)
{
	return page_pointer(gpa);
}

/* Every kind of access through `entry`, where it must end with `why`. */
static void all_faults(const char *what, int level, uint64_t gva, volatile uint64_t *entry, uint64_t value, uint32_t why)
{
	uint64_t old = *entry;

	for (size_t i = 0; i < COUNT(accesses); i++) {
		struct outcome o;

		*entry = value;
		bad_flush();
		o = bad_access(accesses[i], gva, 1);
		bad_case("%s, level %d, %s", what, level, bad_access_name(accesses[i]));
		bad_expect_fault(&o, bad_error(accesses[i], why), gva);
	}
	*entry = old;
	bad_flush();
}

#define TEST_GVA (BAD_TEST | SLOT(3, 5) | SLOT(2, 3) | SLOT(1, 9) | 0x208)

static void outside_at(const char *what, uint64_t gpa)
{
	for (int level = TABLE_LEVELS; level > 1; level--)
		all_faults(what, level, TEST_GVA, bad_entry(TEST_GVA, level), gpa | PTE_OPEN, 0);
}

void bad_outside(void)
{
	outside_at("table above RAM", bad_nowhere());
	outside_at("table in the monitor's memory", MONITOR_GPA);
	outside_at("table in the last page", LAST_GPA);
}

/* A processor would walk through the device's registers; under KVM and in shadow mode there is no table. */
void bad_device(void)
{
	outside_at("table in a device", ABI_MMIO_SCRATCH);
	outside_at("table where a device might be", UNOWNED_GPA);
	for (int level = 1; level <= 2; level++) {
		uint64_t gva = TEST_GVA & ~(SLOT(1, 1) * 511);
		volatile uint64_t *entry = bad_entry(gva, level);
		uint64_t old = *entry;

		*entry = ABI_MMIO_SCRATCH | PTE_OPEN | PTE_D | (level == 2 ? PTE_PS : 0);
		bad_flush();
		for (unsigned int user = 0; user <= ACCESS_USER; user += ACCESS_USER) {
			struct outcome o = bad_access(user | ACCESS_WRITE, gva, (uint8_t)(TAG_A + user + level));

			bad_case("device page, level %d, %s", level, bad_access_name(user | ACCESS_WRITE));
			bad_expect_fine(&o);
			o = bad_access(user, gva, 0);
			bad_case("device page, level %d, %s", level, bad_access_name(user));
			if (bad_expect_fine(&o))
				bad_expect_value("value", o.rax & 0xff, TAG_A + user + (uint64_t)level);
		}
		*entry = old;
	}
}

void bad_reserved(void)
{
	static const struct {
		const char *what;
		int level;
		uint64_t bits;
	} more[] = {
		{ "reserved bit 40", 1, 1ull << 40 },
		{ "reserved bit 40", 3, 1ull << 40 },
		{ "bit 7", 4, PTE_PS },
		{ "low address bit of a large page", 2, PTE_PS | 1ull << 13 },
	};

	for (int level = TABLE_LEVELS; level >= 1; level--) {
		volatile uint64_t *entry = bad_entry(TEST_GVA, level);

		all_faults("reserved bit 51", level, TEST_GVA, entry, (*entry & PTE_FRAME) | PTE_OPEN | PTE_RESERVED,
			   FAULT_PRESENT | FAULT_RESERVED);
	}
	for (size_t i = 0; i < COUNT(more); i++) {
		volatile uint64_t *entry = bad_entry(TEST_GVA, more[i].level);

		all_faults(more[i].what, more[i].level, TEST_GVA, entry, (*entry & PTE_FRAME) | PTE_OPEN | more[i].bits,
			   FAULT_PRESENT | FAULT_RESERVED);
	}
}

/* ---- Tables that lead to themselves. */

#define SELF 7u
#define OTHER 9u

/* `index` at all levels up to `level`, and what is above. */
static uint64_t address_with(int level, unsigned int index)
{
	uint64_t gva = level >= 4 ? 0 : BAD_TEST;

	for (int l = 1; l <= TABLE_LEVELS - 1; l++)
		gva |= SLOT(l, l <= level ? index : (unsigned int)l + 1);
	return level >= 4 ? gva | SLOT(4, index) : gva;
}

/* Entries with OTHER at each level below `level`, down to the page. Returns what the entry at `level` must lead to. */
static uint64_t chain_below(int level, uint64_t page)
{
	uint64_t next = page;

	for (int l = 1; l < level; l++) {
		words_of(bad_page(8 + (unsigned int)l))[OTHER] = next | PTE_OPEN;
		next = bad_page(8 + (unsigned int)l);
	}
	return next;
}

static struct outcome store(uint64_t gva, uint64_t value, bool user)
{
	struct trap_frame frame = bad_frame(bad_write8, user);

	frame.rdi = gva;
	frame.rsi = value;
	return bad_run(&frame);
}

static void expect_tag(const char *what, uint64_t gva, unsigned int user, uint8_t tag)
{
	struct outcome o = bad_access(user, gva, 0);

	if (o.vector == BAD_NOTHING)
		bad_expect_value(what, o.rax & 0xff, tag);
	else
		bad_expect_fine(&o);
}

/* The table at `level` of which an entry leads to itself is read, executed, and changed through that entry. */
static void self_at(int level, bool user)
{
	uint64_t window = address_with(level, SELF), other = address_with(level, OTHER);
	volatile uint64_t *entry = bad_entry(window, level);
	uint64_t table = (uint64_t)entry & ~(PAGE_SIZE - 1), value = table | PTE_OPEN;
	unsigned int ring = user ? ACCESS_USER : 0;
	struct outcome o;

	bytes_of(0)[0] = TAG_A;
	bytes_of(1)[0] = TAG_B;
	*entry = value;
	words_of(table)[20] = JUMP_BACK;
	bad_flush();
	bad_case("level %d leads to itself, ring %d", level, user ? 3 : 0);
	o = bad_access(ring, window + SELF * 8, 0);
	bad_expect_fine(&o);
	bad_expect_value("own entry", *entry, value);
	o = bad_access(ring | ACCESS_FETCH, window + 20 * 8, 0);
	bad_expect_fine(&o);
	o = store(window + OTHER * 8, chain_below(level, bad_page(0)) | PTE_OPEN, user);
	bad_expect_fine(&o);
	bad_expect_value("own entry, written through", *entry, value | PTE_D);
	expect_tag("mapped through it", other, ring, TAG_A);
	o = store(window + OTHER * 8, chain_below(level, bad_page(1)) | PTE_OPEN, user);
	invlpg(other);
	expect_tag("mapped again", other, ring, TAG_B);
	o = store(window + OTHER * 8, 0, user);
	invlpg(other);
	o = bad_access(ring, other, 0);
	bad_expect_fault(&o, bad_error(ring, 0), other);
	*entry = value;
	bad_flush();
	o = store(window + SELF * 8, 0, user);
	bad_expect_fine(&o);
	bad_expect_value("own entry, cleared through itself", *entry, 0);
	bad_flush();
	o = bad_access(ring, window, 0);
	bad_expect_fault(&o, bad_error(ring, 0), window);
	words_of(table)[20] = 0;
}

/* An entry below the root leads to the root: a page of data, or a table of another level. */
static void root_at(int level, bool user)
{
	uint64_t gva = address_with(level, SELF) & ~(SLOT(level, 1) - 1);
	unsigned int ring = user ? ACCESS_USER : 0;
	volatile uint64_t *entry = bad_entry(gva, level);
	uint64_t window;
	struct outcome o;

	*entry = bad_root() | PTE_OPEN;
	/* On the way down, too, the root leads to itself. */
	words_of(bad_root())[SELF] = level > 1 ? bad_root() | PTE_OPEN : 0;
	window = gva;
	for (int l = 1; l < level; l++)
		window |= SLOT(l, SELF);
	bad_flush();
	bytes_of(0)[0x208] = TAG_A;
	bad_map(TEST_GVA, bad_page(0), PTE_OPEN);
	bad_case("level %d leads to the root, ring %d", level, user ? 3 : 0);
	o = store(window + OTHER * 8, words_of(bad_root())[TEST_GVA >> 39], user);
	bad_expect_fine(&o);
	expect_tag("an alias made there", TEST_GVA - BAD_TEST + SLOT(4, OTHER), ring, TAG_A);
	o = store(window + OTHER * 8, 0, user);
	bad_flush();
	o = bad_access(ring, TEST_GVA - BAD_TEST + SLOT(4, OTHER), 0);
	bad_expect_fault(&o, bad_error(ring, 0), TEST_GVA - BAD_TEST + SLOT(4, OTHER));
	*entry = 0;
	words_of(bad_root())[SELF] = 0;
	bad_flush();
}

void bad_self(void)
{
	for (int level = TABLE_LEVELS; level >= 1; level--) {
		self_at(level, false);
		self_at(level, true);
	}
	for (int level = TABLE_LEVELS - 1; level >= 1; level--) {
		root_at(level, false);
		root_at(level, true);
	}
}

/* ---- The slot that shadow mode has for itself. */

/* Where SYSCALL leads in shadow mode: whoever jumps there has not executed one, whatever he has in its registers. */
static void jump_to_syscall(unsigned int user)
{
	static const uint64_t values[] = { 0, ~0ull, 0x8000000000000000, BAD_TEXT };

	for (size_t i = 0; i < COUNT(values) * COUNT(values); i++) {
		struct trap_frame frame = bad_frame(bad_fetch, user);
		struct outcome o;

		frame.rdi = MONITOR_GVA + 0x5800;
		frame.rcx = values[i % COUNT(values)];
		frame.r11 = values[i / COUNT(values)];
		o = bad_run(&frame);
		bad_case("jump to where SYSCALL leads at %lx, rcx %lx, r11 %lx, ring %d", frame.rdi, frame.rcx, frame.r11,
			 user ? 3 : 0);
		if (bad_expect_fault(&o, bad_error(ACCESS_FETCH | (user ? ACCESS_USER : 0), 0), frame.rdi))
			bad_expect_value("RCX", o.frame.rcx, frame.rcx);
	}
}

void bad_monitor(void)
{
	static const uint64_t offsets[] = {
		0x0, 0x2000, 0x3000, 0x4ff8, 0x5000, 0x6000, 0x16000, 0x40000, 0x200000, 0x7fffffffff,
	};
	struct trap_frame frame = bad_frame(bad_flush_page, false);
	struct outcome o;

	for (size_t i = 0; i < COUNT(offsets); i++) {
		for (size_t k = 0; k < COUNT(accesses); k++) {
			o = bad_access(accesses[k], MONITOR_GVA + offsets[i], 0);
			bad_case("nothing at %lx, %s", MONITOR_GVA + offsets[i], bad_access_name(accesses[k]));
			bad_expect_fault(&o, bad_error(accesses[k], 0), MONITOR_GVA + offsets[i]);
		}
		frame.rdi = MONITOR_GVA + offsets[i];
		o = bad_run(&frame);
		bad_case("INVLPG of %lx", MONITOR_GVA + offsets[i]);
		bad_expect_fine(&o);
	}
	jump_to_syscall(0);
	jump_to_syscall(1);
	*(uint64_t *)page_pointer(bad_page(0)) = JUMP_BACK;
	for (unsigned int slot = 255; slot <= 257; slot++) {
		uint64_t gva = SLOT(4, slot) | (slot >= 256 ? 0xffff000000000000ull : 0) | 0x5000;

		bad_map(gva, bad_page(0), PTE_OPEN);
		for (size_t k = 0; k < COUNT(accesses); k++) {
			o = bad_access(accesses[k], gva, (uint8_t)JUMP_BACK);
			bad_case("mapped in slot %u, %s", slot, bad_access_name(accesses[k]));
			bad_expect_fine(&o);
		}
	}
}

/* ---- CR3. */

static struct outcome load_cr3(uint64_t value, bool user)
{
	struct trap_frame frame = bad_frame(bad_load_cr3, user);

	frame.rdi = value;
	return bad_run(&frame);
}

void bad_cr3(void)
{
	static const uint8_t bits[] = { 40, 51, 52, 62, 63 };
	struct outcome o;

	for (size_t i = 0; i < COUNT(bits); i++) {
		o = load_cr3(bad_root() | 1ull << bits[i], false);
		bad_case("CR3 with bit %u", bits[i]);
		bad_expect_trap(&o, VECTOR_PROTECTION, 0);
		bad_expect_value("CR3 afterwards, by its address bits", read_cr3() & PTE_FRAME, bad_root());
		bad_flush();
	}
	o = load_cr3(bad_root() | PTE_PCD | PTE_PWT, false);
	bad_case("CR3 with PCD and PWT");
	bad_expect_fine(&o);
	bad_expect_value("CR3 afterwards", read_cr3(), bad_root() | PTE_PCD | PTE_PWT);
	bad_flush();
	o = load_cr3(bad_root(), true);
	bad_case("CR3 from ring 3");
	bad_expect_trap(&o, VECTOR_PROTECTION, 0);
}
