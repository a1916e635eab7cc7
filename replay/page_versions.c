#include "replay/page_versions.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "replay/page_store.h"
#include "vmm/ensure.h"

static int make_room(struct page_layer *l)
{
	uint64_t room = l->room ? 2 * l->room : 16;
	struct page_version *more;

	if (l->count < l->room)
		return 0;
	more = realloc(l->version, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->version = more;
	l->room = room;
	return 0;
}

int page_layer_add(struct page_layer *l, struct page_store *s, uint64_t page, const void *bytes)
{
	struct page_content *content;

	ensure(!l->count || l->version[l->count - 1].page < page);
	if (make_room(l) < 0)
		return -ENOMEM;
	content = page_store_keep(s, bytes);
	if (!content)
		return -ENOMEM;
	l->version[l->count++] = (struct page_version){page, content};
	return 0;
}

void page_layer_free(struct page_layer *l, struct page_store *s)
{
	for (uint64_t i = 0; i < l->count; i++)
		page_store_drop(s, l->version[i].content);
	free(l->version);
	*l = (struct page_layer){0};
}

const struct page_content *page_layer_find(const struct page_layer *l, uint64_t page)
{
	uint64_t low = 0, high = l->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (l->version[middle].page < page)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->count && l->version[low].page == page ? l->version[low].content : NULL;
}

/* As many as both have, those that both have once. */
static uint64_t count_both(const struct page_layer *a, const struct page_layer *b)
{
	uint64_t count = 0;

	for (uint64_t i = 0, k = 0; i < a->count || k < b->count; count++) {
		uint64_t at = i < a->count ? a->version[i].page : UINT64_MAX, other = k < b->count ? b->version[k].page : UINT64_MAX;

		i += at <= other;
		k += other <= at;
	}
	return count;
}

int page_layer_fold(struct page_layer *into, struct page_layer *from, struct page_store *s)
{
	uint64_t count = count_both(into, from), i = 0, k = 0;
	struct page_version *both = count ? malloc(count * sizeof(*both)) : NULL;

	if (count && !both)
		return -ENOMEM;
	for (uint64_t n = 0; n < count; n++) {
		bool has = i < into->count, older = k < from->count;

		if (has && older && from->version[k].page == into->version[i].page)
			page_store_drop(s, from->version[k++].content);
		if (has && (k >= from->count || into->version[i].page < from->version[k].page))
			both[n] = into->version[i++];
		else
			both[n] = from->version[k++];
	}
	free(into->version);
	free(from->version);
	*into = (struct page_layer){both, count, count};
	*from = (struct page_layer){0};
	return 0;
}
