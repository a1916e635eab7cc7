#include "tests/vm/scenario_insn.h"

#include <stddef.h>

#include "guest/abi.h"
#include "shadow/rflags.h"

#define INSN_MAX 10u
#define DR7_GD (1ull << 13)

struct form {
	const char *name;
	uint8_t size, bytes[INSN_MAX];
	void (*prepare)(struct scenario *s);
	unsigned int tags;
};

static uint64_t any(struct scenario *s)
{
	return random_next(&s->random);
}

static uint64_t data_address(struct scenario *s)
{
	uint64_t at = (scenario_chance(s, 50) ? SCENARIO_KERNEL_DATA : SCENARIO_USER_DATA) + random_below(&s->random, 8000);

	if (scenario_chance(s, 30))
		at = (at & ~0x3fffull) + 4096 - random_below(&s->random, 16);
	if (scenario_chance(s, 5))
		at = SCENARIO_UNMAPPED + random_below(&s->random, 4096);
	if (scenario_chance(s, 4) && !(s->avoid & AVOID_EDGE_OPERAND))
		at = 0x800000000000 - random_below(&s->random, 12);
	return at;
}

static void memory(struct scenario *s)
{
	uint64_t value = any(s);

	s->cs.gpr[CPU_RBX] = data_address(s);
	scenario_put(s, s->cs.gpr[CPU_RBX], &value, sizeof(value));
}

static void selector(struct scenario *s)
{
	uint16_t value = scenario_selector(s);

	memory(s);
	scenario_put(s, s->cs.gpr[CPU_RBX], &value, sizeof(value));
	s->cs.gpr[CPU_RAX] = (any(s) & ~0xffffull) | scenario_selector(s);
}

static void task_selector(struct scenario *s)
{
	uint16_t good = 0x30;

	selector(s);
	if (!(s->avoid & AVOID_NULL_TR))
		return;
	if (!(s->cs.gpr[CPU_RAX] & 0xfffc))
		s->cs.gpr[CPU_RAX] |= good;
	if (s->cs.gpr[CPU_RBX] < SCENARIO_RAM && !(s->ram[s->cs.gpr[CPU_RBX]] & 0xfc))
		scenario_put(s, s->cs.gpr[CPU_RBX], &good, sizeof(good));
}

static void cr0(struct scenario *s)
{
	/* KVM's emulator does not see the upper half, which is reserved. The same for CR4. */
	s->cs.gpr[CPU_RAX] = s->cs.cr0 ^ 1ull << random_below(&s->random, 32);
	if (scenario_chance(s, 10))
		s->cs.gpr[CPU_RAX] ^= CR0_CD | CR0_NW;
}

static void cr3(struct scenario *s)
{
	s->cs.gpr[CPU_RAX] = scenario_chance(s, 40) ? s->cs.cr3 : 0x2000;
	if (scenario_chance(s, 30))
		s->cs.gpr[CPU_RAX] ^= 1ull << random_below(&s->random, 64);
}

static void cr4(struct scenario *s)
{
	s->cs.gpr[CPU_RAX] = s->cs.cr4;
	if (scenario_chance(s, 80))
		s->cs.gpr[CPU_RAX] ^= 1ull << random_below(&s->random, 24);
}

static void cr8(struct scenario *s)
{
	s->cs.gpr[CPU_RAX] = scenario_chance(s, 70) ? random_below(&s->random, 16) : any(s) >> random_below(&s->random, 64);
}

static void debug(struct scenario *s)
{
	/* No breakpoint is switched on: the host's own are in the way. */
	s->cs.gpr[CPU_RAX] = any(s) & 0xffffff00;
	if (scenario_chance(s, 10))
		s->cs.gpr[CPU_RAX] |= 1ull << (32 + random_below(&s->random, 32));
	for (unsigned int i = 0; i < 4; i++)
		s->cs.dr[i] = any(s) >> 17;
	if (scenario_chance(s, 20))
		s->cs.dr7 |= DR7_GD;
	if (s->avoid & AVOID_GENERAL_DETECT) {
		s->cs.gpr[CPU_RAX] &= ~DR7_GD;
		s->cs.dr7 &= ~DR7_GD;
	}
}

static void low_debug(struct scenario *s)
{
	debug(s);
	s->cs.gpr[CPU_RAX] &= 0xffffffff;
}

static void table(struct scenario *s)
{
	uint16_t limit = (uint16_t)any(s);
	uint64_t base = any(s);

	if (scenario_chance(s, 70))
		base = (uint64_t)((int64_t)(base << 16) >> 16);
	memory(s);
	scenario_put(s, s->cs.gpr[CPU_RBX], &limit, sizeof(limit));
	scenario_put(s, s->cs.gpr[CPU_RBX] + 2, &base, sizeof(base));
}

static void msr(struct scenario *s)
{
	static const uint32_t numbers[] = {0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
					   0xc0000101, 0xc0000102, 0x174, 0x175, 0x176, 0x277, 0x12345, 0xc0001234};
	uint32_t number = numbers[random_below(&s->random, sizeof(numbers) / sizeof(*numbers))];
	uint64_t value = any(s);
	bool address = number != 0xc0000081 && number != 0xc0000084 && number != 0x277 && number != 0x174;

	s->tags |= number == 0x277 ? TAG_PAT : number == 0x175 || number == 0x176 ? TAG_SYSENTER : 0;
	if (number == 0xc0000080) {
		value = s->cs.efer ^ (scenario_chance(s, 80) ? 1ull << random_below(&s->random, 16) : value);
	} else if (number == 0x277) {
		value &= 0x0505050505050505;
		if (scenario_chance(s, 20)) {
			value |= 1ull << random_below(&s->random, 64);
			s->tags |= TAG_ODD_MSR;
		}
	} else if (address && scenario_chance(s, 80)) {
		value = (uint64_t)((int64_t)(value << 16) >> 16);
	} else if (number == 0xc0000084 && scenario_chance(s, 80)) {
		value &= 0xffffffff;
	} else if (number != 0x277) {
		s->tags |= TAG_ODD_MSR;
	}
	s->cs.gpr[CPU_RCX] = number | (scenario_chance(s, 50) ? 0xabcd00000000 : 0);
	s->cs.gpr[CPU_RAX] = (any(s) << 32) | (uint32_t)value;
	s->cs.gpr[CPU_RDX] = (any(s) << 32) | value >> 32;
}

static void counter(struct scenario *s)
{
	s->cs.gpr[CPU_RCX] = 0x1234;
}

static void pop(struct scenario *s)
{
	uint64_t value = scenario_selector(s) | (any(s) & ~0xffffull);

	if (s->avoid & AVOID_POP_CROSSING)
		s->cs.gpr[CPU_RSP] &= ~7ull;
	scenario_put_words(s, &value, 1, 8);
}

static void port(struct scenario *s)
{
	s->cs.gpr[CPU_RDX] = (any(s) & ~0xffffull) | random_below(&s->random, scenario_chance(s, 80) ? 0x200 : 0x10000);
}

static void string(struct scenario *s)
{
	port(s);
	s->cs.gpr[CPU_RCX] = (any(s) & ~0xffull) | random_below(&s->random, 12);
	if (scenario_chance(s, 80))
		s->cs.gpr[CPU_RCX] &= 0xff;
	s->cs.gpr[CPU_RSI] = data_address(s);
	s->cs.gpr[CPU_RDI] = data_address(s);
	s->cs.rflags |= scenario_chance(s, 30) ? RFLAGS_DF : 0;
	/* KVM's emulator looks only at the first byte, whether it is canonical. */
	if (s->cs.gpr[CPU_RSI] >= SCENARIO_RAM)
		s->cs.gpr[CPU_RSI] = SCENARIO_UNMAPPED;
}

/* The same with upper halves that a 32-bit address does not see. */
static void short_string(struct scenario *s)
{
	string(s);
	s->cs.gpr[CPU_RCX] &= 0xff;
	if (scenario_chance(s, 80))
		s->cs.gpr[CPU_RCX] |= 0x5500000000;
	s->cs.gpr[CPU_RSI] |= 0x5500000000;
	s->cs.gpr[CPU_RDI] |= 0x5500000000;
}

static void divisor(struct scenario *s)
{
	s->cs.gpr[CPU_RCX] = 0;
}

static const struct form forms[] = {
	{"mov cr0, rax", 3, {0x0f, 0x22, 0xc0}, cr0, TAG_CR},
	{"mov cr2, rax", 3, {0x0f, 0x22, 0xd0}, NULL, 0},
	{"mov cr3, rax", 3, {0x0f, 0x22, 0xd8}, cr3, TAG_CR3},
	{"mov cr4, rax", 3, {0x0f, 0x22, 0xe0}, cr4, TAG_CR},
	{"mov cr8, rax", 4, {0x44, 0x0f, 0x22, 0xc0}, cr8, 0},
	{"mov cr1, rax", 3, {0x0f, 0x22, 0xc8}, NULL, TAG_CR1},
	{"mov rdi, cr0", 3, {0x0f, 0x20, 0xc7}, NULL, 0},
	{"mov rdi, cr2", 3, {0x0f, 0x20, 0xd7}, NULL, 0},
	{"mov r9, cr3", 4, {0x41, 0x0f, 0x20, 0xd9}, NULL, 0},
	{"mov rdi, cr4", 3, {0x0f, 0x20, 0xe7}, NULL, 0},
	{"mov rdi, cr8", 4, {0x44, 0x0f, 0x20, 0xc7}, NULL, 0},
	{"mov dr2, rax", 3, {0x0f, 0x23, 0xd0}, debug, 0},
	{"mov dr4, rax", 3, {0x0f, 0x23, 0xe0}, low_debug, TAG_NEEDS},
	{"mov dr6, rax", 3, {0x0f, 0x23, 0xf0}, debug, 0},
	{"mov dr7, rax", 3, {0x0f, 0x23, 0xf8}, debug, TAG_DR7},
	{"mov rdi, dr1", 3, {0x0f, 0x21, 0xcf}, debug, TAG_NEEDS},
	{"mov rdi, dr5", 3, {0x0f, 0x21, 0xef}, debug, TAG_NEEDS},
	{"mov rdi, dr6", 3, {0x0f, 0x21, 0xf7}, debug, TAG_NEEDS},
	{"mov rdi, dr7", 3, {0x0f, 0x21, 0xff}, debug, TAG_NEEDS},
	{"clts", 2, {0x0f, 0x06}, NULL, 0},
	{"lmsw ax", 3, {0x0f, 0x01, 0xf0}, NULL, 0},
	{"lmsw [rbx]", 3, {0x0f, 0x01, 0x33}, memory, 0},
	{"smsw edi", 3, {0x0f, 0x01, 0xe7}, NULL, TAG_UMIP},
	{"smsw di", 4, {0x66, 0x0f, 0x01, 0xe7}, NULL, TAG_UMIP},
	{"smsw rdi", 4, {0x48, 0x0f, 0x01, 0xe7}, NULL, TAG_UMIP},
	{"smsw [rbx]", 3, {0x0f, 0x01, 0x23}, memory, TAG_UMIP},
	{"lgdt [rbx]", 3, {0x0f, 0x01, 0x13}, table, TAG_TABLE},
	{"lidt [rbx]", 3, {0x0f, 0x01, 0x1b}, table, TAG_TABLE},
	{"sgdt [rbx]", 3, {0x0f, 0x01, 0x03}, memory, TAG_TABLE},
	{"sidt [rbx]", 3, {0x0f, 0x01, 0x0b}, memory, TAG_TABLE},
	{"lldt ax", 3, {0x0f, 0x00, 0xd0}, selector, TAG_SYSTEM},
	{"lldt [rbx]", 3, {0x0f, 0x00, 0x13}, selector, TAG_SYSTEM},
	{"ltr ax", 3, {0x0f, 0x00, 0xd8}, task_selector, TAG_SYSTEM},
	{"ltr [rbx]", 3, {0x0f, 0x00, 0x1b}, task_selector, TAG_SYSTEM},
	{"sldt edi", 3, {0x0f, 0x00, 0xc7}, NULL, TAG_UMIP},
	{"sldt rdi", 4, {0x48, 0x0f, 0x00, 0xc7}, NULL, TAG_UMIP},
	{"sldt [rbx]", 3, {0x0f, 0x00, 0x03}, memory, TAG_UMIP},
	{"str di", 4, {0x66, 0x0f, 0x00, 0xcf}, NULL, TAG_UMIP},
	{"str edi", 3, {0x0f, 0x00, 0xcf}, NULL, TAG_UMIP},
	{"str [rbx]", 3, {0x0f, 0x00, 0x0b}, memory, TAG_UMIP},
	{"mov es, ax", 2, {0x8e, 0xc0}, selector, TAG_SEGMENT},
	{"mov cs, ax", 2, {0x8e, 0xc8}, selector, TAG_SEGMENT},
	{"mov ss, ax", 2, {0x8e, 0xd0}, selector, TAG_SEGMENT},
	{"mov ds, ax", 2, {0x8e, 0xd8}, selector, TAG_SEGMENT},
	{"mov fs, ax", 2, {0x8e, 0xe0}, selector, TAG_SEGMENT},
	{"mov gs, ax", 2, {0x8e, 0xe8}, selector, TAG_SEGMENT},
	{"mov seg6, ax", 2, {0x8e, 0xf0}, selector, TAG_SEGMENT},
	{"mov es, [rbx]", 2, {0x8e, 0x03}, selector, TAG_SEGMENT},
	{"mov ss, [rbx]", 2, {0x8e, 0x13}, selector, TAG_SEGMENT},
	{"mov ds, [rbx]", 2, {0x8e, 0x1b}, selector, TAG_SEGMENT},
	{"pop fs", 2, {0x0f, 0xa1}, pop, TAG_SEGMENT},
	{"pop gs", 2, {0x0f, 0xa9}, pop, TAG_SEGMENT},
	{"pop fs (16)", 3, {0x66, 0x0f, 0xa1}, pop, TAG_SEGMENT},
	{"sti", 1, {0xfb}, NULL, 0},
	{"cli", 1, {0xfa}, NULL, 0},
	{"hlt", 1, {0xf4}, NULL, 0},
	{"iretq", 2, {0x48, 0xcf}, scenario_iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, scenario_iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, scenario_iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, scenario_iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretd", 1, {0xcf}, scenario_iretd, TAG_FRAME32 | TAG_FRAME | TAG_SEGMENT},
	{"retfq", 2, {0x48, 0xcb}, scenario_retfq, TAG_FRAME | TAG_SEGMENT},
	{"retfq", 2, {0x48, 0xcb}, scenario_retfq, TAG_FRAME | TAG_SEGMENT},
	{"retfq 16", 4, {0x48, 0xca, 0x10, 0x00}, scenario_retfq_16, TAG_FRAME | TAG_SEGMENT},
	{"retfd", 1, {0xcb}, scenario_retfd, TAG_FRAME32 | TAG_FRAME | TAG_SEGMENT},
	{"sysretq", 3, {0x48, 0x0f, 0x07}, scenario_sysret, TAG_FRAME},
	{"sysretl", 2, {0x0f, 0x07}, scenario_sysret, TAG_FRAME | TAG_SYSRET32},
	{"swapgs", 3, {0x0f, 0x01, 0xf8}, NULL, 0},
	{"rdmsr", 2, {0x0f, 0x32}, msr, TAG_NEEDS},
	{"wrmsr", 2, {0x0f, 0x30}, msr, TAG_NEEDS},
	{"wrmsr", 2, {0x0f, 0x30}, msr, TAG_NEEDS},
	{"rdpmc", 2, {0x0f, 0x33}, counter, TAG_NEEDS},
	{"invlpg [rbx]", 3, {0x0f, 0x01, 0x3b}, memory, 0},
	{"wbinvd", 2, {0x0f, 0x09}, NULL, 0},
	{"int 0x80", 2, {0xcd, 0x80}, NULL, TAG_SOFTWARE_INTERRUPT | TAG_INT_N},
	{"int 0x21", 2, {0xcd, 0x21}, NULL, TAG_SOFTWARE_INTERRUPT | TAG_INT_N},
	{"int 4", 2, {0xcd, 0x04}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"int 3", 2, {0xcd, 0x03}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"int3", 1, {0xcc}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"ud2", 2, {0x0f, 0x0b}, NULL, 0},
	{"div ecx", 2, {0xf7, 0xf1}, divisor, TAG_NEEDS},
	{"mov rax, [rbx]", 3, {0x48, 0x8b, 0x03}, memory, 0},
	{"mov [rbx], rax", 3, {0x48, 0x89, 0x03}, memory, 0},
	{"in al, dx", 1, {0xec}, port, 0},
	{"in ax, dx", 2, {0x66, 0xed}, port, 0},
	{"in eax, dx", 1, {0xed}, port, 0},
	{"in al, 0x61", 2, {0xe4, 0x61}, NULL, 0},
	{"out dx, eax", 1, {0xef}, port, 0},
	{"out 0x80, al", 2, {0xe6, 0x80}, NULL, 0},
	{"insb", 1, {0x6c}, string, TAG_STRING_IN},
	{"rep insb", 2, {0xf3, 0x6c}, string, TAG_STRING_IN},
	{"rep insw", 3, {0xf3, 0x66, 0x6d}, string, TAG_STRING_IN},
	{"rep insd", 2, {0xf3, 0x6d}, string, TAG_STRING_IN},
	{"a32 rep insd", 3, {0xf3, 0x67, 0x6d}, short_string, TAG_STRING_IN},
	{"outsd", 1, {0x6f}, string, 0},
	{"rep outsb", 2, {0xf3, 0x6e}, string, 0},
	{"rep outsw", 3, {0xf3, 0x66, 0x6f}, string, 0},
	{"rep outsd", 2, {0xf3, 0x6f}, string, 0},
	{"a32 rep outsb", 3, {0xf3, 0x67, 0x6e}, short_string, 0},
	{"nop", 1, {0x90}, NULL, 0},
};

#define FORMS (sizeof(forms) / sizeof(*forms))

/* The first instruction's registers are the ones that count: what comes second finds what there is. */
static const struct form *put_form(struct scenario *s, uint64_t *at, unsigned int not)
{
	const struct form *f;

	do
		f = &forms[random_below(&s->random, FORMS)];
	while (f->tags & not);

	scenario_put(s, *at, f->bytes, f->size);
	*at += f->size;
	s->tags |= f->tags;
	return f;
}

/* A vector from the interrupt controller, for a guest that would take it: then nothing is executed at RIP. */
static void put_interrupt(struct scenario *s)
{
	s->interrupt = 32 + (int)random_below(&s->random, 224);
	s->cs.rflags |= RFLAGS_IF;
	s->name = "interrupt";
}

void scenario_put_insns(struct scenario *s)
{
	uint64_t at = s->cs.rip;
	const struct form *f;

	if (scenario_chance(s, 5)) {
		put_interrupt(s);
		scenario_put_end(s, at);
		return;
	}
	f = put_form(s, &at, 0);
	if (f->prepare)
		f->prepare(s);
	s->name = f->name;
	if (scenario_chance(s, 20))
		put_form(s, &at, TAG_FRAME | TAG_STRING_IN | TAG_CR3 | TAG_TABLE | TAG_CR | TAG_SYSTEM | TAG_NEEDS);
	scenario_put_end(s, at);
}
