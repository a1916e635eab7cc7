#include "compare/walk_length.h"

#include <string.h>

#define LEVELS 4u /* of tables that end at pages of 4 KiB */

static const struct {
	uint64_t size;
	unsigned int levels;
} pages_of_hosts[] = {
	{4ull << 10, LEVELS},
	{2ull << 20, LEVELS - 1},
	{1ull << 30, LEVELS - 2},
};

/* 0 if the size is not one of a page. */
static unsigned int levels_of(uint64_t page)
{
	for (size_t i = 0; i < sizeof(pages_of_hosts) / sizeof(*pages_of_hosts); i++)
		if (pages_of_hosts[i].size == page)
			return pages_of_hosts[i].levels;
	return 0;
}

unsigned int walk_references(unsigned int levels, unsigned int table_levels, unsigned int page_levels)
{
	return levels * (table_levels + 1) + page_levels;
}

static struct walk_length one_dimension(unsigned int guest, unsigned int host)
{
	struct walk_length w = {.guest_levels = guest > host ? guest : host};

	if (host || guest == LEVELS)
		w.references = walk_references(w.guest_levels, 0, 0);
	return w;
}

static struct walk_length two_dimensions(unsigned int guest, unsigned int host, bool shadow)
{
	struct walk_length w = {.guest_levels = guest, .host_levels = host};

	if (host)
		w.references = walk_references(guest, shadow ? LEVELS : host, host);
	return w;
}

struct walk_length walk_length_of(const struct column *c, enum workload_pages pages)
{
	unsigned int guest = pages == WORKLOAD_2M ? LEVELS - 1 : LEVELS, host = levels_of(c->host_page);

	if (!strcmp(c->host_mmu, "unknown") || !strcmp(c->host_mmu, "none"))
		return (struct walk_length){.guest_levels = guest};
	if (!c->nested)
		return one_dimension(guest, host);
	return two_dimensions(guest, host, !strcmp(c->mmu, "shadow"));
}
