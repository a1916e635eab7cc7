#include "dedup/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dedup/handles.h"
#include "dedup/size_class.h"
#include "dedup/slab.h"
#include "vmm/ensure.h"
#include "vmm/log.h"

/*
 * A block (slab) has objects of one size class. The value of a slot is its object's handle, which stands for the place of that slot:
 *
 *   block:  value, value, ..., value, slot, slot, ..., slot
 *   value:  handle << 1 | 1 if the object fills the slot; else the slot's last byte says how much smaller it is
 *   place:  block << SLOT_BITS | slot
 *
 * Blocks of a class are in lists by how full they are. An object is put into one of the fullest that have room, and compaction empties
 * one of the emptiest.
 */
#define BLOCK (32u << 10)
#define SLOT_BITS 10
#define MOST_BLOCKS (1u << (SLAB_VALUE_BITS - SLOT_BITS))
#define WORD ((uint32_t)sizeof(uint32_t))
#define FULL 8u /* list of blocks without room; those below are of equal parts of fullness */
#define LISTS (FULL + 1)

_Static_assert(BLOCK / (SIZE_CLASS_LEAST + WORD) <= 1u << SLOT_BITS, "a slot's number fits");
_Static_assert(HANDLE_BITS < SLAB_VALUE_BITS, "a handle and a bit fit");

struct class {
	uint32_t list[LISTS];
	uint64_t free; /* slots in its blocks */
};

struct store {
	struct slabs blocks;
	struct handles handles;
	uint64_t objects, bytes, moved;
	unsigned int classes;
	struct size_class sizes[SIZE_CLASSES_MOST];
	struct class class[SIZE_CLASSES_MOST];
	uint8_t class_of[STORE_MOST / SIZE_CLASS_UNIT + 1]; /* of sizes rounded up to the unit */
};

static void set_up_classes(struct store *s)
{
	unsigned int c;

	s->classes = size_classes(s->sizes, BLOCK, STORE_MOST, WORD);
	c = s->classes - 1;
	for (unsigned int i = 0; i <= STORE_MOST / SIZE_CLASS_UNIT; i++) {
		while (s->sizes[c].size < i * SIZE_CLASS_UNIT)
			c--;
		s->class_of[i] = (uint8_t)c;
	}
	for (c = 0; c < s->classes; c++)
		for (unsigned int l = 0; l < LISTS; l++)
			s->class[c].list[l] = SLAB_NONE;
}

static int init(struct store *s, uint64_t most)
{
	uint64_t blocks = most / BLOCK;
	int r;

	set_up_classes(s);
	blocks = blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS;
	r = slabs_init(&s->blocks, BLOCK, (uint32_t)blocks);
	return r < 0 ? r : handles_init(&s->handles, blocks << SLOT_BITS);
}

struct store *store_create(uint64_t most)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s) {
		log_errno(ENOMEM, "store of pages");
		return NULL;
	}
	if (init(s, most) == 0)
		return s;
	store_destroy(s);
	return NULL;
}

void store_destroy(struct store *s)
{
	if (!s)
		return;
	slabs_destroy(&s->blocks);
	handles_destroy(&s->handles);
	free(s);
}

static uint8_t *slot_at(const struct store *s, uint32_t block, unsigned int slot)
{
	const struct size_class *z = &s->sizes[slab_at(&s->blocks, block)->kind];

	return (uint8_t *)(slab_words(&s->blocks, block) + z->slots) + (size_t)slot * z->size;
}

static unsigned int list_for(const struct store *s, const struct slab *b)
{
	return b->used * FULL / s->sizes[b->kind].slots;
}

/* After a slot was taken or freed. */
static void relist(struct store *s, uint32_t block)
{
	struct slab *b = slab_at(&s->blocks, block);
	unsigned int list = list_for(s, b);

	if (list == b->list)
		return;
	slab_unlink(&s->blocks, &s->class[b->kind].list[b->list], block);
	b->list = (uint8_t)list;
	slab_push(&s->blocks, &s->class[b->kind].list[list], block);
}

static uint32_t add_block(struct store *s, unsigned int c)
{
	uint32_t block = slabs_new(&s->blocks);

	if (block == SLAB_NONE)
		return block;
	slab_at(&s->blocks, block)->kind = (uint8_t)c;
	slab_push(&s->blocks, &s->class[c].list[0], block);
	s->class[c].free += s->sizes[c].slots;
	return block;
}

static void drop_block(struct store *s, uint32_t block)
{
	const struct slab *b = slab_at(&s->blocks, block);

	slab_unlink(&s->blocks, &s->class[b->kind].list[b->list], block);
	s->class[b->kind].free -= s->sizes[b->kind].slots;
	slabs_drop(&s->blocks, block);
}

/* One of the fullest blocks that have room, but not this one. */
static uint32_t fullest(const struct store *s, unsigned int c, uint32_t but)
{
	for (unsigned int l = FULL; l-- > 0;) {
		uint32_t block = s->class[c].list[l];

		if (block != SLAB_NONE && block == but)
			block = slab_at(&s->blocks, block)->next;
		if (block != SLAB_NONE)
			return block;
	}
	return SLAB_NONE;
}

/* Returns the place. */
static uint32_t take(struct store *s, uint32_t block, uint32_t value)
{
	unsigned int slot = slab_take(&s->blocks, block, value);

	s->class[slab_at(&s->blocks, block)->kind].free--;
	relist(s, block);
	return block << SLOT_BITS | slot;
}

static void give_up(struct store *s, uint32_t block, unsigned int slot)
{
	slab_free(&s->blocks, block, slot);
	s->class[slab_at(&s->blocks, block)->kind].free++;
	if (slab_at(&s->blocks, block)->used)
		relist(s, block);
	else
		drop_block(s, block);
}

static void fill(struct store *s, uint32_t place, const void *bytes, unsigned int size)
{
	uint32_t block = place >> SLOT_BITS;
	uint8_t *slot = slot_at(s, block, place & ((1u << SLOT_BITS) - 1));
	unsigned int slack = s->sizes[slab_at(&s->blocks, block)->kind].size - size;

	ensure(slack <= UINT8_MAX);
	memcpy(slot, bytes, size);
	if (slack)
		slot[size + slack - 1] = (uint8_t)slack;
}

uint32_t store_put(struct store *s, const void *bytes, unsigned int size)
{
	unsigned int c = s->class_of[(size + SIZE_CLASS_UNIT - 1) / SIZE_CLASS_UNIT];
	uint32_t handle, block, *place;

	ensure(size && size <= STORE_MOST);
	handle = handles_new(&s->handles, 0);
	if (handle == HANDLE_NONE)
		return STORE_NONE;
	block = fullest(s, c, SLAB_NONE);
	if (block == SLAB_NONE)
		block = add_block(s, c);
	if (block == SLAB_NONE) {
		handles_free(&s->handles, handle);
		return STORE_NONE;
	}
	place = handles_place(&s->handles, handle);
	*place = take(s, block, handle << 1 | (size == s->sizes[c].size));
	fill(s, *place, bytes, size);
	s->objects++;
	s->bytes += size;
	return handle;
}

const void *store_get(const struct store *s, uint32_t handle, unsigned int *size)
{
	uint32_t place = *handles_place(&s->handles, handle), block = place >> SLOT_BITS;
	unsigned int slot = place & ((1u << SLOT_BITS) - 1);
	const uint8_t *bytes = slot_at(s, block, slot);
	bool fills = slab_words(&s->blocks, block)[slot] & 1;

	*size = s->sizes[slab_at(&s->blocks, block)->kind].size;
	*size -= fills ? 0 : bytes[*size - 1];
	return bytes;
}

void store_remove(struct store *s, uint32_t handle)
{
	uint32_t place = *handles_place(&s->handles, handle);
	unsigned int size;

	store_get(s, handle, &size);
	s->objects--;
	s->bytes -= size;
	give_up(s, place >> SLOT_BITS, place & ((1u << SLOT_BITS) - 1));
	handles_free(&s->handles, handle);
}

static void move(struct store *s, uint32_t from, unsigned int slot)
{
	unsigned int c = slab_at(&s->blocks, from)->kind;
	uint32_t value = slab_words(&s->blocks, from)[slot], place = take(s, fullest(s, c, from), value);

	memcpy(slot_at(s, place >> SLOT_BITS, place & ((1u << SLOT_BITS) - 1)), slot_at(s, from, slot), s->sizes[c].size);
	*handles_place(&s->handles, value >> 1) = place;
	give_up(s, from, slot);
	s->moved++;
}

/* Moves at most so many out of a block, and returns how many these were. */
static unsigned int evacuate(struct store *s, uint32_t block, unsigned int objects)
{
	unsigned int n = 0, used = slab_at(&s->blocks, block)->used;

	for (unsigned int slot = slab_at(&s->blocks, block)->touched; n < objects && n < used; slot--) {
		if (!slab_is_taken(&s->blocks, block, slot - 1))
			continue;
		move(s, block, slot - 1);
		n++;
	}
	return n;
}

static uint32_t emptiest(const struct store *s, unsigned int c)
{
	unsigned int l = 0;

	while (s->class[c].list[l] == SLAB_NONE)
		l++;
	return s->class[c].list[l];
}

/* There are as many free slots as a block has: the objects of one fit into the others. */
static bool can_gain(const struct store *s, unsigned int c)
{
	return s->class[c].free >= s->sizes[c].slots;
}

bool store_compact(struct store *s, unsigned int objects)
{
	for (unsigned int c = 0; c < s->classes; c++)
		while (can_gain(s, c)) {
			if (!objects)
				return true;
			objects -= evacuate(s, emptiest(s, c), objects);
		}
	return false;
}

void store_stats(const struct store *s, struct store_stats *stats)
{
	*stats = (struct store_stats){
		.objects = s->objects,
		.bytes = s->bytes,
		.held = (uint64_t)s->blocks.in_use * BLOCK,
		.metadata = sizeof(*s) + slabs_record_bytes(&s->blocks) + handles_bytes(&s->handles),
		.moved = s->moved,
	};
}
