#include "guest/images/paging_cases.h"

#include "guest/lib/random.h"

#define ACCESSES 6u
#define ONE_ENTRY 64u /* P, W, U, NX, PS and a reserved bit */
#define RIGHTS 8u     /* W, U, NX */
#define REASONS 7u
#define PAIRS 6u
#define MARKS 256u /* A and D of four levels */
#define ORDER_MODES 2u

#define ERROR_PRESENT 0x1u
#define ERROR_RESERVED 0x8u

#define SAYS_OPEN (SAYS_P | SAYS_W | SAYS_U)

/* The kinds of reserved bits; SAYS_LOW is one in a large page only. */
#define SAYS_RESERVED (SAYS_LOW | SAYS_HIGH)

struct group {
	const char *name;
	uint8_t level, other; /* of the entries it is about, 0 = not of one */
	uint16_t per_mode;    /* cases for each mode; 0: as many as the plan says */
	uint8_t modes;	      /* 0 = all there are */
	void (*make)(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c);
};

static uint8_t access_of(uint64_t n)
{
	static const uint8_t accesses[ACCESSES] = {
		0, ACCESS_WRITE, ACCESS_FETCH, ACCESS_USER, ACCESS_USER | ACCESS_WRITE, ACCESS_USER | ACCESS_FETCH,
	};

	return accesses[n % ACCESSES];
}

/* W, U and NX from three bits. */
static uint16_t rights_of(uint64_t n)
{
	return (uint16_t)((n & 3) << 1 | (n & 4) << 13);
}

/* Everything is allowed; A and D are noise, and so is the size of the page unless `small`. */
static void open_all(struct paging_case *c, uint64_t noise, bool small)
{
	for (int level = 1; level <= PAGING_LEVELS; level++) {
		c->says[level] = (uint16_t)(SAYS_OPEN | (noise & 3) << 5);
		noise >>= 2;
	}
	if (!small && (noise & 1))
		c->says[2] |= SAYS_PS;
}

/* All an entry can say at one level. */
static void make_level(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c)
{
	uint64_t n = index / ACCESSES;
	uint16_t says = (uint16_t)(rights_of(n) | (n >> 3 & 1) | (n >> 4 & 1) << 7);

	open_all(c, noise, group->level <= 2);
	if (n >> 5 & 1)
		says |= group->level == 2 && (says & SAYS_PS) ? SAYS_RESERVED & (noise >> 32 | SAYS_LOW) : SAYS_HIGH;
	c->says[group->level] = (uint16_t)(says | (c->says[group->level] & (SAYS_A | SAYS_D)));
	c->access = access_of(index);
}

/* The rights of two levels. */
static void make_pair(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c)
{
	uint64_t n = index / ACCESSES;

	open_all(c, noise, group->other == 1);
	c->says[group->level] = (uint16_t)((c->says[group->level] & ~(SAYS_W | SAYS_U)) | rights_of(n));
	c->says[group->other] = (uint16_t)((c->says[group->other] & ~(SAYS_W | SAYS_U)) | rights_of(n / RIGHTS));
	c->access = access_of(index);
}

static void give_reason(uint16_t *says, unsigned int level, uint64_t reason)
{
	static const struct {
		uint16_t set, clear;
	} reasons[REASONS] = {
		{ 0, 0 }, { 0, SAYS_P }, { SAYS_HIGH, 0 }, { SAYS_PS | SAYS_LOW, 0 }, { 0, SAYS_W }, { 0, SAYS_U },
		{ SAYS_NX, 0 },
	};

	*says = (uint16_t)((*says & ~reasons[reason].clear) | reasons[reason].set);
}

/* Two levels with a reason for a fault each, of which the processor has to choose one. */
static void make_order(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c)
{
	static const uint8_t pairs[PAIRS][2] = { { 2, 1 }, { 3, 1 }, { 4, 1 }, { 3, 2 }, { 4, 2 }, { 4, 3 } };
	uint64_t n = index / ACCESSES;
	const uint8_t *pair = pairs[n / (REASONS * REASONS)];

	open_all(c, noise, true);
	give_reason(&c->says[pair[0]], pair[0], n % REASONS);
	give_reason(&c->says[pair[1]], pair[1], n / REASONS % REASONS);
	c->access = access_of(index);
}

/* A and D of all levels, with either size of page. */
static void make_marks(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c)
{
	uint64_t n = index / ACCESSES;

	open_all(c, n, true);
	if (n & MARKS)
		c->says[2] |= SAYS_PS;
	c->mode = MODE_WP | MODE_NXE;
	c->access = access_of(index);
}

/* Anything, though such that half of the walks get to the end. */
static void make_random(const struct group *group, uint64_t index, uint64_t noise, struct paging_case *c)
{
	uint64_t state = noise;

	for (int level = 1; level <= PAGING_LEVELS; level++) {
		uint64_t r = random_next(&state);
		uint16_t says = (uint16_t)(r & (SAYS_A | SAYS_D));

		says |= (r >> 8 & 31) ? SAYS_P : 0;
		says |= (r >> 13 & 7) ? SAYS_W : 0;
		says |= (r >> 16 & 7) ? SAYS_U : 0;
		says |= (r >> 19 & 15) ? 0 : SAYS_NX;
		says |= (r >> 23 & (level <= 2 ? 1 : 31)) ? 0 : SAYS_PS;
		says |= (r >> 28 & 31) ? 0 : SAYS_HIGH;
		says |= (r >> 33 & 31) ? 0 : SAYS_LOW;
		c->says[level] = says;
	}
	c->access = access_of(random_next(&state) >> 8);
	c->mode = (uint8_t)(random_next(&state) >> 8 & (MODE_WP | MODE_NXE | MODE_SMEP));
}

#define LEVEL(n) { "level-" #n, n, 0, ONE_ENTRY * ACCESSES, 0, make_level }
#define PAIR(n, m) { "pair-" #n "-" #m, n, m, RIGHTS * RIGHTS * ACCESSES, 0, make_pair }

static const struct group groups[PAGING_GROUPS] = {
	LEVEL(1),
	LEVEL(2),
	LEVEL(3),
	LEVEL(4),
	PAIR(2, 1),
	PAIR(3, 1),
	PAIR(4, 1),
	PAIR(3, 2),
	PAIR(4, 2),
	PAIR(4, 3),
	{ "order", 0, 0, PAIRS * REASONS * REASONS * ACCESSES, ORDER_MODES, make_order },
	{ "marks", 0, 0, 2 * MARKS * ACCESSES, 1, make_marks },
	[PAGING_RANDOM] = { "random", 0, 0, 0, 0, make_random },
};

/* The modes are numbered so that those with SMEP come last; the pair of `order` is without and with NXE. */
static uint8_t mode_of(const struct group *group, uint64_t n)
{
	if (group->modes == ORDER_MODES)
		return (uint8_t)(MODE_WP | (n ? MODE_NXE : 0));
	return (uint8_t)n;
}

const char *paging_group_name(unsigned int group)
{
	return groups[group].name;
}

uint64_t paging_group_size(const struct paging_plan *plan, unsigned int group)
{
	const struct group *g = &groups[group];
	uint64_t modes = g->modes ? g->modes : plan->smep ? MODE_SMEP * 2 : MODE_SMEP;
	uint64_t all = g->per_mode * modes;

	if (g->per_mode == 0)
		return plan->random_count;
	return plan->parts ? (all - plan->part + plan->parts - 1) / plan->parts : all;
}

struct paging_case paging_case(const struct paging_plan *plan, unsigned int group, uint64_t index)
{
	const struct group *g = &groups[group];
	struct paging_case c = { .mode = 0 };
	uint64_t seed, noise;

	if (g->per_mode && plan->parts)
		index = index * plan->parts + plan->part;
	seed = g->per_mode ? group * 0x100000ull + index : plan->seed + index;
	noise = random_next(&seed);
	if (g->per_mode) {
		c.mode = mode_of(g, index / g->per_mode);
		index %= g->per_mode;
	}
	c.reload = noise >> 63;
	g->make(g, index, noise, &c);
	if (!plan->smep)
		c.mode &= MODE_WP | MODE_NXE;
	return c;
}

uint32_t paging_result_common(const struct paging_case *c, uint32_t result)
{
	if (!(result & RESULT_FAULT))
		return result;
	if (result & ERROR_RESERVED)
		result |= ERROR_PRESENT;
	for (int level = 1; level <= PAGING_LEVELS; level++) {
		if (!(c->says[level] & SAYS_A))
			result &= ~(1u << (RESULT_A_SHIFT + level - 1));
	}
	return result;
}

uint64_t paging_sum(uint64_t sum, uint32_t common)
{
	return (sum ^ common) * 0x9e3779b97f4a7c15ull + 1;
}
