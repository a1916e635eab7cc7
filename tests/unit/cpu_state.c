/*
 * The CPU state's visitor: every byte of it survives a round trip, and no bytes, however bad, do harm.
 */
#include "vmm/cpu_state.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/state.h"

static struct random rnd;

static void fill(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)random_next(&rnd);
}

/* Random everywhere, except where the state's own rules bind it. */
static void random_state(struct cpu_state *cs)
{
	fill((uint8_t *)cs, sizeof(*cs));
	for (int i = 0; i < CPU_SEGMENT_COUNT; i++)
		cs->segment[i].attributes &= 0xfff;
	cs->cr0 = CR0_PE | CR0_PG | (cs->cr0 & 0xffffffff);
	cs->cr8 &= 15;
	cs->efer |= EFER_LME | EFER_LMA;
	cs->dr6 &= 0xffffffff;
	cs->dr7 &= 0xffffffff;
	cs->exception.vector &= 31;
	cs->exception.valid = cs->exception.has_error = true;
	cs->interrupt.valid = cs->interrupt.has_error = false;
	cs->interrupt_shadow = true;
	cs->nmi_masked = false;
	cs->halted = true;
	memset(cs->xsave + 416, 0, sizeof(cs->xsave) - 416);
	cs->xsave[26] &= 2; /* reserved bits of MXCSR */
	cs->xsave[27] = 0;
	cs->xsave[512] = 3;
}

static void save(struct cpu_state *cs, struct state *s)
{
	state_save_init(s);
	cpu_state_visit(cs, s);
	ck_assert_ptr_null(state_error(s));
}

static const char *load(struct cpu_state *cs, const void *bytes, size_t size)
{
	struct state s;
	const char *error;

	state_load_init(&s, bytes, size);
	cpu_state_visit(cs, &s);
	error = state_error(&s);
	state_free(&s);
	return error;
}

START_TEST(round_trip)
{
	struct cpu_state *a = malloc(sizeof(*a)), *b = calloc(1, sizeof(*b));
	struct state first, second;

	random_state(a);
	save(a, &first);
	ck_assert_ptr_null(load(b, first.bytes, first.size));
	save(b, &second);
	ck_assert_uint_eq(first.size, second.size);
	ck_assert_mem_eq(first.bytes, second.bytes, first.size);
	ck_assert_mem_eq(a->gpr, b->gpr, sizeof(a->gpr));
	ck_assert_mem_eq(a->msr, b->msr, sizeof(a->msr));
	ck_assert_mem_eq(a->xsave, b->xsave, sizeof(a->xsave));
	ck_assert_uint_eq(a->cr3, b->cr3);
	ck_assert_uint_eq(a->segment[CPU_TR].base, b->segment[CPU_TR].base);
	state_free(&first);
	state_free(&second);
	free(a);
	free(b);
}
END_TEST

/* A host that has more than x87 and SSE says so of every guest. */
START_TEST(foreign_components)
{
	struct cpu_state *cs = malloc(sizeof(*cs));
	uint8_t *then = malloc(sizeof(cs->xsave));
	struct state s;

	random_state(cs);
	memcpy(then, cs->xsave, sizeof(cs->xsave));
	cs->xsave[464] = 0xe7; /* free for software to use, and Linux does */
	cs->xsave[513] = 2;    /* PKRU */
	cs->xsave[2688] = 0x55;
	save(cs, &s);
	ck_assert_ptr_null(load(cs, s.bytes, s.size));
	ck_assert_mem_eq(cs->xsave, then, sizeof(cs->xsave));
	state_free(&s);
	free(then);
	free(cs);
}
END_TEST

/* The visitor must reach every field: a change of any of them changes the saved bytes. */
START_TEST(no_field_is_forgotten)
{
	static const struct {
		size_t offset, size;
	} fields[] = {
#define FIELD(f) { offsetof(struct cpu_state, f), sizeof(((struct cpu_state *)0)->f) }
		FIELD(gpr), FIELD(rip), FIELD(rflags), FIELD(gdt.base), FIELD(gdt.limit), FIELD(idt.base), FIELD(idt.limit),
		FIELD(cr2), FIELD(cr3), FIELD(cr4), FIELD(dr), FIELD(msr), FIELD(xsave), FIELD(exception.error),
		FIELD(interrupt.vector), FIELD(interrupt.error), FIELD(segment[CPU_ES].base), FIELD(segment[CPU_TR].limit),
		FIELD(segment[CPU_LDTR].selector),
#undef FIELD
	};
	struct cpu_state *cs = malloc(sizeof(*cs));
	struct state before, after;

	random_state(cs);
	save(cs, &before);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		for (size_t at = 0; at < fields[i].size; at++) {
			uint8_t *byte = (uint8_t *)cs + fields[i].offset + at;

			*byte ^= 1;
			save(cs, &after);
			ck_assert_int_ne(memcmp(before.bytes, after.bytes, before.size), 0);
			state_free(&after);
			*byte ^= 1;
		}
	}
	state_free(&before);
	free(cs);
}
END_TEST

START_TEST(bad_states_are_refused)
{
	struct cpu_state *cs = malloc(sizeof(*cs));
	struct state s;

	random_state(cs);
	save(cs, &s);
	ck_assert_ptr_nonnull(load(cs, s.bytes, 0));
	ck_assert_ptr_nonnull(load(cs, s.bytes, s.size - 1));
	for (int i = 0; i < 4000; i++) {
		size_t at = random_next(&rnd) % s.size;
		uint8_t old = s.bytes[at];

		s.bytes[at] ^= (uint8_t)(1u << random_next(&rnd) % 8);
		load(cs, s.bytes, s.size);
		s.bytes[at] = old;
	}
	ck_assert_ptr_null(load(cs, s.bytes, s.size));
	state_free(&s);
	cs->xsave[26] |= 1;
	state_save_init(&s);
	cpu_state_visit(cs, &s);
	ck_assert_str_eq(load(cs, s.bytes, s.size), "cpu: reserved bits of MXCSR");
	state_free(&s);
	free(cs);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("cpu_state");

	rnd = random_start("cpu_state");
	tcase_add_test(tcase, round_trip);
	tcase_add_test(tcase, foreign_components);
	tcase_add_test(tcase, no_field_is_forgotten);
	tcase_add_test(tcase, bad_states_are_refused);
	return run_case("cpu_state", tcase);
}
