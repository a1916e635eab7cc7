/*
 * `snapshot --incremental`: parts of a chain, between which the guest writes, fails to be saved, and changes its MMU mode. Each part
 * is the guest at its moment; what does not fit the chain is refused and leaves it as it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define GUEST "@memory -- seed=4 hot=40 pause=1 rounds=80"
#define PARTS 6u

/* It stands still but for go_on(): however long saving takes, it does not end meanwhile. */
static struct child start(const struct snapshot_place *p)
{
	struct child c = start_listening(p, "run", GUEST, SPAWN_NULL);

	child_expect(&c, "pages filled");
	ask_ok(&p->control, "pause");
	return c;
}

static void go_on(const struct snapshot_place *p, unsigned int us)
{
	ask_ok(&p->control, "resume");
	usleep(us);
	ask_ok(&p->control, "pause");
}

static void assert_part_goes_on(const struct snapshot_place *p, const struct outcome *whole, const char *name, const char *words)
{
	struct outcome o = restore(p, words, name);

	ck_assert_msg(o.status == 0 && !o.err.size, "%s: status %d, '%s'", name, o.status, o.err.data);
	ck_assert_msg(o.out.size <= whole->out.size && !strcmp(whole->out.data + whole->out.size - o.out.size, o.out.data), "%s: '%s'",
		      name, o.out.data);
	outcome_free(&o);
}

static void refuse(const struct snapshot_place *p, const char *name, const char *part)
{
	char request[200];

	snprintf(request, sizeof(request), "snapshot --incremental %s/%s", p->control.directory, name);
	assert_ctl_refused(p->control.path, request, part, NULL);
}

static off_t memory_bytes(const struct snapshot_place *p, const char *name)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/memory", p->control.directory, name);
	ck_assert_msg(stat(path, &st) == 0, "%s", path);
	return st.st_blocks * 512;
}

START_TEST(test_parts)
{
	struct random r = random_start("snapshot_increments");
	struct outcome whole = spawn_line("run " GUEST, "");
	struct snapshot_place p = make_snapshot_place();
	struct child c = start(&p);
	char name[20];

	for (unsigned int i = 0; i < PARTS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		ck_assert(save_quietly(&p, i && random_below(&r, 2) ? "--incremental --compress " : "--incremental ", name));
		ask_ok(&p.control, random_below(&r, 2) ? "mmu shadow" : "mmu ept");
		go_on(&p, (unsigned int)random_below(&r, 30000));
	}
	quit(&p.control, &c, "parts");
	for (unsigned int i = 0; i < PARTS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		assert_part_goes_on(&p, &whole, name, random_below(&r, 2) ? "--ram lazy" : "--mmu shadow");
		ck_assert(i == 0 || memory_bytes(&p, name) < memory_bytes(&p, "p0"));
	}
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

/* What cannot be written is in the next part. */
START_TEST(test_refused)
{
	struct outcome whole = spawn_line("run " GUEST, "");
	struct snapshot_place p = make_snapshot_place();
	char *elsewhere = snapshot_path(&p, "sub");
	struct child c = start(&p);

	ck_assert_int_eq(mkdir(elsewhere, 0700), 0);
	ck_assert(save_quietly(&p, "--incremental ", "a"));
	refuse(&p, "a", "already");
	refuse(&p, "sub/b", "not beside a");
	refuse(&p, "none/b", "No such file");
	go_on(&p, 20000);
	ck_assert(save_quietly(&p, "", "whole"));
	ck_assert(save_quietly(&p, "--incremental ", "b"));
	quit(&p.control, &c, "refused");
	assert_part_goes_on(&p, &whole, "whole", "");
	assert_part_goes_on(&p, &whole, "b", "");
	outcome_free(&whole);
	free(elsewhere);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const all[] = {test_parts, test_refused};

	return RUN_TESTS("snapshot_increments", all);
}
