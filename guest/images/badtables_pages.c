/* badtables: pages that are now tables, now data, or code as well. */
#include <stddef.h>

#include "guest/images/badtables.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define TABLE_GVA (BAD_TEST | SLOT(3, 6)) /* entry n of the directory there: page n as a table */
#define WINDOW(n) (BAD_WINDOW + (n) * PAGE_SIZE)
#define WORDS (PAGE_SIZE / 8)

/* ---- Now tables, now data. */

#define POOL 8u
#define TAGGED 32u /* pages with a byte of their own everywhere */
#define TAGS 16u
#define STEPS 40u
#define SHOWN 5u

extern const uint8_t bad_movsq[];

static struct {
	bool table;
	uint64_t seed; /* of what it holds */
} pool[POOL];

static uint64_t word_of(unsigned int n, unsigned int i)
{
	uint64_t state = pool[n].seed + i;

	if (!pool[n].table)
		return random_next(&state);
	return bad_page(TAGGED + random_next(&state) % TAGS) | PTE_OPEN;
}

/* By the CPU's string instruction, through the window, in either ring; what it copies comes from page 63. */
static bool fill(unsigned int n, bool user)
{
	struct trap_frame frame = bad_frame(bad_movsq, user);
	uint64_t *source = page_pointer(bad_page(BAD_PAGES - 1));

	for (unsigned int i = 0; i < WORDS; i++)
		source[i] = i % 16 ? 0 : word_of(n, i);
	frame.rdi = WINDOW(n);
	frame.rsi = WINDOW(BAD_PAGES - 1);
	frame.rcx = WORDS;
	return bad_run(&frame).vector == BAD_NOTHING;
}

/* Table or data: it holds what was put there, but for accessed and dirty bits of entries. */
static bool holds(unsigned int n)
{
	const volatile uint64_t *words = page_pointer(bad_page(n));
	uint64_t ignored = pool[n].table ? PTE_A | PTE_D : 0;

	for (unsigned int i = 0; i < WORDS; i += 16) {
		if ((words[i] ^ word_of(n, i)) & ~ignored)
			return false;
	}
	return true;
}

static bool leads(unsigned int n, unsigned int entry, bool user)
{
	struct outcome o = bad_access(user ? ACCESS_USER : 0, TABLE_GVA + SLOT(2, n) + SLOT(1, entry) + 5, 0);

	if (!pool[n].table || entry % 16)
		return o.vector == VECTOR_PAGE_FAULT;
	return o.vector == BAD_NOTHING &&
	       (o.rax & 0xff) == ((word_of(n, entry) & PTE_FRAME) - bad_page(TAGGED)) / PAGE_SIZE + 1;
}

static bool reuse_step(uint64_t *state)
{
	uint64_t random = random_next(state);
	unsigned int n = random % POOL, other = (random >> 8) % POOL;
	bool user = random >> 16 & 1, good;

	*bad_entry(TABLE_GVA + SLOT(2, n), 2) = 0;
	bad_flush();
	pool[n].table = random >> 17 & 1;
	pool[n].seed = random_next(state);
	good = fill(n, user);
	if (pool[n].table) {
		*bad_entry(TABLE_GVA + SLOT(2, n), 2) = bad_page(n) | PTE_OPEN;
		good &= leads(n, (random >> 24) % WORDS & ~15u, user);
	}
	good &= leads(n, (random >> 32) % WORDS, !user) && leads(other, (random >> 40) % WORDS & ~15u, user);
	return good && holds(n) && holds(other);
}

void bad_reuse(void)
{
	uint64_t state = bad_seed, wrong = 0;

	for (unsigned int i = 0; i < TAGS; i++)
		memset(page_pointer(bad_page(TAGGED + i)), (int)i + 1, PAGE_SIZE);
	for (unsigned int i = 0; i < BAD_PAGES; i++)
		bad_map(WINDOW(i), bad_page(i), PTE_OPEN);
	for (unsigned int i = 0; i < POOL; i++) {
		pool[i].table = false;
		pool[i].seed = i;
		fill(i, false);
	}
	bad_case("pages reused as table and data, seed %lu, %u steps", bad_seed, STEPS);
	for (unsigned int i = 0; i < STEPS && wrong < SHOWN; i++)
		wrong += !reuse_step(&state);
	for (unsigned int i = 0; i < POOL; i++)
		wrong += !holds(i);
	bad_expect_value("wrong", wrong, 0);
}

/* ---- Code that lies in a table in use. The window is of ring 0 or 3; entry ENTRY leads to a page with a tag. */

#define TABLE 4u
#define TAG_PAGE 5u
#define NEXT_PAGE 6u /* mapped behind the table's window */
#define TAG 0xd4
#define ENTRY 3u
#define CODE 100u
#define LIVE_GVA (TABLE_GVA + SLOT(2, TABLE) + SLOT(1, ENTRY) + 0x33)

/* Not-present entries as code, least significant byte first. */
#define MOV_AL_JUMP(value) (0x90909090e3ff00b0ull | (uint64_t)(value) << 8) /* mov $value, %al; jmp *%rbx; nops */
#define STORE_NOPS 0x9090909090378948ull				     /* movq %rsi, (%rdi); nops */
#define NOP_JUMP 0x9090909090e3ff90ull					     /* nop; jmp *%rbx */

static volatile uint64_t *table_words(void)
{
	return page_pointer(bad_page(TABLE));
}

static struct outcome execute(unsigned int entry, bool user, uint64_t rdi, uint64_t rsi)
{
	struct trap_frame frame = bad_frame(NULL, user);

	frame.rip = WINDOW(TABLE) + entry * 8;
	frame.rdi = rdi;
	frame.rsi = rsi;
	frame.rax = 0xffffffff;
	return bad_run(&frame);
}

static void expect_rax(const char *what, const struct outcome *o, uint64_t mask, uint64_t want)
{
	if (o->vector == BAD_NOTHING)
		bad_expect_value(what, o->rax & mask, want);
	else
		bad_expect_fine(o);
}

static void expect_live(bool user)
{
	struct outcome o = bad_access(user ? ACCESS_USER : 0, LIVE_GVA, 0);

	expect_rax("through the table", &o, 0xff, TAG);
}

static void execute_not_present(bool user)
{
	struct outcome o;

	table_words()[CODE] = MOV_AL_JUMP(0x5a);
	o = execute(CODE, user, 0, 0);
	expect_rax("code among entries", &o, 0xff, 0x5a);
	expect_live(user);
	table_words()[CODE] = MOV_AL_JUMP(0x6a);
	o = execute(CODE, user, 0, 0);
	expect_rax("other code there", &o, 0xff, 0x6a);
}

/* The instruction stores an entry of the table it lies in; then the instruction after itself. */
static void execute_store(bool user)
{
	struct outcome o;

	table_words()[CODE] = STORE_NOPS;
	table_words()[CODE + 1] = MOV_AL_JUMP(0x5b);
	o = execute(CODE, user, WINDOW(TABLE) + (ENTRY + 1) * 8, bad_page(TAG_PAGE) | PTE_OPEN);
	expect_rax("code that stores an entry", &o, 0xff, 0x5b);
	o = bad_access(user ? ACCESS_USER : 0, LIVE_GVA + PAGE_SIZE, 0);
	expect_rax("through that entry", &o, 0xff, TAG);
	o = execute(CODE, user, WINDOW(TABLE) + (CODE + 1) * 8, MOV_AL_JUMP(0x5c));
	expect_rax("code that stores what comes next", &o, 0xff, 0x5c);
	table_words()[ENTRY + 1] = 0;
	bad_flush();
}

/* and $imm32, %eax; add %al, %al; a REX prefix: an entry in use, P, U and A, with bits that are ignored. */
static void execute_present(bool user)
{
	uint64_t entry = bad_page(TAG_PAGE) | 0x25 | 0x40c0ull << 48;
	uint32_t want = (uint32_t)(entry >> 8);
	struct outcome o;

	want = (want & ~0xffu) | (want * 2 & 0xff);
	table_words()[ENTRY] = entry;
	table_words()[ENTRY + 1] = NOP_JUMP;
	bad_flush();
	expect_live(user);
	o = execute(ENTRY, user, 0, 0);
	expect_rax("an entry in use as code", &o, 0xffffffff, want);
	expect_live(user);
	bad_expect_value("the entry", table_words()[ENTRY], entry);
	table_words()[ENTRY] = bad_page(TAG_PAGE) | PTE_OPEN;
	table_words()[ENTRY + 1] = 0;
	bad_flush();
}

/* mov $0x5d, %al across the end of the table's page. */
static void execute_across(bool user)
{
	struct trap_frame frame = bad_frame(NULL, user);
	struct outcome o;

	frame.rip = WINDOW(TABLE) + PAGE_SIZE - 1;
	table_words()[WORDS - 1] = 0xb0ull << 56;
	*(uint64_t *)page_pointer(bad_page(NEXT_PAGE)) = 0xe3ff5d;
	o = bad_run(&frame);
	expect_rax("an instruction across the table's end", &o, 0xff, 0x5d);
	table_words()[WORDS - 1] = 0;
}

static void execute_with(uint64_t flags, bool user)
{
	struct outcome o;

	memset(page_pointer(bad_page(TABLE)), 0, PAGE_SIZE);
	memset(page_pointer(bad_page(TAG_PAGE)), TAG, PAGE_SIZE);
	*bad_entry(LIVE_GVA, 2) = bad_page(TABLE) | PTE_OPEN;
	table_words()[ENTRY] = bad_page(TAG_PAGE) | PTE_OPEN;
	bad_map(WINDOW(TABLE), bad_page(TABLE), flags);
	bad_map(WINDOW(NEXT_PAGE - 1), bad_page(NEXT_PAGE), flags);
	bad_flush();
	expect_live(user);
	execute_not_present(user);
	execute_store(user);
	execute_present(user);
	execute_across(user);
	*bad_entry(WINDOW(TABLE), 1) |= PTE_NX;
	bad_flush();
	o = execute(CODE, user, 0, 0);
	bad_expect_fault(&o, FAULT_PRESENT | FAULT_FETCH | (user ? FAULT_USER : 0), WINDOW(TABLE) + CODE * 8);
	expect_live(user);
}

void bad_execute(void)
{
	bad_case("executing a table, ring 0");
	execute_with(PTE_OPEN & ~PTE_U, false);
	bad_case("executing a table, ring 0, its page is ring 3's");
	execute_with(PTE_OPEN, false);
	bad_case("executing a table, ring 3");
	execute_with(PTE_OPEN, true);
}
