/*
 * The cases of the image paging, and how the result of one is written down. Pure: the same for everyone who asks, so
 * that whoever reads the results (tests/vm/paging.c) needs no description of the cases with them.
 *
 * A case is what the entries of one address say at each level, an access, and a mode of the processor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PAGING_LEVELS 4

/* What an entry says. The low byte is that of the entry itself. */
#define SAYS_P 0x0001u
#define SAYS_W 0x0002u
#define SAYS_U 0x0004u
#define SAYS_A 0x0020u
#define SAYS_D 0x0040u
#define SAYS_PS 0x0080u /* level 2: a large page; level 1: bit 7 is PAT there */
#define SAYS_LOW 0x2000u /* bit 13, reserved in a large page; other entries have an address there, and ignore it */
#define SAYS_HIGH 0x4000u /* bit 51, reserved where physical addresses are shorter */
#define SAYS_NX 0x8000u
#define SAYS_BYTE 0x00ffu

/* Access: a combination; neither write nor fetch is a read. */
#define ACCESS_WRITE 1u
#define ACCESS_FETCH 2u
#define ACCESS_USER 4u /* from ring 3 */

/* Mode: which of these are on. */
#define MODE_WP 1u
#define MODE_NXE 2u
#define MODE_SMEP 4u

struct paging_case {
	uint16_t says[PAGING_LEVELS + 1]; /* by level, from 1 */
	uint8_t access;
	uint8_t mode;
	bool reload; /* the processor is told of the changed entries by a CR3 load, not by INVLPG */
};

#define PAGING_PARTS_MAX 97u /* every group has more cases */

/* Which cases there are. */
struct paging_plan {
	bool smep; /* the processor has it */
	uint64_t part, parts; /* of the exhaustive groups only every parts-th case from this one on; 0 parts: all */
	uint64_t random_count;
	uint64_t seed;
};

/* Groups 0 to PAGING_GROUPS - 2 are exhaustive, the last one is random: case i of seed s is case 0 of seed s + i. */
#define PAGING_GROUPS 13u
#define PAGING_RANDOM (PAGING_GROUPS - 1)

const char *paging_group_name(unsigned int group);
uint64_t paging_group_size(const struct paging_plan *plan, unsigned int group);
struct paging_case paging_case(const struct paging_plan *plan, unsigned int group, uint64_t index);

/*
 * A result. PLACE is where the access arrived, judged by what was read, written or executed; ODD and FOREIGN are never
 * set by a processor that works. A and D are those of the entries after the access, level 1 in the lowest bit.
 */
#define RESULT_ERROR 0x1fu /* with RESULT_FAULT: the error code */
#define RESULT_FAULT (1u << 5)
#define RESULT_ODD (1u << 6)	 /* CR2 was not the address, or the error code had more bits */
#define RESULT_FOREIGN (1u << 7) /* an entry changed in other bits than A and D */
#define RESULT_A_SHIFT 8
#define RESULT_D_SHIFT 12
#define RESULT_PLACE_SHIFT 16
#define RESULT_BITS 18

enum paging_place { PLACE_NONE, PLACE_SMALL, PLACE_LARGE, PLACE_WRONG };

/* As text: three digits of six bits each, the lowest first, counted on from PAGING_DIGIT. */
#define PAGING_DIGITS 3
#define PAGING_DIGIT '0'

/*
 * What every host agrees on, to be compared and summed up. A walk that ends in a fault may leave A in entries it passed,
 * or not, but never takes it away: A that was not there is left out. And QEMU's CPU emulation (7.2) leaves P out of the
 * error code of a reserved bit, where the manuals have it (Intel SDM volume 3, 4.7: RSVD only together with P): P is put
 * in.
 */
uint32_t paging_result_common(const struct paging_case *c, uint32_t result);

/* `sum` is 0 at first; takes common results, one after the other. */
uint64_t paging_sum(uint64_t sum, uint32_t common);
