/*
 * Traps in place of PUSHF and POPF: in RAM and out of it again, whatever the guest did to its memory meanwhile; and what the
 * two instructions do, against the real CPU where ring 3 can tell, and against the rules of the manual elsewhere.
 */
#include "shadow/patch.h"

#include <check.h>
#include <string.h>

#include "shadow/privileged.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_guest.h"
#include "tests/vm/suite.h"

#define CODE 0x200000ull
#define CODE_SIZE 0x100u
#define HLT 0xf4
#define SITES 6u

/* Offsets of the instructions' last bytes; two are beside one another, and the first and last byte of all. */
static const unsigned int places[SITES] = {0, 0x20, 0x21, 0x40, 0x80, 0xff};
static const uint8_t opcodes[SITES] = {0x9c, 0x9c, 0x9d, 0x9d, 0x9c, 0x9d};

struct patched {
	struct mem ram;
	struct patches patches;
	uint8_t *code;		   /* in RAM */
	uint8_t image[CODE_SIZE]; /* what was loaded there */
};

static void put_sites(struct patched *t)
{
	static const struct scan_rule rule = {.mnemonic = ZYDIS_MNEMONIC_PUSHFQ, .kernel = RULE_PATCH};
	struct scan_site sites[SITES + 1] = {{0}};
	struct scan scan = {.site = sites, .count = SITES + 1};
	struct scan_host host = {0};

	for (unsigned int i = 0; i < SITES; i++) {
		unsigned int first = places[i] < SCAN_REACH ? 0 : places[i] - SCAN_REACH;
		unsigned int end = places[i] + SCAN_REACH >= CODE_SIZE ? CODE_SIZE : places[i] + SCAN_REACH + 1;

		t->image[places[i]] = opcodes[i];
		/* Not in order, and one is of two bytes. */
		sites[SITES - i] = (struct scan_site){.gpa = CODE + places[i] - (i == 3), .length = i == 3 ? 2 : 1,
						      .sure = true, .rule = &rule, .before = (uint8_t)(places[i] - first),
						      .size = (uint8_t)(end - first)};
	}
	for (unsigned int i = 0; i < SITES; i++)
		memcpy(sites[SITES - i].bytes, t->image + places[i] - sites[SITES - i].before, sites[SITES - i].size);
	sites[0] = (struct scan_site){.gpa = CODE + 0x60, .length = 1, .rule = &rule, .size = 1}; /* not sure: not patched */
	ck_assert_int_eq(patches_create(&t->patches, &scan, &host), 0);
	ck_assert_uint_eq(t->patches.count, SITES);
}

static void begin(struct patched *t, struct random *r)
{
	ck_assert_int_eq(mem_create(&t->ram, 4 << 20, MEM_HUGE_NEVER), 0);
	for (unsigned int i = 0; i < CODE_SIZE; i++) {
		do
			t->image[i] = (uint8_t)random_next(r);
		while (t->image[i] == HLT || t->image[i] == 0x9c || t->image[i] == 0x9d);
	}
	put_sites(t);
	t->code = mem_at(&t->ram, CODE, CODE_SIZE, MEM_READ);
	memcpy(t->code, t->image, CODE_SIZE);
}

static void end(struct patched *t)
{
	patches_destroy(&t->patches);
	mem_destroy(&t->ram);
}

static int site_at(unsigned int offset)
{
	for (unsigned int i = 0; i < SITES; i++)
		if (places[i] == offset)
			return (int)i;
	return -1;
}

START_TEST(in_and_out)
{
	struct random r = random_start(__func__);
	struct patched t;
	uint8_t byte;

	begin(&t, &r);
	for (unsigned int round = 0; round < 3; round++) {
		patches_put_in(&t.patches, &t.ram);
		patches_put_in(&t.patches, &t.ram);
		for (unsigned int i = 0; i < CODE_SIZE; i++) {
			int site = site_at(i);

			expect_eq(t.code[i], site < 0 ? t.image[i] : HLT);
			expect_eq(patches_find(&t.patches, &t.ram, CODE + i, &byte), site >= 0);
			expect(site < 0 || byte == opcodes[site]);
		}
		patches_take_out(&t.patches, &t.ram);
		patches_take_out(&t.patches, &t.ram);
		expect(!memcmp(t.code, t.image, CODE_SIZE));
		expect(!patches_find(&t.patches, &t.ram, CODE + places[1], &byte));
	}
	end(&t);
}
END_TEST

struct ear {
	struct mem_listener listener; /* first */
	unsigned int told;
};

static void on_dirtied(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	((struct ear *)l)->told++;
}

/* Nobody who follows what is written to RAM hears of it. */
START_TEST(makes_nothing_dirty)
{
	struct ear ear = {.listener.dirtied = on_dirtied};
	struct random r = random_start(__func__);
	struct patched t;

	begin(&t, &r);
	mem_listen(&t.ram, &ear.listener);
	patches_put_in(&t.patches, &t.ram);
	patches_take_out(&t.patches, &t.ram);
	ck_assert_uint_eq(ear.told, 0);
	mem_unlisten(&t.ram, &ear.listener);
	end(&t);
}
END_TEST

/* Memory that the guest uses for something else stays as it is, with whatever the guest put at the very place. */
START_TEST(reused_memory)
{
	struct random r = random_start(__func__);
	uint8_t data[CODE_SIZE], byte;
	struct patched t;

	begin(&t, &r);
	for (unsigned int round = 0; round < 200; round++) {
		memcpy(t.code, t.image, CODE_SIZE);
		patches_put_in(&t.patches, &t.ram);
		for (unsigned int i = 0; i < CODE_SIZE; i++)
			data[i] = (uint8_t)random_next(&r);
		for (unsigned int i = 0; i < SITES; i++)
			data[places[i]] = HLT;
		memcpy(t.code, data, CODE_SIZE);
		for (unsigned int i = 0; i < SITES; i++)
			expect(!patches_find(&t.patches, &t.ram, CODE + places[i], &byte));
		patches_take_out(&t.patches, &t.ram);
		expect(!memcmp(t.code, data, CODE_SIZE));
		for (unsigned int i = 0; i < SITES; i++)
			t.code[places[i]] = data[places[i]] = opcodes[i];
		patches_put_in(&t.patches, &t.ram);
		expect(!memcmp(t.code, data, CODE_SIZE));
		patches_take_out(&t.patches, &t.ram);
	}
	end(&t);
}
END_TEST

/* A guest may change its code: an instruction of ours, or some bytes beside one. */
START_TEST(changed_code)
{
	struct random r = random_start(__func__);
	struct patched t;
	uint8_t byte;

	begin(&t, &r);
	patches_put_in(&t.patches, &t.ram);
	t.code[0x20] = 0x90;
	for (unsigned int i = 0x3a; i < 0x3f; i++)
		t.code[i] ^= 0x55;
	ck_assert(patches_find(&t.patches, &t.ram, CODE + 0x40, &byte));
	patches_take_out(&t.patches, &t.ram);
	ck_assert_uint_eq(t.code[0x20], 0x90);
	ck_assert_uint_eq(t.code[0x21], 0x9d);
	ck_assert_uint_eq(t.code[0x40], 0x9d);
	ck_assert_uint_eq(t.code[0x3a], t.image[0x3a] ^ 0x55);
	end(&t);
}
END_TEST

START_TEST(copied_code)
{
	struct random r = random_start(__func__);
	struct patched t;
	uint8_t byte;

	begin(&t, &r);
	patches_put_in(&t.patches, &t.ram);
	ck_assert_int_eq(mem_write(&t.ram, 0x10007, t.code, CODE_SIZE), 0);
	ck_assert(patches_copied(&t.patches, &t.ram, 0x10007 + 0x80));
	ck_assert(!patches_find(&t.patches, &t.ram, 0x10007 + 0x80, &byte));
	ck_assert(!patches_copied(&t.patches, &t.ram, 0x10007 + 0x81));
	ck_assert(!patches_copied(&t.patches, &t.ram, 0x50000));
	ck_assert(!patches_copied(&t.patches, &t.ram, 0)); /* what would lie around it begins below 0 */
	ck_assert(!patches_copied(&t.patches, &t.ram, UINT64_MAX));
	end(&t);
}
END_TEST

/* An image without such instructions. */
START_TEST(nothing_to_do)
{
	struct scan scan = {0};
	struct scan_host host = {0};
	struct patches p;
	uint8_t byte;

	ck_assert_int_eq(patches_create(&p, &scan, &host), 0);
	patches_put_in(&p, NULL);
	ck_assert(!patches_find(&p, NULL, 0x1000, &byte));
	patches_take_out(&p, NULL);
	patches_destroy(&p);
}
END_TEST

#define STACK 0x4000ull
#define STACK_GPA 0x3000ull
#define RSP (STACK + 0x800)

static enum insn_result run(struct guest *g, const char *code, unsigned int length, struct trap *trap)
{
	struct privileged p = {.g = &g->gmem, .iterations = 1};
	struct insn in;

	memcpy(guest_ram(g, 0x1000), code, length);
	g->cs.rip = 0x1000;
	ck_assert_int_eq(insn_fetch(&g->gmem, &in, trap), INSN_DONE);
	return privileged_execute(&p, &in, trap);
}

static void create(struct guest *g)
{
	guest_create(g);
	guest_map(g, 0x1000, 0x1000, PTE_P | PTE_U);
	guest_map(g, STACK, STACK_GPA, PTE_P | PTE_U | PTE_W);
}

static uint64_t on_stack(struct guest *g, uint64_t gva, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, guest_ram(g, STACK_GPA + (gva - STACK)), size);
	return value;
}

/* Flags by name of the bit, and who may change them by POPF: AMD APM vol. 3, "POPF"; TF apart, which a debugger would mind. */
#define STATUS 0x8d5ull	  /* CF PF AF ZF SF OF */
#define DIRECTION 0x400ull
#define NESTED 0x4000ull
#define ID 0x200000ull
#define IF 0x200ull
#define IOPL 0x3000ull
#define TF 0x100ull
#define AC 0x40000ull
#define RF 0x10000ull
#define VM 0x20000ull

/* What the real CPU has after POPF of `value` in ring 3 with IOPL 0. */
static uint64_t native_pop(uint64_t before, uint64_t value, bool narrow)
{
	uint64_t saved, after;

	/* The compiler may keep things in the 128 bytes below the stack. */
	if (narrow)
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %0; push %2; popfq; pushw %w3; popfw; pushfq; pop %1; "
				 "push %0; popfq; lea 128(%%rsp), %%rsp"
				 : "=&r"(saved), "=&r"(after)
				 : "r"(before), "r"(value)
				 : "cc", "memory");
	else
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %0; push %2; popfq; push %3; popfq; pushfq; pop %1; "
				 "push %0; popfq; lea 128(%%rsp), %%rsp"
				 : "=&r"(saved), "=&r"(after)
				 : "r"(before), "r"(value)
				 : "cc", "memory");
	return after;
}

START_TEST(pops_like_the_cpu)
{
	const uint64_t tried = STATUS | DIRECTION | NESTED | ID;
	struct random r = random_start(__func__);
	struct guest g;
	struct trap trap;

	create(&g);
	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t before = (random_next(&r) & tried) | IF | 2, value = (random_next(&r) & ~(TF | AC)), after;
		bool narrow = random_next(&r) & 1;

		g.cs.rflags = before;
		g.cs.gpr[CPU_RSP] = RSP;
		memcpy(guest_ram(&g, STACK_GPA + 0x800), &value, sizeof(value));
		expect_eq(run(&g, narrow ? "\x66\x9d" : "\x9d", narrow ? 2 : 1, &trap), INSN_DONE);
		after = native_pop(before, value, narrow);
		/* Some hypervisors bring NT back as 0 after an interrupt, which will not come just there twice. */
		if (g.cs.rflags != (after & ~RF))
			after = native_pop(before, value, narrow);
		expect_eq(g.cs.rflags, after & ~RF);
		expect_eq(g.cs.gpr[CPU_RSP], RSP + (narrow ? 2 : 8));
		expect_eq(g.cs.rip, 0x1000 + (narrow ? 2 : 1));
	}
	guest_destroy(&g);
}
END_TEST

/* All flags, rings and IOPLs, bit by bit. */
START_TEST(pops_by_the_book)
{
	static const struct {
		uint64_t bit;
		bool wide;		 /* out of a 16-bit pop's reach */
		bool ring0, if_allowed; /* only then */
	} rules[] = {
		{STATUS, false, false, false}, {DIRECTION, false, false, false}, {NESTED, false, false, false},
		{TF, false, false, false},     {ID, true, false, false},	 {AC, true, false, false},
		{IOPL, false, true, false},    {IF, false, false, true},
	};
	struct random r = random_start(__func__);
	struct guest g;
	struct trap trap;

	create(&g);
	for (unsigned int round = 0; round < 4000; round++) {
		uint64_t before = (random_next(&r) & 0x257fd5) | 2, value = random_next(&r), expected = before & ~RF;
		unsigned int cpl = random_next(&r) & 1 ? 3 : 0, iopl = before >> 12 & 3;
		bool narrow = random_next(&r) & 1;

		for (unsigned int i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
			if ((rules[i].wide && narrow) || (rules[i].ring0 && cpl) || (rules[i].if_allowed && cpl > iopl))
				continue;
			expected = (expected & ~rules[i].bit) | (value & rules[i].bit);
		}
		guest_set_cpl(&g, cpl);
		g.cs.rflags = before;
		g.cs.gpr[CPU_RSP] = RSP;
		memcpy(guest_ram(&g, STACK_GPA + 0x800), &value, sizeof(value));
		expect_eq(run(&g, narrow ? "\x66\x9d" : "\x9d", narrow ? 2 : 1, &trap), INSN_DONE);
		expect_eq(g.cs.rflags, expected);
	}
	guest_destroy(&g);
}
END_TEST

START_TEST(pushes)
{
	struct random r = random_start(__func__);
	struct guest g;
	struct trap trap;

	create(&g);
	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t flags = (random_next(&r) & 0x277fd5) | 2, fill = random_next(&r);
		bool narrow = random_next(&r) & 1;
		unsigned int size = narrow ? 2 : 8;

		guest_set_cpl(&g, random_next(&r) & 1 ? 3 : 0);
		g.cs.rflags = flags;
		g.cs.gpr[CPU_RSP] = RSP;
		memcpy(guest_ram(&g, STACK_GPA + 0x7f8), &fill, sizeof(fill));
		expect_eq(run(&g, narrow ? "\x66\x9c" : "\x9c", narrow ? 2 : 1, &trap), INSN_DONE);
		expect_eq(g.cs.gpr[CPU_RSP], RSP - size);
		expect_eq(on_stack(&g, RSP - size, size), (flags & ~(RF | VM)) & (narrow ? 0xffff : ~0ull));
		expect_eq(on_stack(&g, RSP - 8, 8 - size), narrow ? fill & 0xffffffffffff : 0);
		expect_eq(g.cs.rflags, flags & ~RF);
	}
	guest_destroy(&g);
}
END_TEST

/* Nothing changes when the stack is not there. */
START_TEST(faults)
{
	static const struct {
		const char *code;
		uint64_t rsp, address;
		unsigned int vector;
	} cases[] = {
		{"\x9c", STACK, STACK - 8, TRAP_PF},
		{"\x9d", STACK + 0x1000, STACK + 0x1000, TRAP_PF},
		{"\x9c", 0x8000000000000000, 0, TRAP_SS},
		{"\x9d", 0x8000000000000000, 0, TRAP_SS},
		{"\x9d", 0x7ffffffffffc, 0, TRAP_SS},
	};
	struct guest g;

	create(&g);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu_state before;
		struct trap trap;

		g.cs.gpr[CPU_RSP] = cases[i].rsp;
		g.cs.rip = 0x1000;
		before = g.cs;
		ck_assert_int_eq(run(&g, cases[i].code, 1, &trap), INSN_TRAP);
		ck_assert_uint_eq(trap.vector, cases[i].vector);
		if (trap.vector == TRAP_PF)
			ck_assert_uint_eq(trap.cr2, cases[i].address);
		ck_assert(!memcmp(&before, &g.cs, sizeof(before)));
	}
	guest_destroy(&g);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		in_and_out, makes_nothing_dirty, reused_memory, changed_code, copied_code, nothing_to_do,
		pops_like_the_cpu, pops_by_the_book, pushes, faults,
	};

	return RUN_TESTS("shadow_patch", tests);
}
