#include "snapshot/block_map.h"

#include <stdlib.h>

#include "snapshot/array_room.h"
#include "vmm/mem.h"
#include "vmm/state.h"

#define BLOCK_BYTES 12u /* of one in a state file */

void block_map_free(struct block_map *m)
{
	free(m->block);
	*m = (struct block_map){0};
}

int block_map_add(struct block_map *m, uint32_t size, uint64_t checksum)
{
	int r = array_room((void **)&m->block, &m->room, m->blocks, sizeof(*m->block));

	if (r < 0)
		return r;
	m->block[m->blocks++] = (struct memory_block){.at = m->bytes, .size = size, .checksum = checksum};
	m->bytes += size;
	return 0;
}

uint32_t block_map_plain(const struct block_map *m, size_t n, uint64_t pages)
{
	uint64_t left = pages - (uint64_t)n * m->pages;

	return (uint32_t)((left < m->pages ? left : m->pages) << PAGE_SHIFT);
}

static uint64_t left(const struct state *s)
{
	return s->error ? 0 : s->size - s->at;
}

/* Loading: the array, of a size that the file's own bounds. */
static void allocate(struct block_map *m, struct state *s, uint64_t blocks)
{
	if (!state_loading(s))
		return;
	state_check(s, blocks <= left(s) / BLOCK_BYTES, "blocks: more than there is");
	if (s->error)
		return;
	m->block = calloc(blocks + 1, sizeof(*m->block));
	state_check(s, m->block, "blocks: out of memory");
	m->blocks = m->room = s->error ? 0 : blocks;
}

static void visit_block(struct block_map *m, struct state *s, size_t n, uint64_t pages)
{
	struct memory_block *b = &m->block[n];

	state_u32(s, &b->size);
	state_u64(s, &b->checksum);
	state_check(s, s->error || (b->size && b->size <= block_map_plain(m, n, pages)), "blocks: one of a wrong size");
	if (!state_loading(s) || s->error)
		return;
	b->at = m->bytes;
	m->bytes += b->size;
}

void block_map_visit(struct block_map *m, struct state *s, uint64_t pages)
{
	uint64_t blocks = m->blocks;

	state_begin(s, "blocks", 1);
	state_u32(s, &m->pages);
	state_u64(s, &blocks);
	state_check(s, s->error || (m->pages && m->pages <= BLOCK_PAGES_MAX), "blocks: of too few or too many pages");
	state_check(s, s->error || blocks == (pages + m->pages - 1) / m->pages, "blocks: not as many as the pages make");
	allocate(m, s, blocks);
	for (size_t i = 0; i < m->blocks && !s->error; i++)
		visit_block(m, s, i, pages);
	state_end(s);
}
