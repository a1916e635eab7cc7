#include "tests/vm/scenario_insn.h"

#include <stddef.h>

#include "guest/abi.h"
#include "shadow/rflags.h"

#define INSN_MAX 10u
#define PLAIN_FLAGS                                                                                                    \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_IF | RFLAGS_DF | RFLAGS_OF | RFLAGS_ID)

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
	if (scenario_chance(s, 4))
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

static void system_selector(struct scenario *s)
{
	uint16_t in_memory = 0;

	selector(s);
	if (s->cs.gpr[CPU_RBX] + 2 < SCENARIO_RAM)
		in_memory = (uint16_t)(s->ram[s->cs.gpr[CPU_RBX]]);
	if ((s->cs.gpr[CPU_RAX] | in_memory) & 4)
		s->tags |= TAG_LOCAL_SYSTEM;
}

static void cr0(struct scenario *s)
{
	s->cs.gpr[CPU_RAX] = s->cs.cr0 ^ 1ull << random_below(&s->random, scenario_chance(s, 80) ? 32 : 64);
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
		s->cs.gpr[CPU_RAX] ^= 1ull << random_below(&s->random, scenario_chance(s, 90) ? 24 : 64);
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
	if (scenario_chance(s, 20) && !(s->avoid & AVOID_GENERAL_DETECT))
		s->cs.dr7 |= 1u << 13;
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

	s->tags |= number == 0x277 ? TAG_PAT : 0;
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

static uint16_t code_selector(struct scenario *s)
{
	static const uint16_t good[] = {0x08, 0x2b, 0x2b, 0x1b};

	return scenario_chance(s, 60) ? good[random_below(&s->random, 4)] : scenario_selector(s);
}

static uint16_t stack_selector(struct scenario *s, uint16_t code)
{
	uint16_t selector = code & 3 ? 0x23 : 0x10;

	if (scenario_chance(s, 30))
		selector = scenario_selector(s);
	if (scenario_chance(s, 10))
		selector = (uint16_t)random_below(&s->random, 4);
	return selector;
}

/* RFLAGS without TF and VM: single steps are not our subject. */
static uint64_t flags_image(struct scenario *s)
{
	uint64_t image = any(s) & 0xffffffff & ~(RFLAGS_TF | RFLAGS_VM | RFLAGS_VIF | RFLAGS_VIP);

	return s->avoid & AVOID_SYSTEM_FLAGS ? image & PLAIN_FLAGS : image;
}

static void put_words(struct scenario *s, const uint64_t *words, unsigned int count, unsigned int size)
{
	for (unsigned int i = 0; i < count; i++)
		scenario_put(s, s->cs.gpr[CPU_RSP] + (uint64_t)i * size, &words[i], size);
}

static void put_iret(struct scenario *s, unsigned int size)
{
	uint16_t code = code_selector(s), stack = stack_selector(s, code);
	uint64_t frame[] = {scenario_target(s, code & 3), code | (any(s) & ~0xffffull), flags_image(s),
			    scenario_stack(s, code & 3 ? SCENARIO_USER_STACK : SCENARIO_KERNEL_STACK),
			    stack | (any(s) & ~0xffffull)};

	put_words(s, frame, 5, size);
	if (scenario_chance(s, 80))
		s->cs.rflags &= ~RFLAGS_NT;
}

static void iretq(struct scenario *s)
{
	put_iret(s, 8);
}

static void iretd(struct scenario *s)
{
	put_iret(s, 4);
}

static void put_far_ret(struct scenario *s, unsigned int size, unsigned int extra)
{
	uint16_t code = code_selector(s), stack = stack_selector(s, code);
	uint64_t frame[] = {scenario_target(s, code & 3), code | (any(s) & ~0xffffull)};
	uint64_t outer[] = {scenario_stack(s, code & 3 ? SCENARIO_USER_STACK : SCENARIO_KERNEL_STACK),
			    stack | (any(s) & ~0xffffull)};

	put_words(s, frame, 2, size);
	s->cs.gpr[CPU_RSP] += 2 * size + extra;
	put_words(s, outer, 2, size);
	s->cs.gpr[CPU_RSP] -= 2 * size + extra;
}

static void retfq(struct scenario *s)
{
	put_far_ret(s, 8, 0);
}

static void retfq_16(struct scenario *s)
{
	put_far_ret(s, 8, 16);
}

static void retfd(struct scenario *s)
{
	put_far_ret(s, 4, 0);
}

static void sysret(struct scenario *s)
{
	s->cs.gpr[CPU_RCX] = scenario_target(s, 3);
	s->cs.gpr[CPU_R11] = flags_image(s) | (any(s) & ~0xffffffffull);
}

static void pop(struct scenario *s)
{
	uint64_t value = scenario_selector(s) | (any(s) & ~0xffffull);

	put_words(s, &value, 1, 8);
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
	{"mov cr0, rax", 3, {0x0f, 0x22, 0xc0}, cr0, 0},
	{"mov cr2, rax", 3, {0x0f, 0x22, 0xd0}, NULL, 0},
	{"mov cr3, rax", 3, {0x0f, 0x22, 0xd8}, cr3, TAG_CR3},
	{"mov cr4, rax", 3, {0x0f, 0x22, 0xe0}, cr4, 0},
	{"mov cr8, rax", 4, {0x44, 0x0f, 0x22, 0xc0}, cr8, 0},
	{"mov cr1, rax", 3, {0x0f, 0x22, 0xc8}, NULL, TAG_CR1},
	{"mov rdi, cr0", 3, {0x0f, 0x20, 0xc7}, NULL, 0},
	{"mov rdi, cr2", 3, {0x0f, 0x20, 0xd7}, NULL, 0},
	{"mov r9, cr3", 4, {0x41, 0x0f, 0x20, 0xd9}, NULL, 0},
	{"mov rdi, cr4", 3, {0x0f, 0x20, 0xe7}, NULL, 0},
	{"mov rdi, cr8", 4, {0x44, 0x0f, 0x20, 0xc7}, NULL, 0},
	{"mov dr2, rax", 3, {0x0f, 0x23, 0xd0}, debug, 0},
	{"mov dr4, rax", 3, {0x0f, 0x23, 0xe0}, low_debug, 0},
	{"mov dr6, rax", 3, {0x0f, 0x23, 0xf0}, debug, 0},
	{"mov dr7, rax", 3, {0x0f, 0x23, 0xf8}, debug, 0},
	{"mov rdi, dr1", 3, {0x0f, 0x21, 0xcf}, debug, 0},
	{"mov rdi, dr5", 3, {0x0f, 0x21, 0xef}, debug, 0},
	{"mov rdi, dr6", 3, {0x0f, 0x21, 0xf7}, debug, 0},
	{"mov rdi, dr7", 3, {0x0f, 0x21, 0xff}, debug, 0},
	{"clts", 2, {0x0f, 0x06}, NULL, 0},
	{"lmsw ax", 3, {0x0f, 0x01, 0xf0}, NULL, 0},
	{"lmsw [rbx]", 3, {0x0f, 0x01, 0x33}, memory, 0},
	{"smsw edi", 3, {0x0f, 0x01, 0xe7}, NULL, 0},
	{"smsw di", 4, {0x66, 0x0f, 0x01, 0xe7}, NULL, 0},
	{"smsw rdi", 4, {0x48, 0x0f, 0x01, 0xe7}, NULL, 0},
	{"smsw [rbx]", 3, {0x0f, 0x01, 0x23}, memory, 0},
	{"lgdt [rbx]", 3, {0x0f, 0x01, 0x13}, table, TAG_TABLE},
	{"lidt [rbx]", 3, {0x0f, 0x01, 0x1b}, table, TAG_TABLE},
	{"sgdt [rbx]", 3, {0x0f, 0x01, 0x03}, memory, TAG_TABLE},
	{"sidt [rbx]", 3, {0x0f, 0x01, 0x0b}, memory, TAG_TABLE},
	{"lldt ax", 3, {0x0f, 0x00, 0xd0}, system_selector, 0},
	{"lldt [rbx]", 3, {0x0f, 0x00, 0x13}, system_selector, 0},
	{"ltr ax", 3, {0x0f, 0x00, 0xd8}, system_selector, 0},
	{"ltr [rbx]", 3, {0x0f, 0x00, 0x1b}, system_selector, 0},
	{"sldt edi", 3, {0x0f, 0x00, 0xc7}, NULL, 0},
	{"sldt rdi", 4, {0x48, 0x0f, 0x00, 0xc7}, NULL, 0},
	{"sldt [rbx]", 3, {0x0f, 0x00, 0x03}, memory, 0},
	{"str di", 4, {0x66, 0x0f, 0x00, 0xcf}, NULL, 0},
	{"str edi", 3, {0x0f, 0x00, 0xcf}, NULL, 0},
	{"str [rbx]", 3, {0x0f, 0x00, 0x0b}, memory, 0},
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
	{"iretq", 2, {0x48, 0xcf}, iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretq", 2, {0x48, 0xcf}, iretq, TAG_FRAME | TAG_SEGMENT},
	{"iretd", 1, {0xcf}, iretd, TAG_FRAME | TAG_SEGMENT},
	{"retfq", 2, {0x48, 0xcb}, retfq, TAG_FRAME | TAG_SEGMENT},
	{"retfq", 2, {0x48, 0xcb}, retfq, TAG_FRAME | TAG_SEGMENT},
	{"retfq 16", 4, {0x48, 0xca, 0x10, 0x00}, retfq_16, TAG_FRAME | TAG_SEGMENT},
	{"retfd", 1, {0xcb}, retfd, TAG_FRAME | TAG_SEGMENT},
	{"sysretq", 3, {0x48, 0x0f, 0x07}, sysret, TAG_FRAME},
	{"sysretl", 2, {0x0f, 0x07}, sysret, TAG_FRAME | TAG_SYSRET32},
	{"swapgs", 3, {0x0f, 0x01, 0xf8}, NULL, 0},
	{"rdmsr", 2, {0x0f, 0x32}, msr, 0},
	{"wrmsr", 2, {0x0f, 0x30}, msr, 0},
	{"wrmsr", 2, {0x0f, 0x30}, msr, 0},
	{"rdpmc", 2, {0x0f, 0x33}, NULL, 0},
	{"invlpg [rbx]", 3, {0x0f, 0x01, 0x3b}, memory, 0},
	{"wbinvd", 2, {0x0f, 0x09}, NULL, 0},
	{"int 0x80", 2, {0xcd, 0x80}, NULL, TAG_SOFTWARE_INTERRUPT | TAG_INT_N},
	{"int 0x21", 2, {0xcd, 0x21}, NULL, TAG_SOFTWARE_INTERRUPT | TAG_INT_N},
	{"int 4", 2, {0xcd, 0x04}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"int 3", 2, {0xcd, 0x03}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"int3", 1, {0xcc}, NULL, TAG_SOFTWARE_INTERRUPT},
	{"ud2", 2, {0x0f, 0x0b}, NULL, 0},
	{"div ecx", 2, {0xf7, 0xf1}, divisor, 0},
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
		put_form(s, &at, TAG_FRAME | TAG_STRING_IN | TAG_CR3 | TAG_TABLE);
	scenario_put_end(s, at);
}
