/*
 * Virtio devices under a guest of ours: what it writes is in the file, what is in the file it reads, in either MMU mode; and
 * nothing that its driver does wrong, or that becomes of the file, ends anything but a request. What was acknowledged
 * survives the death of the program at any moment.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define SECTORS 300u
#define BYTES (SECTORS * 512u)

struct file {
	char path[40];
	int fd;
};

static struct file make_file(off_t size)
{
	struct file f = {.path = "/tmp/penumbra-disk.XXXXXX"};

	f.fd = mkstemp(f.path);
	ck_assert_int_ge(f.fd, 0);
	ck_assert_int_eq(ftruncate(f.fd, size), 0);
	return f;
}

static void end_file(struct file *f)
{
	unlink(f->path);
	close(f->fd);
}

/* Runs a line with the file's path in place of its %s. */
static struct outcome run_on(const struct file *f, const char *format, const char *input)
{
	char line[300];

	snprintf(line, sizeof(line), format, f->path, f->path);
	return spawn_line(line, input);
}

static void expect_run(const struct file *f, const char *format, const char *input, int status, const char *out)
{
	struct outcome o = run_on(f, format, input);

	assert_outcome(&o, status, out, format);
	outcome_free(&o);
}

START_TEST(test_data)
{
	struct file f = make_file(BYTES), other = make_file(BYTES);
	static uint8_t a[BYTES], b[BYTES];

	expect_run(&f, "run --disk %s @disk -- fill 5", "", 0, "filled 300 sectors\n");
	expect_run(&f, "run --disk %s @disk -- check 5", "", 0, "300 sectors are right\n");
	expect_run(&f, "run --disk %s,ro --disk %s,ro @disk -- check 5", "", 0, "300 sectors are right\n");
	{
		struct outcome o = run_on(&f, "run --count 3 --disk %s,ro @disk -- check 5", "");

		ck_assert_int_eq(o.status, 0);
		ck_assert_msg(strstr(o.out.data, "2: 300 sectors are right\n"), "said '%s'", o.out.data);
		outcome_free(&o);
	}
	expect_run(&other, "run --disk %s @disk -- fill 5", "", 0, "filled 300 sectors\n");
	ck_assert_int_eq((int)pread(f.fd, a, BYTES, 0), BYTES);
	ck_assert_int_eq((int)pread(other.fd, b, BYTES, 0), BYTES);
	ck_assert_mem_eq(a, b, BYTES);
	a[12345] ^= 1;
	ck_assert_int_eq((int)pwrite(f.fd, a, BYTES, 0), BYTES);
	expect_run(&other, "run --disk %s @disk -- check 6", "", 1, "wrong near sector 0, status 0\n");
	{
		struct outcome o = run_on(&f, "run --disk %s @disk -- check 5", "");

		ck_assert_int_eq(o.status, 1);
		ck_assert_msg(!strncmp(o.out.data, "wrong near sector ", 18), "said '%s'", o.out.data);
		outcome_free(&o);
	}
	end_file(&f);
	end_file(&other);
}
END_TEST

/* The pages of a file that cannot change, in place of the guest's; and one that could is refused. */
START_TEST(test_remapped)
{
	struct file f = make_file(BYTES);
	static uint8_t bytes[BYTES];
	int fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char line[200];
	struct outcome o;

	expect_run(&f, "run --disk %s @disk -- fill 9", "", 0, "filled 300 sectors\n");
	ck_assert_int_eq((int)pread(f.fd, bytes, BYTES, 0), BYTES);
	ck_assert_int_eq((int)pwrite(fd, bytes, BYTES, 0), BYTES);
	snprintf(line, sizeof(line), "run --disk /proc/%d/fd/%d,remap @disk -- check 9", (int)getpid(), fd);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, "only a file that cannot change can be remapped", NULL, line);
	outcome_free(&o);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
	o = spawn_line(line, "");
	assert_outcome(&o, 0, "300 sectors are right\n", line);
	outcome_free(&o);
	snprintf(line, sizeof(line), "run --stats - --disk /proc/%d/fd/%d,remap @disk -- measure 4096 100 10", (int)getpid(), fd);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 0);
	ck_assert_msg(strstr(o.err.data, "\"remapped_bytes\": 409600,"), "said '%s'", o.err.data);
	outcome_free(&o);
	close(fd);
	end_file(&f);
}
END_TEST

START_TEST(test_hostile)
{
	struct file f = make_file(BYTES);

	expect_run(&f, "run --disk %s @disk -- hostile", "", 0, "disk: 28 hostile cases, 0 bad\n");
	expect_run(&f, "run --disk %s,ro @disk -- hostile", "", 0, "disk: 28 hostile cases, 0 bad\n");
	end_file(&f);
}
END_TEST

START_TEST(test_read_only)
{
	struct file f = make_file(BYTES);

	expect_run(&f, "run --disk %s @disk -- try-write", "", 0, "write: status 0\n");
	expect_run(&f, "run --disk %s,ro @disk -- try-write", "", 1, "write: status 1, a read-only disk\n");
	end_file(&f);
}
END_TEST

START_TEST(test_other_devices)
{
	struct file f = make_file(BYTES);

	expect_run(&f, "run --virtio-console --disk %s,ro --disk %s,ro @disk -- list", "", 0,
		   "disk 0: slot 0, 300 sectors, read-only\ndisk 1: slot 1, 300 sectors, read-only\n"
		   "entropy: slot 4\nconsole: slot 5\nballoon: slot 6\n");
	expect_run(&f, "run --disk %s @disk -- list", "", 0, "disk 0: slot 0, 300 sectors\nentropy: slot 4\nballoon: slot 6\n");
	expect_run(&f, "run --disk %s @disk -- entropy", "", 0, "entropy: 32 and 32 bytes\n");
	expect_run(&f, "run --virtio-console --disk %s @disk -- console", "one line\nand another\n", 0,
		   "one line\nand another\n");
	end_file(&f);
}
END_TEST

/* The file gets shorter while the guest uses it: errors where nothing is any more, and no other harm. */
START_TEST(test_shrinks)
{
	struct file f = make_file(BYTES);
	char line[200];
	struct child c;
	struct outcome o;

	snprintf(line, sizeof(line), "run --timeout 60 --disk %s @disk -- journal", f.path);
	c = child_start(&(struct spawn){.line = line});
	child_expect(&c, "\n20\n");
	ck_assert_int_eq(ftruncate(f.fd, 700), 0);
	child_expect(&c, "\n320\n"); /* writing makes it long again */
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	ck_assert_int_eq(ftruncate(f.fd, 700), 0);
	o = run_on(&f, "run --disk %s @disk -- fill 3", ""); /* now a disk of one sector */
	assert_outcome(&o, 0, "filled 1 sectors\n", "short file");
	outcome_free(&o);
	end_file(&f);
}
END_TEST

static void expect_refused(const char *line, const char *part)
{
	struct outcome o = spawn_line(line, "");

	assert_complaint(&o, 125, part, NULL, line);
	outcome_free(&o);
}

START_TEST(test_refused)
{
	struct file f = make_file(BYTES);
	char line[400];

	expect_refused("run --disk /no/such/disk @disk -- list", "/no/such/disk: No such file");
	expect_refused("run --disk /dev/null @disk -- list", "/dev/null: a disk must be a regular file");
	expect_refused("run --disk ,ro @disk -- list", "give the name of a file");
	snprintf(line, sizeof(line), "run --count 2 --disk %s @disk -- list", f.path);
	expect_refused(line, "add ,ro");
	snprintf(line, sizeof(line), "run --disk %s --disk %s @disk -- list", f.path, f.path);
	expect_refused(line, "another VM uses this disk");
	snprintf(line, sizeof(line), "run --disk %s,ro --disk %s,ro --disk %s,ro --disk %s,ro --disk %s,ro @disk -- list", f.path,
		 f.path, f.path, f.path, f.path);
	expect_refused(line, "at most 4");
	ck_assert_int_eq(ftruncate(f.fd, 100), 0);
	snprintf(line, sizeof(line), "run --disk %s @disk -- list", f.path);
	expect_refused(line, "at least 512 bytes");
	end_file(&f);
}
END_TEST

/* The number of the last whole line, of those that the guest prints when a sector is on the disk; 0 = none. */
static unsigned long last_acknowledged(const char *said)
{
	const char *end = strrchr(said, '\n'), *start = end;

	if (!end)
		return 0;
	while (start > said && start[-1] != '\n')
		start--;
	return strtoul(start, NULL, 10);
}

static void expect_journal(const struct file *f, unsigned long last)
{
	unsigned long first = last > SECTORS - 2 ? last - (SECTORS - 2) : 1;

	/* One more may have been written without having been acknowledged: it overwrites the oldest. */
	for (unsigned long i = first; i <= last; i++) {
		uint64_t number;

		ck_assert_int_eq((int)pread(f->fd, &number, 8, (off_t)(i % SECTORS) * 512), 8);
		ck_assert_msg(number == i, "sector %lu: %lu is lost, %lu is there", i % SECTORS, i, (unsigned long)number);
	}
}

/* Killed at a random moment: every number that was printed is on the disk. */
START_TEST(test_killed)
{
	struct random r = random_start("virtio kill");
	unsigned int kills = effort(10, 3);

	for (unsigned int i = 0; i < kills; i++) {
		struct file f = make_file(BYTES);
		char line[200];
		struct child c;
		struct outcome o;
		unsigned long last;

		snprintf(line, sizeof(line), "run --disk %s @disk -- journal", f.path);
		c = child_start(&(struct spawn){.line = line});
		child_expect(&c, "1\n");
		child_linger(&c, (unsigned int)random_below(&r, 300));
		kill(c.pid, SIGKILL);
		o = child_end(&c);
		ck_assert_int_eq(o.status, SPAWN_SIGNAL + SIGKILL);
		last = last_acknowledged(o.out.data);
		ck_assert_uint_ge(last, 1);
		expect_journal(&f, last);
		outcome_free(&o);
		end_file(&f);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_data, test_remapped, test_hostile, test_read_only, test_other_devices, test_shrinks, test_refused,
				      test_killed};

	return RUN_TESTS("virtio", tests);
}
