/*
 * What digests are for: whatever is in registers or in RAM and was not there is found at the next one, with what was expected and what was
 * found; and `--bisect` finds the access after which it came about. Both with logs that were changed, and with a guest that does learn the
 * host's time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/packed.h"
#include "tests/vm/edited_log.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define LOG_RIGHT "log.right"

struct recorded {
	struct snapshot_place place;
	struct outcome first; /* of the recording */
	char log[300], right[300];
};

static const char *mode(void)
{
	return mmu_is_shadow() ? "shadow" : "ept";
}

/* A fast host may come to the end before it is time for a digest: the guest reads more ports then. */
static void record_leak(struct recorded *r, const char *way)
{
	char line[500];

	r->place = make_snapshot_place();
	snprintf(r->log, sizeof(r->log), "%s/r/log", r->place.control.directory);
	snprintf(r->right, sizeof(r->right), "%s/r/" LOG_RIGHT, r->place.control.directory);
	for (unsigned int reads = 20000, digests = 0; digests < 3; reads *= 2) {
		snprintf(line, sizeof(line), "rm -rf %s/r", r->place.control.directory);
		ck_assert_int_eq(system(line), 0);
		snprintf(line, sizeof(line), "run --mmu %s --record-anyway --record %s/r @leak -- %s 1000 %u", mode(), r->place.control.directory,
			 way, reads);
		r->first = spawn_line(line, "");
		ck_assert_msg(r->first.status == 0, "%s: %d '%s'", line, r->first.status, r->first.err.data);
		digests = logged(r->log, EVENT_DIGEST);
		if (digests < 3)
			outcome_free(&r->first);
	}
	ck_assert_int_eq(rename(r->log, r->right), 0);
}

static void forget(struct recorded *r)
{
	outcome_free(&r->first);
	leave_snapshot_place(&r->place);
}

static struct outcome replay(const struct recorded *r, const char *options)
{
	char line[400];

	snprintf(line, sizeof(line), "replay --mmu %s --timeout 100%s %s/r", mode(), options, r->place.control.directory);
	return spawn_line(line, "");
}

/* A part of what a program said. */
static void assert_said(const struct outcome *o, const char *text, const char *part, const char *what)
{
	ck_assert_msg(strstr(text, part) != NULL, "%s: not '%s': %d '%s' '%s'", what, part, o->status, o->out.data, o->err.data);
}

/* Changes of one digest. */
struct change {
	const char *what;
	enum verdict (*change)(struct event *e);
	enum { FIRST, SECOND, LAST } which; /* the first one has all of RAM, the last one is of the guest's end */
	int status;
	const char *said[3]; /* by replay */
};

static uint8_t bytes[EVENT_PACKED_MOST];
static char page_text[40];

static struct event_row *rows_of(struct event *e)
{
	memcpy(bytes, e->digest.row_bytes, sizeof(struct event_row) * e->digest.rows);
	e->digest.row_bytes = bytes;
	return (struct event_row *)bytes;
}

/* All RAM of these guests is below the hole. */
static void expect_page(uint64_t page)
{
	snprintf(page_text, sizeof(page_text), " gpa 0x%" PRIx64, page << PAGE_SHIFT);
}

static enum verdict other_register(struct event *e)
{
	ck_assert_uint_eq(e->digest.registers, EVENT_DIGEST_REGISTERS);
	memcpy(bytes, e->digest.register_bytes, sizeof(uint64_t) * e->digest.registers);
	bytes[8 * 14] ^= 0x40; /* R14 */
	e->digest.register_bytes = bytes;
	return KEEP;
}

static enum verdict other_page(struct event *e)
{
	struct event_row *row = rows_of(e) + (e->digest.rows - 1);

	ck_assert_uint_gt(e->digest.rows, 0);
	row->sum ^= 0x100;
	expect_page(row->page);
	return KEEP;
}

static enum verdict page_of_no_row(struct event *e)
{
	struct event_row *row = rows_of(e) + (e->digest.rows - 1);

	ck_assert_uint_gt(e->digest.rows, 0);
	expect_page(row->page);
	e->digest.rows--;
	e->digest.ram ^= 1;
	return KEEP;
}

static enum verdict other_sum(struct event *e)
{
	e->digest.ram ^= 1;
	return KEEP;
}

static enum verdict no_ram(struct event *e)
{
	struct event_row *row = rows_of(e) + (e->digest.rows - 1);

	ck_assert_uint_gt(e->digest.rows, 0);
	row->page = UINT32_MAX;
	return KEEP;
}

static enum verdict drop(struct event *e)
{
	return DROP;
}

static const struct change changes[] = {
	{"a register", other_register, SECOND, 124, {"registers are not as they were: 1 of them", "expected: r14 0x", "found: r14 0x"}},
	{"a page", other_page, FIRST, 124, {"RAM is not as it was: ", "expected: digest of what is there ", page_text}},
	{"a page that no row is about", page_of_no_row, FIRST, 124, {"is another one than before", "expected: as it was at the digest before", page_text}},
	{"a sum", other_sum, SECOND, 124, {"in no page that the guest wrote since", "expected: digest of all of it ", "found: digest of all of it "}},
	{"a sum at the end", other_sum, LAST, 124, {"in no page that the guest wrote since", "expected: digest of all of it ", "likely cause: "}},
	{"a page that is no RAM", no_ram, FIRST, 125, {"a digest that there cannot be"}},
	{"a dropped digest", drop, SECOND, 0, {""}},
};

struct edit {
	const struct change *change;
	unsigned int count, wanted;
};

static enum verdict edit(void *arg, struct event *e)
{
	struct edit *d = arg;

	return e->kind == EVENT_DIGEST && d->count++ == d->wanted ? d->change->change(e) : KEEP;
}

START_TEST(test_changed_digests)
{
	struct recorded r;

	record_leak(&r, "none");
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		const struct change *c = &changes[i];
		struct edit d = {.change = c, .wanted = c->which == LAST ? logged(r.right, EVENT_DIGEST) - 1 : c->which};
		struct outcome o;

		edit_log(r.right, r.log, edit, &d);
		o = replay(&r, "");
		ck_assert_msg(o.status == c->status, "%s: %d '%s'", c->what, o.status, o.err.data);
		for (size_t k = 0; k < 3 && c->said[k]; k++)
			assert_said(&o, o.err.data, c->said[k], c->what);
		if (c->status == 124)
			assert_said(&o, o.err.data, "likely cause: ", c->what);
		outcome_free(&o);
	}
	forget(&r);
}
END_TEST

/* Replays do not differ from one another where only the recording was changed. */
START_TEST(test_bisect_of_a_changed_log)
{
	struct edit d = {.change = &changes[0], .wanted = 1};
	struct recorded r;
	struct outcome o;

	record_leak(&r, "none");
	ck_assert_int_eq(rename(r.right, r.log), 0);
	o = replay(&r, " --bisect");
	assert_outcome(&o, 0, "differs   nothing: the replay does not diverge\n", "bisect of a right recording");
	outcome_free(&o);
	ck_assert_int_eq(rename(r.log, r.right), 0);
	edit_log(r.right, r.log, edit, &d);
	o = replay(&r, " --bisect");
	ck_assert_int_eq(o.status, 124);
	assert_said(&o, o.out.data, "replays are the same as one another, and not as the recording", "bisect");
	outcome_free(&o);
	forget(&r);
}
END_TEST

/* The two positions that `--bisect` names have no other between them. */
static void assert_next_to_each_other(const struct outcome *o)
{
	const char *at = strstr(o->out.data, "same at position ");
	unsigned long same, other;

	ck_assert_msg(at && sscanf(at, "same at position %lu, and not at position %lu", &same, &other) == 2, "'%s' '%s'", o->out.data, o->err.data);
	ck_assert_uint_eq(other, same + 1);
}

/* The guest says where it has put the time. */
START_TEST(test_time_in_ram)
{
	struct recorded r;
	struct outcome o;
	char page[60], offset[60];
	unsigned long gpa, at;

	record_leak(&r, "ram");
	ck_assert_int_eq(sscanf(r.first.out.data, "page at gpa 0x%lx, offset 0x%lx", &gpa, &at), 2);
	snprintf(page, sizeof(page), "RAM is not as it was: the page at gpa 0x%lx", gpa);
	snprintf(offset, sizeof(offset), "page at gpa 0x%lx, offset 0x%lx", gpa, at);
	ck_assert_int_eq(rename(r.right, r.log), 0);
	o = replay(&r, "");
	ck_assert_int_eq(o.status, 124);
	assert_said(&o, o.err.data, page, "time in RAM");
	assert_said(&o, o.err.data, "likely cause: ", "time in RAM");
	assert_said(&o, o.err.data, "rdtsc at 0x", "time in RAM");
	outcome_free(&o);
	o = replay(&r, " --bisect");
	ck_assert_int_eq(o.status, 124);
	assert_next_to_each_other(&o);
	offset[strlen(offset) - 1] = '\0'; /* the lowest byte may be the same by chance */
	assert_said(&o, o.out.data, offset, "time in RAM");
	outcome_free(&o);
	forget(&r);
}
END_TEST

START_TEST(test_time_in_a_register)
{
	struct recorded r;
	struct outcome o;

	record_leak(&r, "register");
	ck_assert_int_eq(rename(r.right, r.log), 0);
	o = replay(&r, " --bisect");
	ck_assert_int_eq(o.status, 124);
	assert_said(&o, o.err.data, "registers are not as they were: ", "time in a register");
	assert_said(&o, o.err.data, "r15 0x", "time in a register");
	assert_next_to_each_other(&o);
	assert_said(&o, o.out.data, "register  r15: 0x", "time in a register");
	outcome_free(&o);
	forget(&r);
}
END_TEST

START_TEST(test_time_in_an_access)
{
	struct recorded r;
	struct outcome o;

	record_leak(&r, "access");
	ck_assert_int_eq(rename(r.right, r.log), 0);
	o = replay(&r, " --bisect");
	ck_assert_int_eq(o.status, 124);
	assert_said(&o, o.err.data, "found: port write of 4 bytes at 0x5f8: 0x", "time in an access");
	assert_said(&o, o.out.data, "end differently", "time in an access");
	outcome_free(&o);
	forget(&r);
}
END_TEST

/* A byte of the last page that an asynchronous point brings before a digest. */
struct page_edit {
	unsigned int count, wanted;
	uint64_t page;
};

static enum verdict find_page(void *arg, struct event *e)
{
	struct page_edit *d = arg;

	d->count += e->kind == EVENT_PAGE;
	if (e->kind == EVENT_DIGEST && e->digest.registers)
		d->wanted = d->count;
	return KEEP;
}

static enum verdict edit_page(void *arg, struct event *e)
{
	static uint8_t page[PAGE_SIZE];
	struct page_edit *d = arg;

	if (e->kind != EVENT_PAGE || ++d->count != d->wanted)
		return KEEP;
	ck_assert(packed_page_out(e->packed.bytes, e->packed.size, page));
	page[PAGE_SIZE / 2 + 1] ^= 1;
	d->page = e->packed.page;
	e->packed.size = packed_page(page, bytes);
	e->packed.bytes = bytes;
	return KEEP;
}

START_TEST(test_changed_page)
{
	struct snapshot_place p = make_snapshot_place();
	struct page_edit d = {.count = 0};
	char line[400], log[300], right[300];
	struct outcome o;

	snprintf(line, sizeof(line), "run --mmu %s --record %s/r @clock -- 100", mode(), p.control.directory);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
	snprintf(log, sizeof(log), "%s/r/log", p.control.directory);
	snprintf(right, sizeof(right), "%s/r/" LOG_RIGHT, p.control.directory);
	ck_assert_int_eq(rename(log, right), 0);
	edit_log(right, log, find_page, &d);
	ck_assert_uint_gt(d.wanted, 0);
	d.count = 0;
	edit_log(right, log, edit_page, &d);
	snprintf(line, sizeof(line), "replay --mmu %s --timeout 100 %s/r", mode(), p.control.directory);
	o = spawn_line(line, "");
	snprintf(line, sizeof(line), " gpa 0x%" PRIx64, d.page << PAGE_SHIFT);
	ck_assert_msg(o.status == 124, "%s: %d '%s'", line, o.status, o.err.data);
	assert_said(&o, o.err.data, line, "a changed page");
	outcome_free(&o);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_changed_digests,    test_bisect_of_a_changed_log, test_time_in_ram,
				      test_time_in_a_register, test_time_in_an_access,	 test_changed_page};

	return RUN_TESTS("replay_digests", tests);
}
