/*
 * Guests with so much RAM that it is copied behind them, while they write it and check what is in it: what was saved is one
 * instant, however long the copy took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define GUEST "--mem 64M @memory -- zero=0 dup=0 similar=0 unique=500 cold=100 hot=8400 seed=9 rounds="
#define MMU_AND_GUEST "--mmu %s " GUEST "%u"
#define FILLED "memory: 9000 pages filled"

static const char *random_mode(struct random *r)
{
	return mmu_modes[random_below(r, MMU_MODES)];
}

/* All of its rounds take a second or two. */
static unsigned int rounds(void)
{
	return in_lab() ? 8 : 40;
}

static struct outcome run_whole(void)
{
	struct outcome o;
	char line[200];

	snprintf(line, sizeof(line), "run " MMU_AND_GUEST, "ept", rounds());
	o = spawn_line(line, "");
	ck_assert_msg(o.status == 0, "status %d, '%s'", o.status, o.err.data);
	return o;
}

/* It says the rest of what it would have said. */
static void assert_goes_on(const struct snapshot_place *p, const struct outcome *whole, const char *name, struct random *r)
{
	char words[40];
	struct outcome o;

	snprintf(words, sizeof(words), "--mmu %s", random_mode(r));
	o = restore(p, words, name);
	ck_assert_msg(o.status == 0 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
	ck_assert_msg(o.out.size <= whole->out.size && !strcmp(whole->out.data + whole->out.size - o.out.size, o.out.data), "'%s'",
		      o.out.data);
	outcome_free(&o);
}

/* Its statistics are to be in "stats". */
static struct child start_filled(const struct snapshot_place *p, const char *mmu)
{
	struct child c;
	char words[300];

	snprintf(words, sizeof(words), "--stats %s/stats " MMU_AND_GUEST, p->control.directory, mmu, rounds());
	c = start_listening(p, "run", words, SPAWN_NULL);

	child_expect(&c, FILLED);
	return c;
}

/* It may have ended already. Returns how many pages were protected for its snapshots. */
static json_int_t end(const struct snapshot_place *p, struct child *c)
{
	char *path = snapshot_path(p, "stats");
	json_int_t pages;
	struct outcome o;
	json_t *stats;

	ask_quietly(&p->control, "quit");
	o = child_end(c);
	outcome_free(&o);
	stats = json_load_file(path, 0, NULL);
	pages = json_integer_value(json_object_get(json_object_get(stats, "saves"), "protected"));
	json_decref(stats);
	free(path);
	return pages;
}

START_TEST(test_full)
{
	struct random r = random_start("snapshot_behind");
	struct outcome whole = run_whole();
	struct snapshot_place p = make_snapshot_place();
	unsigned int saved = 0;

	for (unsigned int i = 0; i < effort(4, 2); i++) {
		struct child c = start_filled(&p, random_mode(&r));
		char name[20];

		snprintf(name, sizeof(name), "s%u", i);
		usleep((useconds_t)random_below(&r, 100000));
		if (!save_quietly(&p, "", name)) {
			end(&p, &c);
			continue;
		}
		ck_assert_int_gt(end(&p, &c), 0);
		assert_goes_on(&p, &whole, name, &r);
		saved++;
	}
	ck_assert_uint_gt(saved, 0);
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

/* Two at a time: each gets every page as it was at its own instant. */
START_TEST(test_two_at_a_time)
{
	struct random r = random_start("snapshot_behind");
	struct outcome whole = run_whole();
	struct snapshot_place p = make_snapshot_place();
	char *names[] = {snapshot_path(&p, "a"), snapshot_path(&p, "b")}, request[2][200];
	struct child c = start_filled(&p, random_mode(&r));
	int fd[2];

	for (int i = 0; i < 2; i++) {
		snprintf(request[i], sizeof(request[i]), "snapshot %s\n", names[i]);
		fd[i] = connect_to(&p.control);
		send_text(fd[i], request[i], strlen(request[i]));
	}
	for (int i = 0; i < 2; i++) {
		assert_ok(parse_answer(read_answer(fd[i])), request[i]);
		close(fd[i]);
		free(names[i]);
	}
	end(&p, &c);
	assert_goes_on(&p, &whole, "a", &r);
	assert_goes_on(&p, &whole, "b", &r);
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

#define SMALL_GUEST "@memory -- seed=3 rounds=30 pause=1"
#define REQUESTS 6 /* more than can protect pages at a time: the others have the guest stand still */

/* Of a guest whose pages are absent, all at once. */
START_TEST(test_many_of_a_lazy_guest)
{
	struct outcome whole = spawn_line("run " SMALL_GUEST, "");
	struct random r = random_start("snapshot_behind");
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_listening(&p, "run", SMALL_GUEST, SPAWN_NULL);
	int fd[REQUESTS];

	child_expect(&c, "pages filled");
	save(&p, "s");
	end(&p, &c);
	c = start_restore(&p, "--ram lazy", "s");
	ask_ok(&p.control, "pause");
	for (int i = 0; i < REQUESTS; i++) {
		char request[200];

		snprintf(request, sizeof(request), "snapshot %s/%d\n", p.control.directory, i);
		fd[i] = connect_to(&p.control);
		send_text(fd[i], request, strlen(request));
	}
	for (int i = 0; i < REQUESTS; i++) {
		assert_ok(parse_answer(read_answer(fd[i])), "snapshot");
		close(fd[i]);
	}
	end(&p, &c);
	for (int i = 0; i < REQUESTS; i++) {
		char name[20];

		snprintf(name, sizeof(name), "%d", i);
		assert_goes_on(&p, &whole, name, &r);
	}
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const all[] = {test_full, test_two_at_a_time, test_many_of_a_lazy_guest};

	return RUN_TESTS("snapshot_behind", all);
}
