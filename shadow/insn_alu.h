/*
 * What arithmetic instructions compute: result and flags from values alone (AMD APM vol. 3, chapter 3; Intel SDM vol. 2,
 * chapters 3-5). Flags that the manuals leave undefined: AF is 0 after logic and shifts, OF and CF follow the same formula
 * for every shift count, BT leaves OF, SF, AF and PF alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Sign-extends the low `size` bytes (1, 2, 4, 8). */
uint64_t alu_sign_extend(uint64_t value, unsigned int size);

/*
 * Each takes operands a and b of `size` bytes (bits above are ignored), gives the result (bits above size are zero) and
 * updates the arithmetic flags in *rflags. CMP, TEST and BT give a itself. INC, DEC, NEG and NOT ignore b. The count of a
 * shift is the low byte of b, masked as the CPU does; BT and its kin take b modulo the width.
 */
uint64_t alu_add(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_adc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_sub(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_sbb(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_cmp(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_and(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_or(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_xor(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_test(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_inc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_dec(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_neg(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_not(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_shl(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_shr(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_sar(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_bt(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_bts(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_btr(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);
uint64_t alu_btc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags);

/* Whether a condition holds: the low four bits of the opcodes of SETcc, CMOVcc, Jcc. */
bool alu_condition(unsigned int code, uint64_t rflags);
