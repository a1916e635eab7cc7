/*
 * An unmodified Linux kernel with an ext4 file system on a virtio disk: what it writes and syncs is in the host's file, which is
 * a whole file system afterwards; also when the program is killed in the middle. Needs what linux_guest.h says, and e2fsprogs.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/linux_guest.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

static const char *directory;

struct disk_file {
	char path[40];
};

/* Runs a command of the host with the file's path for %s; its exit status. */
static int host(const struct disk_file *f, const char *format)
{
	char line[200];
	int status;

	snprintf(line, sizeof(line), format, f->path, f->path);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct disk_file make_disk(void)
{
	struct disk_file f = {"/tmp/penumbra-ext4.XXXXXX"};
	int fd = mkstemp(f.path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 32 << 20), 0);
	close(fd);
	ck_assert_int_eq(host(&f, "/usr/sbin/mke2fs -q -F -t ext4 %s"), 0);
	return f;
}

static struct child boot(const struct disk_file *f)
{
	char line[600];
	struct child c;

	snprintf(line, sizeof(line), "run --disk %s --initrd %s/initrd %s/vmlinuz -- console=ttyS0 quiet", f->path, directory,
		 directory);
	c = child_start(&(struct spawn){.line = line, .limit_s = 300});
	child_expect(&c, LINUX_PROMPT);
	return c;
}

static void tell(struct child *c, const char *command, const char *answer)
{
	linux_type(c, command);
	child_expect(c, answer);
}

/* What `debugfs` finds in a file of the image. */
static void expect_content(const struct disk_file *f, const char *name, const char *content)
{
	char line[200], got[100] = "";
	FILE *out;

	snprintf(line, sizeof(line), "/usr/sbin/debugfs -R 'cat %s' %s 2>/dev/null", name, f->path);
	out = popen(line, "r");
	ck_assert_ptr_nonnull(out);
	ck_assert_ptr_nonnull(fgets(got, sizeof(got), out));
	pclose(out);
	ck_assert_msg(!strcmp(got, content), "%s holds '%s', not '%s'", name, got, content);
}

START_TEST(test_ext4)
{
	struct disk_file f = make_disk();
	struct child c = boot(&f);
	struct outcome o;

	tell(&c, "load-modules; ls /dev/vda", "/dev/vda");
	tell(&c, "mount -t ext4 /dev/vda /mnt && echo mounted", "mounted");
	tell(&c, "dd if=/dev/zero of=/mnt/zeros bs=64k count=64 2>/dev/null; mkdir /mnt/d; echo from the guest >/mnt/d/f; sync",
	     LINUX_PROMPT);
	tell(&c, "cat /sys/class/misc/hw_random/rng_current", "virtio_rng.0");
	tell(&c, "head -c 16 /dev/hwrng | wc -c", "16");
	tell(&c, "umount /mnt && echo unmounted", "unmounted");
	tell(&c, "grep virtio /proc/interrupts", "virtio0");
	linux_type(&c, "poweroff -f");
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, said '%s', complained '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	ck_assert_int_eq(host(&f, "/usr/sbin/e2fsck -fn %s >/dev/null 2>&1"), 0);
	expect_content(&f, "/d/f", "from the guest\n");
	unlink(f.path);
}
END_TEST

/* The last number that was acknowledged by a whole line of its own. */
static unsigned long last_acknowledged(const char *said)
{
	unsigned long last = 0, number;

	for (const char *at = said; (at = strstr(at, "\nack ")); at++)
		if (sscanf(at, "\nack %lu.", &number) == 1 && strchr(at + 1, '\n'))
			last = number;
	return last;
}

static void check_kill(struct random *r)
{
	struct disk_file f = make_disk();
	struct child c = boot(&f);
	char name[30], content[30];
	unsigned long last;
	struct outcome o;

	tell(&c, "load-modules; mount -t ext4 /dev/vda /mnt && echo mounted", "mounted");
	/* By then a whole line has been seen between two others: the first one may stand behind what the shell echoes. */
	tell(&c, "i=0; while i=$((i + 1)); do echo $i >/mnt/f$i; sync; echo ack $i.; done", "ack 3.");
	child_linger(&c, (unsigned int)random_below(r, 1500));
	kill(c.pid, SIGKILL);
	o = child_end(&c);
	last = last_acknowledged(o.out.data);
	ck_assert_uint_ge(last, 1);
	outcome_free(&o);
	/* 1: errors were corrected; mounting would have replayed the journal, too. */
	ck_assert_int_le(host(&f, "/usr/sbin/e2fsck -fp %s >/dev/null 2>&1"), 1);
	ck_assert_int_eq(host(&f, "/usr/sbin/e2fsck -fn %s >/dev/null 2>&1"), 0);
	for (unsigned long i = last > 3 ? last - 3 : 1; i <= last; i++) {
		snprintf(name, sizeof(name), "/f%lu", i);
		snprintf(content, sizeof(content), "%lu\n", i);
		expect_content(&f, name, content);
	}
	unlink(f.path);
}

START_TEST(test_killed)
{
	struct random r = random_start("linux kill");

	for (unsigned int i = 1; i <= (is_long() ? 100 : 2); i++) {
		check_kill(&r);
		printf("linux: %u kills, nothing lost\n", i);
		fflush(stdout);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_ext4, test_killed};

	directory = linux_guest();
	if (!directory)
		return LINUX_SKIPPED;
	return RUN_TESTS("linux_disk", tests);
}
