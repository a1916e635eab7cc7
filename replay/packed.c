#include "replay/packed.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/state.h"

#define LEVEL 1
#define STATE_MOST 16384u /* bytes of a state before compression */

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

uint32_t packed_page(const void *page, void *to)
{
	size_t n;

	if (is_zero(page))
		return 0;
	n = ZSTD_compress(to, PAGE_SIZE - 1, page, PAGE_SIZE, LEVEL);
	if (!ZSTD_isError(n))
		return (uint32_t)n;
	memcpy(to, page, PAGE_SIZE);
	return PAGE_SIZE;
}

bool packed_page_out(const void *bytes, uint32_t size, void *page)
{
	if (!size)
		memset(page, 0, PAGE_SIZE);
	else if (size == PAGE_SIZE)
		memcpy(page, bytes, PAGE_SIZE);
	return !size || size == PAGE_SIZE || (size < PAGE_SIZE && ZSTD_decompress(page, PAGE_SIZE, bytes, size) == PAGE_SIZE);
}

int64_t packed_state(const struct cpu_state *cs, void *to)
{
	struct cpu_state copy = *cs;
	struct state s;
	size_t n;

	state_save_init(&s);
	cpu_state_visit(&copy, &s);
	if (state_error(&s)) {
		state_free(&s);
		return -ENOMEM;
	}
	ensure(s.size <= STATE_MOST);
	n = ZSTD_compress(to, EVENT_PACKED_MOST, s.bytes, s.size, LEVEL);
	state_free(&s);
	return ZSTD_isError(n) ? -ENOMEM : (int64_t)n;
}

bool packed_state_out(const void *bytes, uint32_t size, struct cpu_state *cs)
{
	uint8_t plain[STATE_MOST];
	size_t n = ZSTD_decompress(plain, sizeof(plain), bytes, size);
	struct state s;

	if (ZSTD_isError(n))
		return false;
	state_load_init(&s, plain, n);
	cpu_state_visit(cs, &s);
	return !state_error(&s);
}
