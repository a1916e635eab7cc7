/*
 * Whatever is not as it was is found: recordings in which one thing is left out or is another end as diverged, where it matters, and
 * say where that is. What is changed here is what would be wrong if a source of chance was open.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/packed.h"
#include "tests/vm/edited_log.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

struct change {
	const char *what;
	enum event_kind kind;
	enum verdict (*change)(struct event *e);
	const char *said; /* of it, by replay */
};

static uint8_t room[EVENT_EXTERNAL_MOST];

static enum verdict drop(struct event *e)
{
	return DROP;
}

/* As if the host's time had got in. */
static enum verdict other_time(struct event *e)
{
	e->ns += 5000000;
	return KEEP;
}

static enum verdict other_byte(struct event *e)
{
	memcpy(room, e->external.bytes, e->external.size);
	room[e->external.size - 1] ^= 1;
	e->external.bytes = room;
	return KEEP;
}

static enum verdict other_vector(struct event *e)
{
	e->interrupt.vector ^= 1;
	return KEEP;
}

static enum verdict other_registers(struct event *e)
{
	e->interrupt.registers ^= 1;
	return KEEP;
}

static enum verdict other_check(struct event *e)
{
	memcpy(room, e->checks.bytes, e->checks.count);
	room[e->checks.count / 2] ^= 1;
	e->checks.bytes = room;
	return KEEP;
}

static enum verdict other_code(struct event *e)
{
	e->end.code ^= 1;
	return KEEP;
}

static enum verdict other_ram(struct event *e)
{
	e->end.ram ^= 1;
	return KEEP;
}

static enum verdict other_registers_in_state(struct event *e)
{
	static struct cpu_state cs;
	int64_t n;

	ck_assert(packed_state_out(e->packed.bytes, e->packed.size, &cs));
	cs.gpr[CPU_RBX] ^= 1;
	n = packed_state(&cs, room);
	ck_assert_int_gt(n, 0);
	e->packed.bytes = room;
	e->packed.size = (uint32_t)n;
	return KEEP;
}

static const struct change of_shell[] = {
	{"a dropped step of the clock", EVENT_CLOCK, drop, ""},
	{"another time", EVENT_CLOCK, other_time, "the guest did something else: port read"},
	{"dropped input", EVENT_EXTERNAL, drop, ""},
	{"other input", EVENT_EXTERNAL, other_byte, "the guest did something else: port read"},
	{"a dropped interrupt", EVENT_INTERRUPT, drop, ""},
	{"another interrupt", EVENT_INTERRUPT, other_vector, "interrupt "},
	{"other registers", EVENT_INTERRUPT, other_registers, "registers are not as they were"},
	{"another check", EVENT_CHECKS, other_check, "the guest did something else"},
	{"another end", EVENT_END, other_code, "the guest ends (exited, code 3)"},
	{"other RAM", EVENT_END, other_ram, "RAM is not as it was"},
};

static enum verdict far_future(struct event *e)
{
	e->ns = UINT64_MAX - 5;
	return KEEP;
}

static enum verdict no_page(struct event *e)
{
	e->packed.page = UINT64_MAX >> 3;
	return KEEP;
}

static enum verdict no_bytes_of_a_page(struct event *e)
{
	memset(room, 0xff, 100);
	e->packed.bytes = room;
	e->packed.size = 100;
	return KEEP;
}

static enum verdict more_than_a_page(struct event *e)
{
	e->packed.bytes = room;
	e->packed.size = 4097;
	return KEEP;
}

/* What no program would have written; these end with 125. */
static const struct change hostile[] = {
	{"a step out of all time", EVENT_CLOCK, far_future, "a time that there cannot be"},
	{"a page where no RAM is", EVENT_PAGE, no_page, "a page that there cannot be"},
	{"a page that cannot be unpacked", EVENT_PAGE, no_bytes_of_a_page, "a page that there cannot be"},
	{"a page that is too long", EVENT_PAGE, more_than_a_page, "a page that there cannot be"},
	{"a state that cannot be unpacked", EVENT_STATE, no_bytes_of_a_page, "a state that there cannot be"},
};

static const struct change of_clock[] = {
	{"a dropped state", EVENT_STATE, drop, ""},
	{"registers of a state", EVENT_STATE, other_registers_in_state, "registers are not as they were"},
};

static const struct change of_entropy[] = {
	{"dropped entropy", EVENT_EXTERNAL, drop, "a device asks for "},
	{"other entropy", EVENT_EXTERNAL, other_byte, ""},
};

/* The last of its kind but one, or the only one; the first step of the clock, on which all that is told of the time stands. */
static unsigned int which(const struct change *c, unsigned int count)
{
	return c->kind == EVENT_CLOCK || count < 2 ? 0 : count - 2;
}

struct edit {
	const struct change *change;
	unsigned int count, wanted;
};

static enum verdict edit(void *arg, struct event *e)
{
	struct edit *d = arg;

	return e->kind == d->change->kind && d->count++ == d->wanted ? d->change->change(e) : KEEP;
}

/* The log at `from` with an event changed. */
static void rewrite(const char *from, const char *to, const struct change *c)
{
	unsigned int count = logged(from, c->kind);
	struct edit d = {.change = c, .wanted = which(c, count)};

	ck_assert_msg(count, "no event is of this kind: %s", c->what);
	edit_log(from, to, edit, &d);
}

static void assert_ends(const struct snapshot_place *p, const struct change *c, int status)
{
	char line[400], from[300], to[300];
	struct outcome o;

	snprintf(from, sizeof(from), "%s/r/log.right", p->control.directory);
	snprintf(to, sizeof(to), "%s/r/log", p->control.directory);
	rewrite(from, to, c);
	snprintf(line, sizeof(line), "replay --mmu %s --timeout 60 %s/r", mmu_is_shadow() ? "shadow" : "ept", p->control.directory);
	o = spawn_line(line, "");
	ck_assert_msg(o.status == status && (status != 124 || strstr(o.err.data, "replay diverged: after position ")) && strstr(o.err.data, c->said),
		      "%s: status %d, '%s', '%s'", c->what, o.status, o.out.data, o.err.data);
	outcome_free(&o);
}

static void assert_all_end(const char *words, const char *input, const struct change *changes, size_t count, int status)
{
	struct snapshot_place p = make_snapshot_place();
	char line[400];
	struct outcome o;

	snprintf(line, sizeof(line), "run --mmu %s --record %s/r %s", mmu_is_shadow() ? "shadow" : "ept", p.control.directory, words);
	o = spawn_line(line, input);
	ck_assert_msg(o.status == 3 || o.status == 0, "%s: %d '%s'", line, o.status, o.err.data);
	outcome_free(&o);
	snprintf(line, sizeof(line), "mv %s/r/log %s/r/log.right", p.control.directory, p.control.directory);
	ck_assert_int_eq(system(line), 0);
	for (size_t i = 0; i < count; i++)
		assert_ends(&p, &changes[i], status);
	leave_snapshot_place(&p);
}

#define ASSERT_ALL_END(words, input, changes, status) assert_all_end(words, input, changes, sizeof(changes) / sizeof(*(changes)), status)

START_TEST(test_shell)
{
	ASSERT_ALL_END("@shell", "hello\ntime\nhello\nexit 3\n", of_shell, 124);
}
END_TEST

START_TEST(test_asynchronous_points)
{
	ASSERT_ALL_END("@clock -- 10 100", "", of_clock, 124);
}
END_TEST

START_TEST(test_entropy)
{
	ASSERT_ALL_END("@disk -- entropy", "", of_entropy, 124);
}
END_TEST

START_TEST(test_hostile)
{
	ASSERT_ALL_END("@clock -- 10 100", "", hostile, 125);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_shell, test_asynchronous_points, test_entropy, test_hostile};

	return RUN_TESTS("replay_divergence", tests);
}
