#include "shadow/insn_alu.h"

#include "shadow/rflags.h"

#define RFLAGS_RESULT (RFLAGS_ZF | RFLAGS_SF | RFLAGS_PF)
#define RFLAGS_ARITHMETIC (RFLAGS_RESULT | RFLAGS_CF | RFLAGS_OF | RFLAGS_AF)
#define AF_CARRY (1ull << 3) /* AF is the carry out of this bit */

static uint64_t mask_of(unsigned int size)
{
	return size == 8 ? ~0ull : (1ull << 8 * size) - 1;
}

static uint64_t sign_of(unsigned int size)
{
	return 1ull << (8 * size - 1);
}

uint64_t alu_sign_extend(uint64_t value, unsigned int size)
{
	uint64_t sign = sign_of(size);

	return ((value & mask_of(size)) ^ sign) - sign;
}

/* ZF, SF and PF of a result that is cut to its size; the others as given. */
static void set_flags(uint64_t result, unsigned int size, uint64_t others, uint64_t *rflags)
{
	*rflags = (*rflags & ~RFLAGS_ARITHMETIC) | others;
	if (!result)
		*rflags |= RFLAGS_ZF;
	if (result & sign_of(size))
		*rflags |= RFLAGS_SF;
	if (!__builtin_parity((unsigned int)result & 0xff))
		*rflags |= RFLAGS_PF;
}

/* CF, AF and OF; `carries` are those (or borrows) out of every bit, `overflow` has the sign bit if the sign is wrong. */
static uint64_t carry_flags(uint64_t carries, uint64_t overflow, unsigned int size)
{
	return (carries & sign_of(size) ? RFLAGS_CF : 0) | (carries & AF_CARRY ? RFLAGS_AF : 0) |
	       (overflow & sign_of(size) ? RFLAGS_OF : 0);
}

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned int size, uint64_t *rflags)
{
	uint64_t result = (a + b + carry) & mask_of(size);
	uint64_t carries = (a & b) | ((a | b) & ~result);

	set_flags(result, size, carry_flags(carries, (a ^ result) & (b ^ result), size), rflags);
	return result;
}

static uint64_t subtract(uint64_t a, uint64_t b, uint64_t borrow, unsigned int size, uint64_t *rflags)
{
	uint64_t result = (a - b - borrow) & mask_of(size);
	uint64_t borrows = (~a & b) | ((~a | b) & result);

	set_flags(result, size, carry_flags(borrows, (a ^ b) & (a ^ result), size), rflags);
	return result;
}

uint64_t alu_add(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return add(a, b, 0, size, rflags);
}

uint64_t alu_adc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return add(a, b, *rflags & RFLAGS_CF, size, rflags);
}

uint64_t alu_sub(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return subtract(a, b, 0, size, rflags);
}

uint64_t alu_sbb(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return subtract(a, b, *rflags & RFLAGS_CF, size, rflags);
}

uint64_t alu_cmp(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	subtract(a, b, 0, size, rflags);
	return a & mask_of(size);
}

static uint64_t logic(uint64_t result, unsigned int size, uint64_t *rflags)
{
	result &= mask_of(size);
	set_flags(result, size, 0, rflags);
	return result;
}

uint64_t alu_and(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return logic(a & b, size, rflags);
}

uint64_t alu_or(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return logic(a | b, size, rflags);
}

uint64_t alu_xor(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return logic(a ^ b, size, rflags);
}

uint64_t alu_test(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	logic(a & b, size, rflags);
	return a & mask_of(size);
}

static uint64_t keep_carry(uint64_t result, uint64_t before, uint64_t *rflags)
{
	*rflags = (*rflags & ~RFLAGS_CF) | (before & RFLAGS_CF);
	return result;
}

uint64_t alu_inc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	uint64_t before = *rflags;

	return keep_carry(add(a, 1, 0, size, rflags), before, rflags);
}

uint64_t alu_dec(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	uint64_t before = *rflags;

	return keep_carry(subtract(a, 1, 0, size, rflags), before, rflags);
}

uint64_t alu_neg(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return subtract(0, a, 0, size, rflags);
}

uint64_t alu_not(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return ~a & mask_of(size);
}

static unsigned int shift_count(uint64_t b, unsigned int size)
{
	return (unsigned int)b & (size == 8 ? 63 : 31);
}

/* CF is the bit that fell out last, OF whether the sign says something else. */
static uint64_t shift_flags(uint64_t result, bool carry, bool overflow, unsigned int size, uint64_t *rflags)
{
	set_flags(result, size, (carry ? RFLAGS_CF : 0) | (overflow ? RFLAGS_OF : 0), rflags);
	return result;
}

uint64_t alu_shl(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	unsigned int count = shift_count(b, size);
	uint64_t last = count ? a << (count - 1) : 0; /* one step before the end: no shift by 64 */
	bool carry = last & sign_of(size);
	uint64_t result = last << 1 & mask_of(size);

	if (!count)
		return a & mask_of(size);
	return shift_flags(result, carry, carry != !!(result & sign_of(size)), size, rflags);
}

uint64_t alu_shr(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	unsigned int count = shift_count(b, size);
	uint64_t last;

	a &= mask_of(size);
	if (!count)
		return a;
	last = a >> (count - 1);
	return shift_flags(last >> 1, last & 1, a & sign_of(size), size, rflags);
}

uint64_t alu_sar(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	unsigned int count = shift_count(b, size);
	int64_t last;

	if (!count)
		return a & mask_of(size);
	last = (int64_t)alu_sign_extend(a, size) >> (count - 1);
	return shift_flags((uint64_t)(last >> 1) & mask_of(size), last & 1, false, size, rflags);
}

static uint64_t bit_of(uint64_t b, unsigned int size)
{
	return 1ull << (b & (8 * size - 1));
}

static void carry_is(bool carry, uint64_t *rflags)
{
	*rflags = (*rflags & ~RFLAGS_CF) | (carry ? RFLAGS_CF : 0);
}

uint64_t alu_bt(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	carry_is(a & bit_of(b, size), rflags);
	return a & mask_of(size);
}

uint64_t alu_bts(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return alu_bt(a, b, size, rflags) | bit_of(b, size);
}

uint64_t alu_btr(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return alu_bt(a, b, size, rflags) & ~bit_of(b, size);
}

uint64_t alu_btc(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags)
{
	return alu_bt(a, b, size, rflags) ^ bit_of(b, size);
}

bool alu_condition(unsigned int code, uint64_t rflags)
{
	bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
	const bool holds[8] = {
		rflags & RFLAGS_OF, rflags & RFLAGS_CF, rflags & RFLAGS_ZF, rflags & (RFLAGS_CF | RFLAGS_ZF),
		rflags & RFLAGS_SF, rflags & RFLAGS_PF, less, less || (rflags & RFLAGS_ZF),
	};

	/* An odd code is the opposite of the even one before it. */
	return holds[code >> 1 & 7] != (code & 1);
}
