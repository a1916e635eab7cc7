#include "dedup/handles.h"

#include "vmm/ensure.h"
#include "vmm/mem.h"

#define PER_PAGE ((uint32_t)(PAGE_SIZE / sizeof(uint32_t)))
#define MOST_PAGES ((1u << HANDLE_BITS) / PER_PAGE - 1) /* handles begin with 1 */

int handles_init(struct handles *h, uint64_t most)
{
	uint64_t pages = (most + PER_PAGE - 1) / PER_PAGE;

	h->room = SLAB_NONE;
	return slabs_init(&h->pages, PAGE_SIZE, pages < MOST_PAGES ? (uint32_t)pages : MOST_PAGES);
}

void handles_destroy(struct handles *h)
{
	slabs_destroy(&h->pages);
}

uint64_t handles_bytes(const struct handles *h)
{
	return h->pages.in_use * PAGE_SIZE + slabs_record_bytes(&h->pages);
}

uint32_t handles_new(struct handles *h, uint32_t place)
{
	uint32_t page = h->room;
	unsigned int slot;

	if (page == SLAB_NONE) {
		page = slabs_new(&h->pages);
		if (page == SLAB_NONE)
			return HANDLE_NONE;
		slab_push(&h->pages, &h->room, page);
	}
	slot = slab_take(&h->pages, page, place);
	if (slab_at(&h->pages, page)->used == PER_PAGE)
		slab_unlink(&h->pages, &h->room, page);
	return page * PER_PAGE + slot + 1;
}

void handles_free(struct handles *h, uint32_t handle)
{
	uint32_t page = (handle - 1) / PER_PAGE;
	unsigned int used;

	slab_free(&h->pages, page, (handle - 1) % PER_PAGE);
	used = slab_at(&h->pages, page)->used;
	if (used == PER_PAGE - 1)
		slab_push(&h->pages, &h->room, page);
	if (used)
		return;
	slab_unlink(&h->pages, &h->room, page);
	slabs_drop(&h->pages, page);
}

uint32_t *handles_place(const struct handles *h, uint32_t handle)
{
	uint32_t page = (handle - 1) / PER_PAGE, slot = (handle - 1) % PER_PAGE;

	ensure(slab_is_taken(&h->pages, page, slot));
	return slab_words(&h->pages, page) + slot;
}
