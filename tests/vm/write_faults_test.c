/*
 * Every call with which a snapshot is written fails, one after the other, for once or for a while: the guest goes on, it is
 * said in one line, nothing is left behind, and what was written since is in the next checkpoint. And at every one of them the
 * program is killed: the last checkpoint is there and right.
 */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"
#include "tests/vm/write_faults.h"

#define GUEST "--mem 16M @memory -- seed=5 rounds=20 pause=1"
#define FOR_EVER 1000000u

static const char *program; /* whose writing fails */

static const int errors[] = {ENOSPC, EIO, EDQUOT, EROFS, EACCES, EMFILE};

static int random_error(struct random *r)
{
	return errors[random_below(r, sizeof(errors) / sizeof(*errors))];
}

static void set_faults(void *arg)
{
	const struct write_faults *f = arg;
	char text[100];

	snprintf(text, sizeof(text), "%u %u %d %u", f->first, f->count, f->error, f->kill);
	setenv(WRITE_FAULTS, text, 1);
}

static const char *describe(const struct write_faults *f)
{
	static char text[200];

	snprintf(text, sizeof(text), "%u calls from number %u on fail (%s), killed at %u", f->count, f->first,
		 strerror(f->error), f->kill);
	return text;
}

static const char *random_mode(struct random *r)
{
	return mmu_modes[random_below(r, MMU_MODES)];
}

/* The guest of the tests with checkpoints in "c", under these faults. */
static struct outcome run_faulty(const struct snapshot_place *p, struct write_faults f, struct random *r)
{
	char line[300];
	struct child c;

	snprintf(line, sizeof(line), "run --mmu %s --checkpoint %s/c --checkpoint-every %u " GUEST, random_mode(r),
		 p->control.directory, 1 + (unsigned int)random_below(r, 5));
	c = child_start(&(struct spawn){.line = line, .program = program, .prepare = set_faults, .arg = &f});
	return child_end(&c);
}

static unsigned int count_files(const char *command, const char *directory)
{
	char line[300], text[20] = "";
	FILE *f;

	snprintf(line, sizeof(line), command, directory);
	f = popen(line, "r");
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	pclose(f);
	return (unsigned int)atoi(text);
}

#define PARTIAL "ls %s | grep -c partial"

/* If there is one, it goes on to the end. */
static bool assert_restores(const struct snapshot_place *p, const struct outcome *whole, const struct outcome *before,
			    const struct write_faults *f, struct random *r)
{
	char *directory = snapshot_path(p, "c"), words[40];
	bool any = count_checkpoints(directory) != 0;
	struct outcome o;

	free(directory);
	if (!any)
		return false;
	snprintf(words, sizeof(words), "--mmu %s", random_mode(r));
	o = restore(p, words, "c");
	assert_went_on(whole, before, &o, describe(f));
	outcome_free(&o);
	return true;
}

static void clean(const struct snapshot_place *p)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf %s/*", p->control.directory);
	ck_assert_int_eq(system(command), 0);
}

static bool assert_one_complaint(const struct outcome *o, const struct write_faults *f)
{
	const char *text = o->err.data, *end = strchr(text, '\n');

	ck_assert_msg(!*text || (!strncmp(text, "penumbra: checkpoint: ", 22) && end && !end[1]), "%s: complained '%s'",
		      describe(f), text);
	return *text;
}

/* Returns whether something failed, and was said. */
static bool try_failure(const struct snapshot_place *p, const struct outcome *whole, struct write_faults f, struct random *r)
{
	struct outcome o = run_faulty(p, f, r);
	char *directory = snapshot_path(p, "c");
	bool said = assert_one_complaint(&o, &f);

	ck_assert_msg(o.status == 0 && !strcmp(o.out.data, whole->out.data), "%s: status %d, said '%s'", describe(&f),
		      o.status, o.out.data);
	ck_assert_msg(count_files(PARTIAL, directory) == 0, "%s: something is left behind", describe(&f));
	assert_restores(p, whole, &o, &f, r);
	free(directory);
	outcome_free(&o);
	clean(p);
	return said;
}

static struct outcome run_whole(void)
{
	struct outcome o = spawn_line("run " GUEST, "");

	ck_assert_int_eq(o.status, 0);
	return o;
}

/* Every one of the first calls, or with less effort some of them. */
static unsigned int next(unsigned int n, unsigned int most, unsigned int tries, struct random *r)
{
	return tries >= most ? n + 1 : n + 1 + (unsigned int)random_below(r, 2 * most / tries);
}

START_TEST(test_failures)
{
	static const unsigned int counts[] = {1, 1, 3, 40, FOR_EVER};
	struct random r = random_start("write_faults");
	unsigned int most = 80, tries = 0, said = 0;
	struct snapshot_place p = make_snapshot_place();
	struct outcome whole = run_whole();

	for (unsigned int n = 1; n < most; n = next(n, most, effort(16, 4), &r), tries++)
		said += try_failure(&p, &whole, (struct write_faults){.first = n, .count = counts[random_below(&r, 5)],
									.error = random_error(&r)}, &r);
	printf("write_faults: %u of %u failures were met\n", said, tries);
	ck_assert_uint_gt(said, 0);
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

/* Killed at a call, and sometimes a while after another one failed. Returns whether there was a checkpoint. */
static bool try_kill(const struct snapshot_place *p, const struct outcome *whole, unsigned int kill, struct random *r)
{
	/* Also while a failure is being dealt with. */
	unsigned int before = (unsigned int)random_below(r, random_below(r, 2) ? 60 : 6);
	struct write_faults f = {.kill = kill, .first = before < kill ? kill - before : 0, .count = 1, .error = random_error(r)};
	struct outcome o = run_faulty(p, f, r);
	bool restored;

	ck_assert_msg(o.status == SPAWN_SIGNAL + SIGKILL || o.status == 0, "%s: status %d", describe(&f), o.status);
	assert_one_complaint(&o, &f);
	restored = assert_restores(p, whole, &o, &f, r);
	outcome_free(&o);
	clean(p);
	return restored;
}

START_TEST(test_kills)
{
	struct random r = random_start("write_faults");
	unsigned int most = 300, tries = 0, restored = 0;
	struct snapshot_place p = make_snapshot_place();
	struct outcome whole = run_whole();

	for (unsigned int n = 1; n <= most; n = next(n, most, effort(10, 3) * 3, &r), tries++)
		restored += try_kill(&p, &whole, n, &r);
	printf("write_faults: killed at %u calls, %u restored\n", tries, restored);
	ck_assert_uint_gt(restored, 0);
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

static struct child start_faulty_shell(const struct snapshot_place *p, struct write_faults *f, struct random *r)
{
	char line[300];
	struct child c;
	int fd;

	snprintf(line, sizeof(line), "run --mmu %s --control %s --mem 4M @shell", random_mode(r), p->control.path);
	c = child_start(&(struct spawn){.line = line, .program = program, .prepare = set_faults, .arg = f});
	child_expect(&c, "> ");
	while ((fd = try_connect(p->control.path)) < 0)
		usleep(2000);
	close(fd);
	return c;
}

/* Saves; what is refused leaves nothing behind, and can be asked for again. Returns whether it was refused the first time. */
static bool save_at_last(const struct snapshot_place *p, const char *options, const char *name, const struct write_faults *f)
{
	char request[200], *path = snapshot_path(p, name);
	struct outcome o;
	bool refused;

	snprintf(request, sizeof(request), "snapshot %s%s", options, path);
	o = ctl(p->control.path, request);
	refused = o.status != 0;
	if (refused) {
		assert_complaint(&o, 125, path, strerror(f->error), describe(f));
		ck_assert_msg(!is_there(path) && count_files(PARTIAL, p->control.directory) == 0, "%s: something is left behind",
			      describe(f));
		ck_assert_msg(save_quietly(p, options, name), "%s: not the next time either", describe(f));
	}
	outcome_free(&o);
	free(path);
	return refused;
}

/*
 * Two snapshots, between which the guest goes on, with one failure. Returns whether it was met; then the second is good all the
 * same.
 */
static bool try_requests(const struct snapshot_place *p, const char *options, unsigned int n, struct random *r)
{
	struct write_faults f = {.first = n, .count = 1, .error = random_error(r)};
	struct child c = start_faulty_shell(p, &f, r);
	bool refused = save_at_last(p, options, "s", &f);
	struct outcome o;

	child_send(&c, "hello you\n", 10);
	child_expect(&c, "world you\n> ");
	refused |= save_at_last(p, options, "t", &f);
	child_send(&c, "exit 7\n", 7);
	o = child_end(&c);
	ck_assert_msg(o.status == 7 && !o.err.size, "%s: status %d, '%s'", describe(&f), o.status, o.err.data);
	outcome_free(&o);
	o = restore_with(p, "", "t", "hello again\nexit 4\n");
	assert_outcome(&o, 4, "hello again\nhello, world again\n> exit 4\n", describe(&f));
	outcome_free(&o);
	clean(p);
	return refused;
}

static const char *const requests[] = {"", "--compress ", "--incremental "};

#define REQUESTS (sizeof(requests) / sizeof(*requests))

/* Every call fails, until there is none that could, or with less effort some of them. */
START_TEST(test_requests)
{
	struct random r = random_start("write_faults");
	struct snapshot_place p = make_snapshot_place();
	unsigned int n = 1, failed = 0;

	for (; try_requests(&p, requests[_i], n, &r); failed++)
		n += 1 + (unsigned int)random_below(&r, is_long() ? 1 : in_lab() ? 12 : 6);
	printf("write_faults: snapshot %s: %u of %u calls failed\n", requests[_i], failed, n - 1);
	ck_assert_uint_gt(failed, 0);
	leave_snapshot_place(&p);
}
END_TEST

/* The argument is the program whose writing fails. */
int main(int argc, char **argv)
{
	TCase *tcase = tcase_create("write_faults");

	if (argc < 2)
		return 2;
	program = argv[1];
	tcase_add_test(tcase, test_failures);
	tcase_add_test(tcase, test_kills);
	tcase_add_loop_test(tcase, test_requests, 0, REQUESTS);
	tcase_set_timeout(tcase, 0);
	return run_case("write_faults", tcase);
}
