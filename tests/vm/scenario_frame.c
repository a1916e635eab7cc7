#include "shadow/rflags.h"
#include "tests/vm/scenario_insn.h"

#define PLAIN_FLAGS                                                                                                    \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_IF | RFLAGS_DF | RFLAGS_OF | RFLAGS_ID)

static uint16_t code_selector(struct scenario *s)
{
	static const uint16_t good[] = {0x08, 0x2b, 0x2b, 0x1b};

	return scenario_chance(s, 60) || (s->avoid & AVOID_ODD_RETURN) ? good[random_below(&s->random, 4)] : scenario_selector(s);
}

static uint16_t stack_selector(struct scenario *s, uint16_t code)
{
	uint16_t selector = code & 3 ? 0x23 : 0x10;

	if (s->avoid & AVOID_ODD_RETURN)
		return selector;
	if (scenario_chance(s, 30))
		selector = scenario_selector(s);
	if (scenario_chance(s, 10))
		selector = scenario_null(s, (uint16_t)random_below(&s->random, 4));
	return selector;
}

/* RFLAGS without TF and VM: single steps are not our subject. */
static uint64_t flags_image(struct scenario *s)
{
	uint64_t image = random_next(&s->random) & 0xffffffff & ~(RFLAGS_TF | RFLAGS_VM | RFLAGS_VIF | RFLAGS_VIP);

	return s->avoid & AVOID_SYSTEM_FLAGS ? image & PLAIN_FLAGS : image;
}

void scenario_put_words(struct scenario *s, const uint64_t *words, unsigned int count, unsigned int size)
{
	for (unsigned int i = 0; i < count; i++)
		scenario_put(s, s->cs.gpr[CPU_RSP] + (uint64_t)i * size, &words[i], size);
}

static void put_iret(struct scenario *s, unsigned int size)
{
	uint16_t code = code_selector(s), stack = stack_selector(s, code);
	uint64_t frame[] = {scenario_target(s, code & 3), code | (random_next(&s->random) & ~0xffffull), flags_image(s),
			    scenario_stack(s, code & 3 ? SCENARIO_USER_STACK : SCENARIO_KERNEL_STACK),
			    stack | (random_next(&s->random) & ~0xffffull)};

	scenario_put_words(s, frame, 5, size);
	if (scenario_chance(s, 80))
		s->cs.rflags &= ~RFLAGS_NT;
}

void scenario_iretq(struct scenario *s)
{
	put_iret(s, 8);
}

/* A null SS in ring 0 becomes the kernel's data segment. */
static void fill_ss(struct scenario *s)
{
	if ((s->avoid & AVOID_NULL_SS) && !s->cs.segment[CPU_SS].selector)
		s->cs.segment[CPU_SS] = (struct cpu_segment){.selector = 0x10, .attributes = 0xc93, .limit = UINT32_MAX};
}

void scenario_iretd(struct scenario *s)
{
	fill_ss(s);
	put_iret(s, 4);
}

static void put_far_ret(struct scenario *s, unsigned int size, unsigned int extra)
{
	uint16_t code = code_selector(s), stack = stack_selector(s, code);
	uint64_t frame[] = {scenario_target(s, code & 3), code | (random_next(&s->random) & ~0xffffull)};
	uint64_t outer[] = {scenario_stack(s, code & 3 ? SCENARIO_USER_STACK : SCENARIO_KERNEL_STACK),
			    stack | (random_next(&s->random) & ~0xffffull)};

	scenario_put_words(s, frame, 2, size);
	s->cs.gpr[CPU_RSP] += 2 * size + extra;
	scenario_put_words(s, outer, 2, size);
	s->cs.gpr[CPU_RSP] -= 2 * size + extra;
}

void scenario_retfq(struct scenario *s)
{
	put_far_ret(s, 8, 0);
}

void scenario_retfq_16(struct scenario *s)
{
	put_far_ret(s, 8, 16);
}

void scenario_retfd(struct scenario *s)
{
	fill_ss(s);
	put_far_ret(s, 4, 0);
}

void scenario_sysret(struct scenario *s)
{
	s->cs.gpr[CPU_RCX] = scenario_target(s, 3);
	s->cs.gpr[CPU_R11] = flags_image(s) | (random_next(&s->random) & ~0xffffffffull);
}
