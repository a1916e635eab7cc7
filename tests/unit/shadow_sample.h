/*
 * Random instructions for the emulation's tests, put together from the encoding tables of the manuals (AMD APM vol. 3,
 * chapter 1 and appendix A) by hand: registers are given values that make memory operands land in a small window.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/random.h"
#include "tests/unit/shadow_sample_forms.h"
#include "vmm/cpu_state.h"

/* Low addresses: they serve with 32-bit address size, too. */
#define SAMPLE_WINDOW 0x20000000ull
#define SAMPLE_WINDOW_PAGES 3u
#define SAMPLE_CODE 0x21000000ull
#define SAMPLE_CODE_PAGES 2u
#define SAMPLE_GS_BASE 0x1f001230ull

struct sample {
	const struct sample_form *form;
	uint8_t bytes[15];
	unsigned int length;
	uint64_t gpr[CPU_GPR_COUNT], rip, rflags;
	uint64_t fs_base;	  /* of this process, given */
	bool memory;		  /* has a memory operand besides the stack and strings */
	uint64_t target;	  /* its gva */
	unsigned int size;	  /* and bytes */
	uint8_t poke[16];	  /* to be put at target first, if poke_size */
	unsigned int poke_size;
	uint32_t undefined;	  /* flags, with this shift count */
};

/*
 * Where memory operands go: into the window; up to a page beyond, and then some are misaligned that must not be, and some
 * calls lead to no canonical address; or across and beyond the border of canonical addresses.
 */
enum sample_range { RANGE_WINDOW, RANGE_AROUND, RANGE_WILD };

/* Makes a random sample of a form. s->fs_base is to be set. */
void sample_make(struct sample *s, const struct sample_form *f, enum sample_range range, struct random *r);

/* Of the legacy ones. */
bool sample_has_prefix(const struct sample *s, uint8_t prefix);
bool sample_is_string(const struct sample *s);

/* Prints what it takes to see what went wrong. */
void sample_print(const struct sample *s);
