/*
 * badtables: stores to tables in every shape, random but for their seed. What a store leaves in memory is worked out byte
 * by byte; what the tables then say, by a plain walk.
 */
#include <stddef.h>

#include "guest/images/badtables.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ENTRIES 8u	   /* that a store may hit */
#define IMAGE (ENTRIES * 8) /* bytes */
#define STEPS 60
#define ACCESSES 3 /* after each store */
#define SHOWN 5	   /* complaints */

/* Pages: 16 of each kind, aligned so that their gpas differ in one byte only, whose mixtures are all of the kind, too. */
#define DIRECTORIES 0u
#define TABLES 16u
#define DATA 48u
#define TABLE_PAIR 32u /* that is stored to, two pages */
#define SOURCE 40u

#define PAIR_GVA BAD_WINDOW
#define SOURCE_GVA (BAD_WINDOW | 0x10000)

extern const uint8_t bad_write1[], bad_write2[], bad_write4[], bad_write8[], bad_write16[], bad_xchg8[], bad_xchg4[];
extern const uint8_t bad_cmpxchg8[], bad_bts8[], bad_or8[], bad_add4[], bad_inc1[], bad_movsb[], bad_movsq[];
extern const uint8_t bad_stosb[], bad_stosq[], bad_push[];

/* A store under way: it changes image[at .. at + size), and image[] is what the entries should hold then. */
struct store {
	uint64_t random;
	unsigned int at, size;
	uint8_t image[IMAGE];	     /* in: what the entries hold */
	const uint8_t *fresh;	     /* what they would hold if all were made anew */
	struct trap_frame *frame;
	uint64_t gva;		     /* of image[0] */
};

static uint64_t word_at(const uint8_t *bytes, unsigned int size)
{
	uint64_t word = 0;

	memcpy(&word, bytes, size);
	return word;
}

static void as_value(struct store *s)
{
	s->frame->rsi = word_at(s->fresh + s->at, s->size);
	memcpy(s->image + s->at, s->fresh + s->at, s->size);
}

static void from_memory(struct store *s)
{
	unsigned int offset = s->random % 64;

	memcpy((uint8_t *)page_pointer(bad_page(SOURCE)) + offset, s->fresh + s->at, s->size);
	s->frame->rsi = SOURCE_GVA + offset;
	memcpy(s->image + s->at, s->fresh + s->at, s->size);
}

static void by_bytes(struct store *s)
{
	s->size = 1 + s->random / 64 % (IMAGE - s->at);
	s->frame->rcx = s->size;
	from_memory(s);
}

static void by_words(struct store *s)
{
	s->frame->rcx = 1 + s->random / 64 % ((IMAGE - s->at) / 8);
	s->size = (unsigned int)s->frame->rcx * 8;
	from_memory(s);
}

/* From the first byte of an entry, and with it its P: what is left of an entry must lead nowhere. */
static void clear_bytes(struct store *s)
{
	s->at &= ~7u;
	s->size = 1 + s->random % (IMAGE - s->at);
	s->frame->rcx = s->size;
	memset(s->image + s->at, 0, s->size);
}

/* The same entry many times; aligned, lest its bytes change places. */
static void fill_words(struct store *s)
{
	s->at &= ~7u;
	s->frame->rcx = 1 + s->random % ((IMAGE - s->at) / 8);
	s->frame->rax = word_at(s->fresh + s->at, 8);
	for (unsigned int i = 0; i < s->frame->rcx; i++)
		memcpy(s->image + s->at + i * 8, s->fresh + s->at, 8);
}

static void compared(struct store *s)
{
	s->frame->rax = word_at(s->image + s->at, 8);
	as_value(s);
}

static void compared_in_vain(struct store *s)
{
	s->frame->rax = ~word_at(s->image + s->at, 8);
	s->frame->rsi = word_at(s->fresh + s->at, 8);
}

/* A bit of an entry, named relative to some other word. */
static void one_bit(struct store *s)
{
	static const uint8_t bits[] = { 0, 1, 2, 5, 6, 12, 13, 14, 15, 51, 63 };
	unsigned int bit = bits[s->random % COUNT(bits)];
	int64_t away = (int64_t)(s->random / 64 % 9) - 4;

	s->at &= ~7u;
	s->image[s->at + bit / 8] |= (uint8_t)(1u << bit % 8);
	s->frame->rsi = (uint64_t)(away * 64) + bit;
	s->gva -= (uint64_t)(away * 8);
}

static void or_word(struct store *s)
{
	s->frame->rsi = word_at(s->fresh + s->at, 8);
	for (unsigned int i = 0; i < 8; i++)
		s->image[s->at + i] |= s->fresh[s->at + i];
}

static void add_one(struct store *s)
{
	uint32_t sum;

	s->at &= ~7u;
	s->frame->rsi = 1;
	sum = (uint32_t)word_at(s->image + s->at, 4) + 1;
	memcpy(s->image + s->at, &sum, 4);
}

static void next_flags(struct store *s)
{
	s->at &= ~7u;
	s->image[s->at]++;
}

static void pushed(struct store *s)
{
	as_value(s);
	s->frame->rsp = s->gva + s->at + 8;
}

static const struct kind {
	const char *name;
	const uint8_t *code;
	unsigned int size;
	void (*make)(struct store *s);
	bool ring3_only;
} kinds[] = {
	{ "mov 1", bad_write1, 1, as_value, false },
	{ "mov 2", bad_write2, 2, as_value, false },
	{ "mov 4", bad_write4, 4, as_value, false },
	{ "mov 8", bad_write8, 8, as_value, false },
	{ "movups", bad_write16, 16, from_memory, true },
	{ "xchg 4", bad_xchg4, 4, as_value, false },
	{ "xchg 8", bad_xchg8, 8, as_value, false },
	{ "cmpxchg", bad_cmpxchg8, 8, compared, false },
	{ "cmpxchg in vain", bad_cmpxchg8, 8, compared_in_vain, false },
	{ "bts", bad_bts8, 8, one_bit, false },
	{ "or", bad_or8, 8, or_word, false },
	{ "add", bad_add4, 4, add_one, false },
	{ "inc", bad_inc1, 1, next_flags, false },
	{ "rep movsb", bad_movsb, 1, by_bytes, false },
	{ "rep movsq", bad_movsq, 8, by_words, false },
	{ "rep stosb", bad_stosb, 1, clear_bytes, false },
	{ "rep stosq", bad_stosq, 8, fill_words, false },
	{ "push", bad_push, 8, pushed, false },
};

/* An entry that leads to one of the 16 pages from `first` on: mostly good ones. */
static uint64_t random_entry(uint64_t *state, unsigned int first)
{
	uint64_t random = random_next(state);
	uint64_t value = bad_page(first + random % 16) | (random >> 8 & 0x7f);

	if (random >> 16 & 7)
		value |= PTE_P;
	if (random >> 20 & 1)
		value |= PTE_W | PTE_U;
	if ((random >> 24 & 15) == 0)
		value |= PTE_RESERVED;
	if ((random >> 28 & 7) == 0)
		value |= PTE_NX;
	return value;
}

/* The kinds of page below the pair, so that whatever an entry of it leads to ends at a page of data of its own. */
static void make_below(void)
{
	for (unsigned int i = 0; i < 16; i++) {
		*(uint64_t *)page_pointer(bad_page(DIRECTORIES + i)) = bad_page(TABLES + i) | PTE_OPEN;
		*(uint64_t *)page_pointer(bad_page(TABLES + i)) = bad_page(DATA + i) | PTE_OPEN;
		memset(page_pointer(bad_page(DATA + i)), (int)(0x10 + i), PAGE_SIZE);
	}
}

/* The access that the tables allow, and what they say otherwise. Returns false, and says why, if it was not that. */
static bool agrees(const char *what, unsigned int access, uint64_t gva, uint8_t value)
{
	struct verdict v = bad_walk(access, gva);
	struct outcome o = bad_access(access, gva, value);
	uint8_t now = v.fault ? 0 : *(volatile uint8_t *)page_pointer(v.gpa);

	/* Reserved bits count in present entries only; some processors forget to say so. The group `reserved` does mind. */
	if (o.error & FAULT_RESERVED)
		o.error |= FAULT_PRESENT;
	if (v.fault && o.vector == VECTOR_PAGE_FAULT && o.error == v.error && o.cr2 == gva)
		return true;
	if (!v.fault && o.vector == BAD_NOTHING && now == (access & ACCESS_WRITE ? value : (uint8_t)o.rax))
		return true;
	kprintf("%s: %s at %lx: vector %u, error %lx, address %lx, value %lx; the tables say fault %u, error %x, value %x\n",
		what, bad_access_name(access), gva, o.vector, o.error, o.cr2, o.rax & 0xff, v.fault, v.error, now);
	return false;
}

static uint64_t entry_gva(int level, unsigned int entry)
{
	if (level == 3)
		return SLOT(4, 20) + SLOT(3, entry);
	return level == 2 ? BAD_TEST + SLOT(2, entry) : BAD_TEST + SLOT(1, entry);
}

/* The two tables in a row: at the same time a window of data, open to both rings. */
static void link_pair(int level)
{
	for (unsigned int i = 0; i < 2; i++) {
		*bad_entry(entry_gva(level, i * TABLE_ENTRIES), level + 1) = bad_page(TABLE_PAIR + i) | PTE_OPEN;
		bad_map(PAIR_GVA + i * PAGE_SIZE, bad_page(TABLE_PAIR + i), PTE_OPEN);
	}
	bad_map(SOURCE_GVA, bad_page(SOURCE), PTE_OPEN);
	bad_flush();
}

static bool store_step(int level, uint64_t *state)
{
	static const unsigned int block[] = { 0, DATA, TABLES, DIRECTORIES };
	uint64_t fresh[ENTRIES], random = random_next(state);
	unsigned int first = random & 1 ? TABLE_ENTRIES - ENTRIES / 2 : 64;
	const struct kind *kind = &kinds[random / 2 % COUNT(kinds)];
	bool user = kind->ring3_only || random >> 32 & 1, good;
	struct trap_frame frame = bad_frame(kind->code, user);
	uint64_t *entries = (uint64_t *)page_pointer(bad_page(TABLE_PAIR)) + first;
	struct store s = { .random = random_next(state), .size = kind->size, .fresh = (uint8_t *)fresh, .frame = &frame,
			   .gva = PAIR_GVA + first * 8 };
	struct outcome o;

	for (unsigned int i = 0; i < ENTRIES; i++) {
		entries[i] = random_entry(state, block[level]);
		fresh[i] = random_entry(state, block[level]);
	}
	bad_flush();
	s.at = random / 64 % (IMAGE - kind->size + 1);
	/* What is stored to is in use. */
	for (unsigned int i = s.at / 8; i < ENTRIES && i < s.at / 8 + 3; i++)
		bad_access(random >> (40 + i) & 1 ? ACCESS_USER : 0, entry_gva(level, first + i), 0);
	memcpy(s.image, entries, IMAGE);
	kind->make(&s);
	frame.rdi = s.gva + s.at;
	o = bad_run(&frame);
	good = o.vector == BAD_NOTHING && memcmp(s.image, entries, IMAGE) == 0;
	if (!good)
		kprintf("%s at byte %u of entry %u, ring %d: vector %u, error %lx, address %lx\n", kind->name, s.at, first,
			user ? 3 : 0, o.vector, o.error, o.cr2);
	if (level > 1 || random >> 48 & 1)
		bad_flush();
	else
		for (unsigned int i = 0; i < ENTRIES; i++)
			invlpg(entry_gva(level, first + i));
	for (unsigned int i = 0; i < ACCESSES; i++) {
		unsigned int entry = i == 0 ? s.at / 8 : i == 1 ? (s.at + s.size - 1) / 8 : random_next(state) % ENTRIES;

		random = random_next(state);
		good &= agrees(kind->name, random & 1 ? ACCESS_USER : 0, entry_gva(level, first + entry), 0);
	}
	return good;
}

void bad_straddle(void)
{
	uint64_t state = bad_seed;

	for (int level = 1; level <= 3; level++) {
		uint64_t wrong = 0;

		make_below();
		link_pair(level);
		bad_case("stores to tables of level %d, seed %lu, %d steps", level, bad_seed, STEPS);
		for (unsigned int i = 0; i < STEPS && wrong < SHOWN; i++)
			wrong += !store_step(level, &state);
		bad_expect_value("wrong", wrong, 0);
		bad_reset();
	}
}

/* ---- Tables whose entries lead to one another at random; each of the pages may be a table of any level, and data. */

#define POOL 2u /* of its pages none is aligned as a large page's first two are: an entry with PS has reserved bits */
#define POOL_PAGES 12u
#define RANDOM_STEPS 150

static uint64_t tangle_entry(uint64_t *state)
{
	uint64_t random = random_next(state);
	uint64_t value = bad_page(POOL + random % POOL_PAGES) | PTE_P | (random >> 8 & 0x67);

	if ((random >> 16 & 15) == 0)
		value ^= PTE_P;
	if ((random >> 20 & 15) == 0)
		value |= PTE_PS;
	if ((random >> 24 & 15) == 0)
		value |= PTE_NX;
	if ((random >> 28 & 31) == 0)
		value |= PTE_RESERVED;
	return value | (random >> 32 & 3 ? PTE_W | PTE_U : 0);
}

/* A few entries a table are used, so that paths meet. */
static uint64_t tangle_gva(uint64_t random)
{
	uint64_t gva = BAD_TEST;

	for (int level = 1; level < TABLE_LEVELS; level++, random >>= 2)
		gva |= SLOT(level, random & 3);
	/* The first or the last byte of an entry: with any other, a store could make it lead elsewhere. */
	return gva | (random >> 2 & 3) << 3 | (random >> 4 & 1 ? 7 : 0);
}

static bool tangle_step(uint64_t *state)
{
	static const unsigned int accesses[] = { 0, ACCESS_USER, ACCESS_WRITE, ACCESS_WRITE | ACCESS_USER };
	bool good = true;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t random = random_next(state);

		((volatile uint64_t *)page_pointer(bad_page(POOL + random % POOL_PAGES)))[random >> 32 & 3] =
			tangle_entry(state);
	}
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t random = random_next(state);

		bad_flush();
		good &= agrees("tangle", accesses[random >> 60 & 3], tangle_gva(random), (uint8_t)(random >> 40));
	}
	return good;
}

void bad_random(void)
{
	uint64_t state = bad_seed, wrong = 0;

	for (unsigned int page = 0; page < POOL_PAGES; page++)
		for (unsigned int i = 0; i < 4; i++)
			((uint64_t *)page_pointer(bad_page(POOL + page)))[i] = tangle_entry(&state);
	*bad_entry(BAD_TEST, TABLE_LEVELS) = bad_page(POOL) | PTE_OPEN;
	bad_case("tables in a tangle, seed %lu, %d steps", bad_seed, RANDOM_STEPS);
	for (unsigned int i = 0; i < RANDOM_STEPS && wrong < SHOWN; i++)
		wrong += !tangle_step(&state);
	bad_expect_value("wrong", wrong, 0);
}
