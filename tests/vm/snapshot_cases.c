/*
 * What may go wrong with snapshots, and what users do with them: directories that cannot be made, disks, clocks, old versions,
 * and a guest that goes on.
 */
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

/* What was saved goes on as often as one likes; what goes on here knows nothing of it. */
START_TEST(test_goes_on)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_shell(&p, "");
	struct outcome o;

	save(&p, "first");
	child_send(&c, "hello 1\n", 8);
	child_expect(&c, "hello, world 1\n> ");
	save(&p, "second");
	child_send(&c, "exit 3\n", 7);
	o = child_end(&c);
	ck_assert_msg(o.status == 3 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
	outcome_free(&o);
	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[40];

		snprintf(words, sizeof(words), "--mmu %s", mmu_modes[i]);
		o = restore_with(&p, words, "first", "hello again\nexit 4\n");
		assert_outcome(&o, 4, "hello again\nhello, world again\n> exit 4\n", words);
		outcome_free(&o);
		o = restore_with(&p, words, "second", "exit 5\n");
		assert_outcome(&o, 5, "exit 5\n", words);
		outcome_free(&o);
	}
	leave_snapshot_place(&p);
}
END_TEST

/* Input that came before the guest had room for it is saved with it. */
START_TEST(test_input_on_its_way)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_shell(&p, "");
	struct outcome o;

	ask_ok(&p.control, "pause");
	child_send(&c, "hello you\nexit 6\n", 17);
	child_linger(&c, 300);
	save(&p, "s");
	ask_ok(&p.control, "resume");
	o = child_end(&c);
	ck_assert_int_eq(o.status, 6);
	outcome_free(&o);
	o = restore(&p, "", "s");
	assert_outcome(&o, 6, "hello you\nhello, world you\n> exit 6\n", "input on its way");
	outcome_free(&o);
	leave_snapshot_place(&p);
}
END_TEST

static void assert_not_saved(const struct snapshot_place *p, const char *name, const char *part)
{
	char *path = snapshot_path(p, name), request[200];

	snprintf(request, sizeof(request), "snapshot %s", path);
	assert_ctl_refused(p->control.path, request, part, path);
	free(path);
}

static unsigned int count_partial(const struct snapshot_place *p)
{
	char command[200], text[20] = "";
	FILE *f;

	snprintf(command, sizeof(command), "ls %s | grep -c partial", p->control.directory);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	pclose(f);
	return (unsigned int)atoi(text);
}

/* A guest whose snapshot fails notices nothing, and nothing is left of it. */
START_TEST(test_not_saved)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_shell(&p, "");
	char *file = snapshot_path(&p, "file");
	struct outcome o;

	close(open(file, O_CREAT | O_WRONLY, 0600));
	save(&p, "s");
	assert_not_saved(&p, "s", "already");
	assert_not_saved(&p, "file", "already");
	assert_not_saved(&p, "file/below", "Not a directory");
	assert_not_saved(&p, "absent/below", "No such file");
	assert_error(ask(&p.control, "snapshot relative"), "snapshot: relative: not a whole path, from / on", "relative");
	assert_error(ask(&p.control, "snapshot"), CONTROL_UNKNOWN, "no directory");
	ck_assert_uint_eq(count_partial(&p), 0);
	child_send(&c, "exit 7\n", 7);
	o = child_end(&c);
	ck_assert_msg(o.status == 7 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
	outcome_free(&o);
	free(file);
	leave_snapshot_place(&p);
}
END_TEST

START_TEST(test_several_guests)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_run(&p.control, "--count 2 @clock -- 100000");

	assert_error(ask(&p.control, "snapshot /tmp/x"), "this request is not for several guests (--count)", "two guests");
	ask_ok(&p.control, "quit");
	end_child(&c, 130);
	leave_snapshot_place(&p);
}
END_TEST

/* A file system that is full: a file that may not grow beyond a limit is as good. */
static void limit_files(void *arg)
{
	const char *kib = arg;
	struct rlimit limit = {.rlim_cur = (rlim_t)atoi(kib) << 10, .rlim_max = RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(99);
}

START_TEST(test_no_room)
{
	static const char *const limits[] = {"0", "4", "100", "1000"};
	struct snapshot_place p = make_snapshot_place();

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		char line[200];
		struct child c;
		struct outcome o;
		int fd;

		snprintf(line, sizeof(line), "run --control %s @shell", p.control.path);
		c = child_start(&(struct spawn){.line = line, .prepare = limit_files, .arg = (void *)(uintptr_t)limits[i]});
		child_expect(&c, "> ");
		while ((fd = try_connect(p.control.path)) < 0)
			usleep(2000);
		close(fd);
		assert_not_saved(&p, "s", "File too large");
		ck_assert_uint_eq(count_partial(&p), 0);
		child_send(&c, "exit 8\n", 7);
		o = child_end(&c);
		ck_assert_msg(o.status == 8 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
		outcome_free(&o);
	}
	leave_snapshot_place(&p);
}
END_TEST

static char *make_disk(const struct snapshot_place *p, const char *name, off_t size)
{
	char *path = snapshot_path(p, name);
	int fd = open(path, O_CREAT | O_RDWR, 0600);

	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

/* A guest with a disk, saved while it waits between its requests. */
START_TEST(test_disk)
{
	struct snapshot_place p = make_snapshot_place();
	char *disk = make_disk(&p, "disk", 1 << 20), *other = make_disk(&p, "other", 1 << 19), words[200];
	struct outcome o;
	struct child c;

	snprintf(words, sizeof(words), "--disk %s", disk);
	c = start_shell(&p, words);
	save(&p, "s");
	assert_not_restored(&p, "", "s", "another VM uses");
	quit(&p.control, &c, "disk");
	snprintf(words, sizeof(words), "--disk %s", other);
	assert_not_restored(&p, words, "s", "another size");
	snprintf(words, sizeof(words), "--disk %s,ro", disk);
	assert_not_restored(&p, words, "s", "read-only");
	snprintf(words, sizeof(words), "--stats %s", disk);
	assert_not_restored(&p, words, "s", "would overwrite it");
	snprintf(words, sizeof(words), "--disk %s --disk %s", disk, other);
	assert_not_restored(&p, words, "s", "1 disks, and 2");
	ck_assert_int_eq(truncate(other, 1 << 20), 0);
	snprintf(words, sizeof(words), "--disk %s", other);
	o = restore_with(&p, words, "s", "exit 3\n");
	assert_outcome(&o, 3, "exit 3\n", words);
	outcome_free(&o);
	free(disk);
	free(other);
	leave_snapshot_place(&p);
}
END_TEST

/* The guest's own clock knows nothing of the time on disk. */
START_TEST(test_clock)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_shell(&p, "");
	unsigned long before = child_shell_ms(&c), after;
	uint64_t start = monotonic_ns();

	save(&p, "s");
	quit(&p.control, &c, "clock");
	sleep(2);
	start = monotonic_ns();
	c = start_restore(&p, "--clock-now", "s");
	after = child_shell_ms(&c);
	ck_assert_uint_ge(after, before);
	ck_assert_uint_le(after - before, (monotonic_ns() - start) / 1000000 + 1500);
	quit(&p.control, &c, "clock");
	leave_snapshot_place(&p);
}
END_TEST

static const char *golden[2]; /* directories: plain and compressed */

/* What the first version has written can be read for ever. */
START_TEST(test_golden)
{
	for (size_t i = 0; i < 2 * MMU_MODES; i++) {
		char line[300];
		struct outcome o;

		snprintf(line, sizeof(line), "restore --mmu %s %s", mmu_modes[i / 2], golden[i % 2]);
		o = spawn_line(line, "as it was\nexit 9\n");
		assert_outcome(&o, 9, "as it was\n", line);
		outcome_free(&o);
	}
}
END_TEST

START_TEST(test_bad_words)
{
	static const struct {
		const char *line, *part;
	} bad[] = {
		{"restore", "no directory"}, {"restore /nonexistent", "No such file"}, {"restore a b", "one snapshot"},
		{"restore /tmp", "not a snapshot"}, {"restore --mmu nonsense /tmp", "no such mode"},
		{"restore @hello", "`penumbra run` launches images"},
		{"restore --count 2 /tmp", "--count"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct outcome o = spawn_line(bad[i].line, "");

		assert_complaint(&o, 125, bad[i].part, NULL, bad[i].line);
		outcome_free(&o);
	}
}
END_TEST

/* The arguments are the files of the golden snapshots, three of each. */
int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		test_goes_on, test_input_on_its_way, test_not_saved, test_several_guests, test_no_room, test_disk,
		test_clock, test_golden, test_bad_words,
	};

	if (argc < 7)
		return 2;
	golden[0] = dirname(argv[1]);
	golden[1] = dirname(argv[4]);
	return RUN_TESTS("snapshot_cases", tests);
}
