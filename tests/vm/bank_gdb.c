/*
 * The walk of docs/debugging.md: a bug that shows in every second run is recorded, is then there in every replay, and gdb itself, driven by
 * docs/bank.gdb, goes back from what went wrong to why. Without gdb (the lab) there is nothing to test; travel.c has a client of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define GDB "/usr/bin/gdb"
#define SKIPPED 77
#define TRIES 60
#define DEPOSITS 4	   /* of each teller, and one more with each try: a quick host loses nothing in few */
#define DEPOSITS_OF_ALL 11 /* 1 and 10 */
#define REPLAYS 5
#define WALKS 2
#define SOCKET_TRIES 6000 /* of 10 ms */

/* The number of the try in which something was lost, and what the guest said then. */
static int record(const struct snapshot_place *p, struct outcome *lost)
{
	char line[300];

	for (int i = 0; i < TRIES; i++) {
		snprintf(line, sizeof(line), "run --mmu %s --record %s/%d @bank -- %d", mmu_is_shadow() ? "shadow" : "ept", p->control.directory, i,
			 DEPOSITS + i);
		*lost = spawn_line(line, "");
		if (lost->status)
			return i;
		ck_assert_msg(!lost->status && strstr(lost->out.data, ", as it should\n"), "%s", lost->out.data);
		outcome_free(lost);
	}
	ck_abort_msg("nothing was lost in %d runs", TRIES);
}

static void check_symptom(const struct outcome *lost)
{
	unsigned long holds, paid;

	ck_assert_int_eq(lost->status, 1);
	ck_assert_msg(sscanf(lost->out.data, "bank: the vault holds %lu, but %lu were paid in", &holds, &paid) == 2, "%s", lost->out.data);
	ck_assert_uint_eq(paid % DEPOSITS_OF_ALL, 0);
	ck_assert_uint_ne(holds, paid);
}

static void write_target(const char *path, const char *socket)
{
	FILE *f = fopen(path, "w");

	ck_assert(f != NULL);
	fprintf(f, "target remote %s\n", socket);
	ck_assert(fclose(f) == 0);
}

static struct child start_replay(const char *socket, const struct snapshot_place *p, int recording)
{
	char line[300];
	struct child c;

	snprintf(line, sizeof(line), "replay --gdb unix:%s %s/%d", socket, p->control.directory, recording);
	c = child_start(&(struct spawn){.line = line});
	for (int i = 0; i < SOCKET_TRIES && access(socket, F_OK) < 0; i++)
		child_linger(&c, 10);
	return c;
}

/* What gdb said on its way back through a replay, which ends with it. */
static struct outcome walk_back(const struct snapshot_place *p, int recording)
{
	char *socket = snapshot_path(p, "gdb"), *target = snapshot_path(p, "target"), line[1000];
	struct child replay = start_replay(socket, p, recording);
	struct outcome gdb, guest;

	write_target(target, socket);
	snprintf(line, sizeof(line), "-nx -batch -x %s -x %s @bank", target, BANK_GDB);
	gdb = spawn(&(struct spawn){.line = line, .program = GDB}, "", 0);
	guest = child_end(&replay);
	ck_assert_msg(gdb.status == 0, "gdb: status %d, '%s', '%s'", gdb.status, gdb.out.data, gdb.err.data);
	ck_assert_msg(guest.status == 130 && strstr(guest.err.data, "killed by the debugger"), "status %d, %s", guest.status, guest.err.data);
	outcome_free(&guest);
	free(target);
	free(socket);
	return gdb;
}

/* Where gdb has said that. */
static const char *find(const struct outcome *gdb, const char *text)
{
	const char *at = strstr(gdb->out.data, text);

	ck_assert_msg(at != NULL, "gdb has not said '%s', but:\n%s\n%s", text, gdb->out.data, gdb->err.data);
	return at;
}

/* Both ends of the race, by values that gdb has taken from the guest at two moments. */
static void check_cause(const struct outcome *gdb)
{
	const char *loss = find(gdb, "* A lost update"), *cause = find(gdb, "* The cause"), *frame = strstr(loss, "#0 ");
	unsigned long holds, had_read, makes, amount, reads, writes, others;

	ck_assert(sscanf(loss, "* A lost update: the vault holds %lu, but this teller has read %lu, and makes it %lu", &holds, &had_read, &makes) == 3);
	ck_assert(sscanf(cause, "* The cause: here it reads %lu; when it writes %lu, the others have made it %lu", &reads, &writes, &others) == 3);
	ck_assert(frame != NULL && frame < cause && strstr(frame, " in deposit (vault=0x8000200000, amount="));
	ck_assert(sscanf(strstr(frame, "amount="), "amount=%lu", &amount) == 1);
	ck_assert_uint_ne(holds, had_read);
	ck_assert_uint_eq(makes, had_read + amount);
	ck_assert_uint_eq(reads, had_read);
	ck_assert_uint_eq(writes, makes);
	ck_assert_uint_eq(others, holds);
	ck_assert(find(gdb, "Behind its back: ") > loss && strstr(cause, "#0  deposit (vault=0x8000200000, "));
}

START_TEST(test_walk)
{
	struct snapshot_place p = make_snapshot_place();
	struct outcome lost, walks[WALKS];
	int recording = record(&p, &lost);
	char line[300];

	check_symptom(&lost);
	snprintf(line, sizeof(line), "replay %s/%d", p.control.directory, recording);
	for (int i = 0; i < REPLAYS; i++) {
		struct outcome again = spawn_line(line, NULL);

		assert_outcome(&again, 1, lost.out.data, "a replay of what went wrong");
		outcome_free(&again);
	}
	for (int i = 0; i < WALKS; i++) {
		walks[i] = walk_back(&p, recording);
		check_cause(&walks[i]);
		ck_assert_str_eq(walks[i].out.data, walks[0].out.data);
	}
	for (int i = 0; i < WALKS; i++)
		outcome_free(&walks[i]);
	outcome_free(&lost);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	if (access(GDB, X_OK) < 0) {
		printf("bank_gdb: no gdb here\n");
		return SKIPPED;
	}
	return RUN_TESTS("bank_gdb", ((const TTest *const[]){test_walk}));
}
