/*
 * Snapshots that are not what was saved: damaged ones, which no way of bringing a guest back takes, and states made to do harm.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/unit/snapshot_mend.h"
#include "tests/vm/effort.h"
#include "tests/vm/round_trip.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

/* A file of a snapshot, in memory. */
static uint8_t *read_file(const struct snapshot_place *p, const char *name, size_t *size)
{
	char *path = snapshot_path(p, name);
	uint8_t *bytes;
	struct stat st;
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(fstat(fd, &st), 0);
	*size = (size_t)st.st_size;
	bytes = malloc(*size + 1);
	ck_assert_int_eq(read(fd, bytes, *size), st.st_size);
	close(fd);
	free(path);
	return bytes;
}

static void write_file(const struct snapshot_place *p, const char *name, const uint8_t *bytes, size_t size)
{
	char *path = snapshot_path(p, name);
	int fd = open(path, O_WRONLY | O_TRUNC);

	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
	free(path);
}

static void save_shell(const struct snapshot_place *p, const char *name)
{
	struct child c = start_shell(p, "--mem 4M");

	save(p, name);
	quit(&p->control, &c, "shell");
}

static void assert_found(const char *command, const char *path, const char *file)
{
	char line[200];
	struct outcome o;

	snprintf(line, sizeof(line), "%s %s", command, path);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, file, NULL, line);
	ck_assert_msg(!o.out.size, "%s: a guest said '%s'", line, o.out.data);
	outcome_free(&o);
}

/* No guest runs from a directory that was damaged, by whatever way it is brought back; `inspect` says the same. */
START_TEST(test_damaged)
{
	static const char *const files[] = {"s/state", "s/memory", "s/image"};
	struct random r = random_start("snapshot_cases");
	struct snapshot_place p = make_snapshot_place();

	save_shell(&p, "s");
	for (unsigned int i = 0; i < effort(30, 10); i++) {
		const char *file = files[i % 3];
		char *path = snapshot_path(&p, "s");
		size_t size;
		uint8_t *bytes = read_file(&p, file, &size);
		uint64_t bit = random_below(&r, 8 * size);

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		write_file(&p, file, bytes, size);
		assert_found(trip_restore_words(&r), path, strrchr(file, '/'));
		assert_found("inspect", path, strrchr(file, '/'));
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		write_file(&p, file, bytes, size);
		free(bytes);
		free(path);
	}
	leave_snapshot_place(&p);
}
END_TEST

/*
 * Right checksums around a state that nobody has saved: in the CPU, the devices, the console. Whatever becomes of that guest, the
 * program does not crash, and does not hang.
 */
START_TEST(test_hostile_state)
{
	struct random r = random_start("snapshot_cases");
	struct snapshot_place p = make_snapshot_place();
	uint8_t *bytes, *changed;
	size_t size;

	signal(SIGPIPE, SIG_IGN); /* who refuses a state reads no input */
	save_shell(&p, "s");
	bytes = read_file(&p, "s/state", &size);
	changed = malloc(size);
	for (unsigned int i = 0; i < effort(60, 10); i++) {
		struct outcome o;

		memcpy(changed, bytes, size);
		for (unsigned int n = 1 + (unsigned int)random_below(&r, 6); n; n--)
			changed[MEND_HEADER + random_below(&r, size - MEND_HEADER)] = (uint8_t)random_next(&r);
		mend(changed, size);
		write_file(&p, "s/state", changed, size);
		o = restore_with(&p, i % 2 ? "--mmu shadow --timeout 1" : "--mmu ept --timeout 1", "s", "exit 9\n");
		ck_assert_msg(o.status < SPAWN_SIGNAL, "case %u: signal %d", i, o.status - SPAWN_SIGNAL);
		outcome_free(&o);
	}
	free(bytes);
	free(changed);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_damaged, test_hostile_state};

	return RUN_TESTS("snapshot_damage", tests);
}
