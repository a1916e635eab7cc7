#include "replay/digest_compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replay/state_digest.h"

#define NAMED 3u /* registers that are named; where more differ, that is said */

_Static_assert(BOUNDARY_REGISTERS == EVENT_DIGEST_REGISTERS, "as documented");

static void append(char text[DIGEST_TEXT_ROOM], const char *name, uint64_t value)
{
	size_t used = strlen(text);

	snprintf(text + used, DIGEST_TEXT_ROOM - used, "%s%s 0x%" PRIx64, used ? ", " : "", name, value);
}

static enum digest_verdict compare_registers(const struct event *e, const struct boundary *at, struct digest_difference *d)
{
	uint64_t found[BOUNDARY_REGISTERS];
	unsigned int differ = 0;

	boundary_registers(at, found);
	for (unsigned int i = 0; i < BOUNDARY_REGISTERS; i++) {
		if (event_register(e, i) == found[i] || ++differ > NAMED)
			continue;
		append(d->expected, boundary_register_names[i], event_register(e, i));
		append(d->found, boundary_register_names[i], found[i]);
	}
	snprintf(d->what, sizeof(d->what), "registers are not as they were: %u of them", differ);
	return differ ? DIGEST_REGISTERS_DIFFER : DIGEST_SAME;
}

/* They ascend, and name RAM; whoever made the log may have written anything. */
static bool rows_make_sense(const struct event *e, const struct state_digest *s)
{
	uint64_t end = 0;

	for (unsigned int i = 0; i < e->digest.rows; i++) {
		struct event_row row = event_row(e, i);

		if (row.page < end || !row.pages || row.page + (uint64_t)row.pages > state_digest_pages(s))
			return false;
		end = row.page + (uint64_t)row.pages;
	}
	return true;
}

static void name_row(const struct state_digest *s, const struct event_row *row, unsigned int others, struct digest_difference *d)
{
	uint64_t gpa = mem_page_gpa(s->mem, row->page);

	if (row->pages == 1)
		snprintf(d->what, sizeof(d->what), "RAM is not as it was: the page at gpa 0x%" PRIx64, gpa);
	else
		snprintf(d->what, sizeof(d->what), "RAM is not as it was: one of %u pages from gpa 0x%" PRIx64 " on", row->pages, gpa);
	if (others)
		snprintf(d->what + strlen(d->what), sizeof(d->what) - strlen(d->what), ", and %u others", others);
	snprintf(d->expected, sizeof(d->expected), "digest of what is there %08x", row->sum);
	snprintf(d->found, sizeof(d->found), "digest of what is there %08x", state_digest_sum(s, row->page, row->pages));
}

static bool compare_rows(const struct event *e, const struct state_digest *s, struct digest_difference *d)
{
	struct event_row first = {0};
	unsigned int differ = 0;

	for (unsigned int i = 0; i < e->digest.rows; i++) {
		struct event_row row = event_row(e, i);

		if (state_digest_sum(s, row.page, row.pages) != row.sum && !differ++)
			first = row;
	}
	if (differ)
		name_row(s, &first, differ - 1, d);
	return !differ;
}

static bool is_in_rows(const struct event *e, uint64_t page)
{
	for (unsigned int i = 0; i < e->digest.rows; i++) {
		struct event_row row = event_row(e, i);

		if (page >= row.page && page < row.page + (uint64_t)row.pages)
			return true;
	}
	return false;
}

/* What changed here and not there: a page that no row is about. */
static void name_stray(const struct event *e, const struct state_digest *s, struct digest_difference *d)
{
	uint64_t page = state_digest_changed(s, 0);

	while (page != UINT64_MAX && is_in_rows(e, page))
		page = state_digest_changed(s, page + 1);
	if (page == UINT64_MAX)
		return;
	snprintf(d->what, sizeof(d->what), "RAM is not as it was: the page at gpa 0x%" PRIx64 " is another one than before",
		 mem_page_gpa(s->mem, page));
	snprintf(d->expected, sizeof(d->expected), "as it was at the digest before");
	snprintf(d->found, sizeof(d->found), "digest of what is there %08x", state_digest_sum(s, page, 1));
}

static enum digest_verdict compare_ram(const struct event *e, const struct state_digest *s, bool follows, struct digest_difference *d)
{
	if (!rows_make_sense(e, s))
		return DIGEST_NONSENSE;
	if (!compare_rows(e, s, d))
		return DIGEST_RAM_DIFFERS;
	if (e->digest.ram == s->ram)
		return DIGEST_SAME;
	snprintf(d->what, sizeof(d->what), "RAM is not as it was, and in no page that the guest wrote since the digest before");
	snprintf(d->expected, sizeof(d->expected), "digest of all of it %016" PRIx64, e->digest.ram);
	snprintf(d->found, sizeof(d->found), "digest of all of it %016" PRIx64, s->ram);
	if (follows)
		name_stray(e, s, d);
	return DIGEST_RAM_DIFFERS;
}

enum digest_verdict digest_compare(const struct event *e, const struct boundary *at, const struct state_digest *ram, bool follows,
				   struct digest_difference *d)
{
	enum digest_verdict verdict = DIGEST_SAME;

	*d = (struct digest_difference){.what = ""};
	if (at && e->digest.registers)
		verdict = compare_registers(e, at, d);
	if (verdict == DIGEST_SAME && ram && e->digest.size)
		verdict = compare_ram(e, ram, follows, d);
	return verdict;
}
