/*
 * tablestep user|kernel: stores to page tables in use, by instructions that move much or move oddly, from ring 3 or ring
 * 0: FXSAVE, FNSAVE, MOVNTQ, MASKMOVDQU and the like. Each must store what it stores elsewhere, and nothing more, and
 * what the tables then say must hold. One line for what is wrong; the last says how many checks were made.
 */
#include "guest/images/tablestep.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/trap.h"
#include "guest/lib/string.h"

#define DR6_BS 0x4000u
#define RFLAGS_TF 0x100u
#define RFLAGS_PUSHED 0x102u /* the flags that are known: TF and the fixed one */
#define FIRST_XMM_ENTRY (XMM_OFFSET / 8)
#define ROOT_ENTRY 300u /* a place among the root's entries that FXSAVE may fill */
#define SIGN(gva) ((gva) | 0xffffull << 48)

static bool user;
static unsigned int checks, failures;

static void check(bool good, const char *what, uint64_t number)
{
	checks++;
	if (good)
		return;
	failures++;
	kprintf("tablestep: %s (%lx) is wrong\n", what, number);
}

/* Words that FXSAVE stores as XMM0 to XMM15, and MOVNTQ the first one as MM0. */
static void set_words(const uint64_t *words, unsigned int count)
{
	uint8_t *image = (uint8_t *)region.image;
	uint64_t *xmm = region.image + XMM_OFFSET / 8;

	memset(image, 0, TABLESTEP_BYTES);
	image[0] = 0x7f; /* FCW = 0x37f */
	image[1] = 0x03;
	image[4] = 0xff; /* no register is empty */
	image[24] = 0x80; /* MXCSR = 0x1f80 */
	image[25] = 0x1f;
	region.image[4] = words[0];
	image[40] = 0xff; /* an MMX register */
	image[41] = 0xff;
	for (unsigned int i = 0; i < XMM_WORDS; i++)
		xmm[i] = words[i % count];
}

static void perform(unsigned int store, uint64_t gva)
{
	struct attempt a = attempt_store(user, &stores[store], gva, false);

	check(!a.fault && a.traces == 0 && !(a.dr6 & DR6_BS), stores[store].name, gva);
}

static void store_word(uint64_t gva, uint64_t word)
{
	set_words(&word, 1);
	perform(STORE_MOVNTQ, gva);
}

static void store_words(uint64_t gva, const uint64_t *words)
{
	set_words(words, XMM_WORDS);
	perform(STORE_FXSAVE, gva);
}

static void check_says(uint64_t gva, unsigned int leaf)
{
	struct attempt a = attempt_read(user, gva);

	check(!a.fault && a.al == SAYS(leaf), "what is read", gva);
}

static void check_nothing(uint64_t gva)
{
	struct attempt a = attempt_read(user, gva);

	check(a.fault && a.error == (user ? FAULT_USER : 0) && a.cr2 == gva, "fault of a read", gva);
}

static bool is_odd(const struct store *s, unsigned int at)
{
	return (at >= s->odd_from && at < s->odd_from + s->odd_size) || (at >= s->size && at < s->most);
}

/* The same store to a plain page and to a table: the same bytes, the rest as before. */
static void check_bytes(const struct store *s, unsigned int window, unsigned int offset)
{
	static uint8_t before[PAGE_SIZE];
	uint8_t *table = page_pointer((uint64_t)region.window[window]);
	uint8_t *plain = page_pointer((uint64_t)region.window[WINDOW_PLAIN]);
	unsigned int wrong = 0;
	struct attempt a;

	memcpy(plain, table, PAGE_SIZE);
	a = attempt_store(user, s, WINDOW(WINDOW_PLAIN) + offset, false);
	check(!a.fault, "store to a plain page", offset);
	memcpy(before, table, PAGE_SIZE);
	a = attempt_store(user, s, WINDOW(window) + offset, false);
	check(!a.fault && a.traces == 0 && !(a.dr6 & DR6_BS), s->name, offset);
	for (unsigned int i = 0; i < PAGE_SIZE; i++) {
		bool stored = i >= offset && i < offset + s->most;

		if (!stored || !is_odd(s, i - offset))
			wrong += table[i] != (stored ? plain[i] : before[i]);
	}
	check(wrong == 0, s->name, wrong);
	memcpy(table + offset, before + offset, s->most);
	region_flush();
}

/* Offsets at which neither what a table is needed for is stored to, nor the root's half of the monitor. */
static void every_store_to_every_table(void)
{
	static const struct {
		unsigned int window, offset;
	} places[] = {
		{ WINDOW_A, 0 }, { WINDOW_A, 3584 }, { WINDOW_B, 64 }, { WINDOW_ROOT, 2240 }, { WINDOW_PDPT, 1024 },
		{ WINDOW_PD, 512 },
	};
	uint64_t words[XMM_WORDS];

	for (unsigned int i = 0; i < XMM_WORDS; i++)
		words[i] = 0x8182838485868788 * (i + 1);
	set_words(words, XMM_WORDS);
	for (unsigned int p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		for (unsigned int s = 0; s < STORES; s++)
			check_bytes(&stores[s], places[p].window, places[p].offset);
	}
}

static void one_entry(void)
{
	uint64_t at = WINDOW(WINDOW_A) + 8 * 7;

	check_nothing(A_GVA(7));
	store_word(at, region.leaf[0]);
	check_says(A_GVA(7), 0);
	store_word(at, region.leaf[1]);
	invlpg(A_GVA(7));
	check_says(A_GVA(7), 1);
	store_word(at, 0);
	invlpg(A_GVA(7));
	check_nothing(A_GVA(7));
	check(region.window[WINDOW_A][7] == 0, "entry", 7);
}

static void many_entries(void)
{
	uint64_t words[XMM_WORDS];

	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			words[i] = region.leaf[(i * (round + 1) + round) % LEAVES];
		store_words(WINDOW(WINDOW_A), words);
		region_flush();
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			check_says(A_GVA(FIRST_XMM_ENTRY + i), (i * (round + 1) + round) % LEAVES);
	}
}

static unsigned int straddling(unsigned int round, unsigned int i)
{
	return (i + 3 * round) % LEAVES;
}

static uint64_t straddled_gva(unsigned int i)
{
	unsigned int entry = TABLE_ENTRIES - 32 + FIRST_XMM_ENTRY + i;

	return entry < TABLE_ENTRIES ? A_GVA(entry) : B_GVA(entry - TABLE_ENTRIES);
}

/* The last 256 bytes of A and the first of B, at once; and 4 bytes of each. */
static void two_tables(void)
{
	const uint64_t at = WINDOW(WINDOW_B) - 256;
	uint64_t words[XMM_WORDS];

	store_word(WINDOW(WINDOW_B), region.leaf[1]);
	check_says(B_GVA(0), 1);
	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			words[i] = region.leaf[straddling(round, i)];
		store_words(at, words);
		region_flush();
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			check_says(straddled_gva(i), straddling(round, i));
	}
	store_word(WINDOW(WINDOW_B) - 4, 0x1122334455667788);
	check((uint32_t)(region.window[WINDOW_A][511] >> 32) == 0x55667788 &&
	      (uint32_t)region.window[WINDOW_B][0] == 0x11223344, "halves of a store", region.window[WINDOW_B][0]);
	region.window[WINDOW_A][511] = region.window[WINDOW_B][0] = 0;
	region_flush();
}

/* More ways through the same tables: slots of the root, which is in use. */
static void the_root(void)
{
	uint64_t words[XMM_WORDS];

	store_word(WINDOW(WINDOW_A) + 8 * 7, region.leaf[4]);
	for (unsigned int i = 0; i < XMM_WORDS; i++)
		words[i] = region.window[WINDOW_ROOT][2];
	store_words(WINDOW(WINDOW_ROOT) + 8 * ROOT_ENTRY - XMM_OFFSET, words);
	for (unsigned int i = 0; i < XMM_WORDS; i++)
		check_says(SIGN(SLOT(4, ROOT_ENTRY + i) | SLOT(3, 1) | SLOT(2, 7)), 4);
	memset(words, 0, sizeof(words));
	store_words(WINDOW(WINDOW_ROOT) + 8 * ROOT_ENTRY - XMM_OFFSET, words);
	region_flush();
	for (unsigned int i = 0; i < XMM_WORDS; i++)
		check_nothing(SIGN(SLOT(4, ROOT_ENTRY + i) | SLOT(3, 1) | SLOT(2, 7)));
}

static void through_itself(void)
{
	uint64_t words[XMM_WORDS], alias = SIGN(SLOT(4, 400) | SLOT(3, 1) | SLOT(2, 7));

	store_word(SELF_A + 8 * 7, region.leaf[5]);
	invlpg(A_GVA(7));
	check_says(A_GVA(7), 5);
	store_word(SELF_ROOT + 8 * 400, region.window[WINDOW_ROOT][2]);
	check_says(alias, 5);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			words[i] = region.leaf[(round + i) % LEAVES];
		store_words(SELF_A, words);
		region_flush();
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			check_says(A_GVA(FIRST_XMM_ENTRY + i), (round + i) % LEAVES);
	}
	store_word(SELF_ROOT + 8 * 400, 0);
	invlpg(alias);
	check_nothing(alias);
}

/* The entries the store itself, its operands and its code are reached by. */
static void own_path(void)
{
	uint64_t pd = region.window[WINDOW_PDPT][0], windows = region.window[WINDOW_PD][0];

	store_word(WINDOW(WINDOW_PD), region.windows_copy);
	region_flush();
	store_word(WINDOW(WINDOW_PDPT), region.pd_copy);
	region_flush();
	store_word(WINDOW(WINDOW_A) + 8 * 7, region.leaf[6]);
	invlpg(A_GVA(7));
	check_says(A_GVA(7), 6);
	store_word(WINDOW(WINDOW_PDPT), pd);
	region_flush();
	store_word(WINDOW(WINDOW_PD), windows);
	region_flush();
	check_says(A_GVA(7), 6);
	check((region.window[WINDOW_PD][0] | PTE_A) == (windows | PTE_A), "entry", 0);
}

/* The second of two pages is not there, or read-only: the fault is the guest's, and afterwards all is well. */
static void faults_between(void)
{
	static const uint64_t missing[] = { 0, PTE_W };
	const uint64_t at = WINDOW(WINDOW_B) - 256;
	volatile uint64_t *entry = &region.windows[2 + WINDOW_B];
	uint64_t words[XMM_WORDS], good = *entry;

	for (unsigned int n = 0; n < 2; n++) {
		struct attempt a;

		for (unsigned int i = 0; i < XMM_WORDS; i++)
			words[i] = region.leaf[straddling(n + 1, i)];
		set_words(words, XMM_WORDS);
		*entry = missing[n] ? good & ~missing[n] : 0;
		region_flush();
		a = attempt_store(user, &stores[STORE_FXSAVE], at, false);
		check(a.fault && a.error == (FAULT_WRITE | (user ? FAULT_USER : 0) | (n ? FAULT_PRESENT : 0)) &&
		      a.cr2 - WINDOW(WINDOW_B) < 256, "fault of a store", a.cr2);
		*entry = good;
		region_flush();
		perform(STORE_FXSAVE, at);
		region_flush();
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			check_says(straddled_gva(i), straddling(n + 1, i));
	}
}

/* Under the guest's own TF there is one trap, behind the store, and none later. */
static void traced(void)
{
	const uint64_t at = WINDOW(WINDOW_A);

	for (unsigned int s = 0; s < (user ? STORES : 1); s++) {
		struct attempt a;

		store_word(at + 8 * 7, region.leaf[s % LEAVES]);
		invlpg(A_GVA(7));
		check_says(A_GVA(7), s % LEAVES);
		a = attempt_store(user, &stores[s], at + 512, true);
		check(!a.fault && a.traces == 1 && a.trace_rip == traced_rip(user, &stores[s]), "trap", a.traces);
		check(a.dr6 & DR6_BS, "DR6", a.dr6);
		perform(s, at + 512);
	}
}

/* The flags are the guest's, whoever else traces it. */
static void flags_on_a_table(void)
{
	const uint64_t at = WINDOW(WINDOW_A) + 8 * 101;
	struct attempt a = attempt_pushfq(user, at, false);

	check(!a.fault && (region.window[WINDOW_A][100] & RFLAGS_PUSHED) == RFLAGS_FIXED, "flags",
	      region.window[WINDOW_A][100]);
	if (!user)
		return;
	check_says(A_GVA(7), (STORES - 1) % LEAVES);
	a = attempt_pushfq(user, at, true);
	check(!a.fault && a.traces == 4 && (region.window[WINDOW_A][100] & RFLAGS_PUSHED) == RFLAGS_PUSHED,
	      "flags of a trace", region.window[WINDOW_A][100]);
}

/* Nobody uses the table while it is stored to many times. */
static void again_and_again(void)
{
	uint64_t words[XMM_WORDS];

	for (unsigned int round = 0; round < 10; round++) {
		for (unsigned int i = 0; i < XMM_WORDS; i++)
			words[i] = region.leaf[(round + i) % LEAVES];
		store_words(WINDOW(WINDOW_B), words);
	}
	region_flush();
	for (unsigned int i = 0; i < XMM_WORDS; i++)
		check_says(B_GVA(FIRST_XMM_ENTRY + i), (9 + i) % LEAVES);
}

static void run(void)
{
	one_entry();
	many_entries();
	two_tables();
	the_root();
	through_itself();
	own_path();
	faults_between();
	every_store_to_every_table();
	traced();
	flags_on_a_table();
	again_and_again();
	kprintf("tablestep: %u checks, %u wrong\n", checks, failures);
	machine_exit(failures != 0);
}

int image_main(const char *args)
{
	user = strcmp(args, "user") == 0;
	if (!user && strcmp(args, "kernel") != 0)
		machine_usage("tablestep user|kernel");
	region_start(run);
}
