/*
 * Events as bytes: each comes back as it was, the bytes are those that the documentation gives, every prefix of them is refused, and
 * whatever is read is written again as the same bytes: there is one way to write an event.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "replay/event.h"
#include "tests/unit/event_equal.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"

static uint8_t brought[EVENT_EXTERNAL_MOST];

static uint64_t any_number(struct random *r)
{
	return random_next(r) >> random_below(r, 64);
}

static struct event any_event(struct random *r, uint64_t from)
{
	struct event e = {.kind = (enum event_kind)random_below(r, EVENT_KINDS)};
	uint64_t later = random_below(r, 2) ? random_below(r, 70) : any_number(r);

	e.position = later > UINT64_MAX - from ? from : from + later;
	switch (e.kind) {
	case EVENT_EXTERNAL:
		e.external.source = (enum access_source)random_below(r, ACCESS_SOURCES);
		e.external.size = (uint32_t)random_below(r, random_below(r, 2) ? 20 : EVENT_EXTERNAL_MOST + 1);
		e.external.bytes = brought;
		break;
	case EVENT_CLOCK: e.ns = any_number(r); break;
	case EVENT_INTERRUPT:
		e.interrupt.vector = (uint8_t)random_next(r);
		e.interrupt.registers = (uint32_t)random_next(r);
		break;
	case EVENT_CHECKS:
		e.checks.count = (uint8_t)(1 + random_below(r, EVENT_CHECKS_MOST));
		e.checks.bytes = brought;
		break;
	case EVENT_PAGE:
	case EVENT_STATE:
		e.packed.page = e.kind == EVENT_PAGE ? any_number(r) : 0;
		e.packed.size = (uint32_t)random_below(r, random_below(r, 2) ? 20 : EVENT_PACKED_MOST + 1);
		e.packed.bytes = brought;
		break;
	case EVENT_DIGEST:
		e.digest.registers = random_below(r, 2) ? EVENT_DIGEST_REGISTERS : 0;
		e.digest.size = (uint8_t)(random_below(r, 3) ? random_below(r, EVENT_PAGING_MOST + 1) : 0);
		e.digest.rows = (uint8_t)(e.digest.size ? random_below(r, EVENT_DIGEST_ROWS_MOST + 1) : 0);
		e.digest.ram = e.digest.size ? random_next(r) : 0;
		e.digest.register_bytes = e.digest.row_bytes = e.digest.paging = (const char *)brought;
		break;
	case EVENT_MARK:
		e.mark.what = (enum event_mark)random_below(r, EVENT_MARKS);
		memcpy(e.mark.id, brought + random_below(r, 100), sizeof(e.mark.id));
		memcpy(e.mark.of, brought + random_below(r, 100), sizeof(e.mark.of));
		e.mark.digest = random_next(r);
		break;
	default:
		e.end.how = (uint8_t)(1 + random_below(r, EVENT_HOW_MOST));
		e.end.code = (uint8_t)random_next(r);
		e.end.ram = random_next(r);
		e.end.size = (uint8_t)random_below(r, EVENT_PAGING_MOST + 1);
		e.end.paging = (const char *)brought;
		break;
	}
	return e;
}

/* From memory that ends where the bytes end, so that a sanitizer sees what reads on. */
static size_t decode(struct event *e, uint64_t from, const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	size_t n;

	memcpy(copy, bytes, size);
	copy = realloc(copy, size ? size : 1);
	n = event_decode(e, from, copy, size);
	free(copy);
	return n;
}

START_TEST(come_back)
{
	struct random r = random_start("come_back");
	static uint8_t bytes[EVENT_EXTERNAL_MOST + EVENT_HEAD_MOST];

	for (size_t i = 0; i < sizeof(brought); i++)
		brought[i] = (uint8_t)random_next(&r);
	for (unsigned int i = 0; i < effort(20000, 20000); i++) {
		uint64_t from = any_number(&r);
		struct event e = any_event(&r, from), back;
		size_t n = event_encode(&e, from, bytes), cut = random_below(&r, n);

		ck_assert_uint_le(n, event_room(&e));
		ck_assert_uint_eq(event_decode(&back, from, bytes, n), n);
		ck_assert(event_equal(&e, &back));
		ck_assert_uint_eq(decode(&back, from, bytes, cut), 0);
	}
}
END_TEST

/* docs/recording-format.md, by hand. */
START_TEST(known_bytes)
{
	static const struct {
		struct event e;
		uint64_t from;
		size_t size;
		uint8_t bytes[40];
	} known[] = {
		{{.kind = EVENT_EXTERNAL, .position = 7, .external = {ACCESS_CONSOLE, 3, "abc"}}, 5, 6, {0x20, 0, 3, 'a', 'b', 'c'}},
		{{.kind = EVENT_CLOCK, .position = 35, .ns = 300}, 5, 4, {0xf1, 0x0f, 0xac, 0x02}},
		{{.kind = EVENT_INTERRUPT, .position = 36, .interrupt = {0x20, 0x01020304}}, 5, 7, {0xf2, 0x10, 0x20, 4, 3, 2, 1}},
		{{.kind = EVENT_CHECKS, .position = 5 + 31 + 128, .checks = {2, (const uint8_t *)"xy"}}, 5, 6, {0xf3, 0x90, 0x01, 2, 'x', 'y'}},
		{{.kind = EVENT_PAGE, .position = 5, .packed = {300, 1, "z"}}, 5, 5, {0x04, 0xac, 0x02, 1, 'z'}},
		{{.kind = EVENT_STATE, .position = 6, .packed = {0, 2, "zz"}}, 5, 4, {0x15, 2, 'z', 'z'}},
		{{.kind = EVENT_DIGEST, .position = 5, .digest = {.registers = 0}}, 5, 3, {0x07, 0, 0}},
		{{.kind = EVENT_DIGEST, .position = 5, .digest = {.rows = 1, .size = 2, .ram = 0x0102030405060708, .paging = "kv",
								  .row_bytes = "abcdefghijkl"}},
		 5, 26, {0x07, 0, 2, 'k', 'v', 8, 7, 6, 5, 4, 3, 2, 1, 1, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'}},
		{{.kind = EVENT_END, .position = 5, .end = {1, 126, 0x0102030405060708, 2, "kv"}}, 5, 14,
		 {0x06, 1, 126, 8, 7, 6, 5, 4, 3, 2, 1, 2, 'k', 'v'}},
		{{.kind = EVENT_MARK, .position = 6, .mark.what = MARK_BEGUN}, 5, 2, {EVENT_MARK | 0x10, 0}},
		{{.kind = EVENT_MARK, .position = 5, .mark = {.what = MARK_SAVED, .id = {1, 2, 3}, .digest = 0x0102030405060708}}, 5, 26,
		 {EVENT_MARK, 1, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1}},
		{{.kind = EVENT_MARK, .position = 5, .mark = {.what = MARK_COPIED, .id = {1, 2, 3}, .of = {[15] = 4}}}, 5, 34,
		 {EVENT_MARK, 2, 1, 2, 3, [33] = 4}},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		uint8_t bytes[64];

		ck_assert_uint_eq(event_encode(&known[i].e, known[i].from, bytes), known[i].size);
		ck_assert_int_eq(memcmp(bytes, known[i].bytes, known[i].size), 0);
	}
}
END_TEST

/* All there are of up to three bytes, and random ones: no crash, and no second way to write the same. */
static void read_any(const uint8_t *bytes, size_t size, uint64_t from)
{
	uint8_t again[EVENT_HEAD_MOST + 64];
	struct event e;
	size_t n = decode(&e, from, bytes, size);

	ck_assert_uint_le(n, size);
	if (!n)
		return;
	if (e.kind == EVENT_EXTERNAL)
		e.external.bytes = bytes + n - e.external.size;
	else if (e.kind == EVENT_CHECKS)
		e.checks.bytes = bytes + n - e.checks.count;
	else if (e.kind == EVENT_PAGE || e.kind == EVENT_STATE)
		e.packed.bytes = bytes + n - e.packed.size;
	else if (e.kind == EVENT_DIGEST && e.digest.size)
		e.digest.row_bytes = bytes + n - sizeof(struct event_row) * e.digest.rows,
		e.digest.paging = (const char *)e.digest.row_bytes - 9 - e.digest.size;
	else if (e.kind == EVENT_END)
		e.end.paging = (const char *)bytes + n - e.end.size;
	ck_assert_uint_eq(event_encode(&e, from, again), n);
	ck_assert_int_eq(memcmp(again, bytes, n), 0);
}

START_TEST(any_bytes)
{
	struct random r = random_start("any_bytes");
	uint8_t bytes[24];

	for (uint32_t all = 0; all < 1u << 24; all += 1 + (uint32_t)random_below(&r, 64)) {
		memcpy(bytes, &all, 3);
		for (size_t size = 0; size <= 3; size++)
			read_any(bytes, size, 0);
	}
	for (unsigned int i = 0; i < effort(200000, 20000); i++) {
		for (size_t at = 0; at < sizeof(bytes); at++)
			bytes[at] = random_below(&r, 3) ? (uint8_t)random_next(&r) : random_below(&r, 2) ? 0xff : 0x80;
		read_any(bytes, random_below(&r, sizeof(bytes) + 1), random_below(&r, 2) ? 0 : UINT64_MAX - random_below(&r, 100));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {come_back, known_bytes, any_bytes};

	return RUN_TESTS("replay_event", tests);
}
