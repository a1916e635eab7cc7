/*
 * What goes wrong before or beside a guest: options, files and a host that refuses. Each is one line on stderr that names
 * what it is about and why, exit status 125 (127 for an image that cannot boot), and leaves nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/vm/sanitized.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define NOBODY 65534
#define CANNOT_PREPARE 99 /* exit status of a child whose surroundings could not be made */

static void say_skipped(const char *what, const char *why)
{
	printf("bad_input: %s: not tried: %s\n", what, why);
}

struct bad_line {
	const char *line;
	int status;
	const char *names, *why;
};

static void check_lines(const struct bad_line *lines, size_t count)
{
	for (const struct bad_line *l = lines; l < lines + count; l++) {
		struct outcome o = spawn_line(l->line, "");

		assert_complaint(&o, l->status, l->names, l->why, l->line);
		ck_assert_msg(o.out.size == 0, "%s: said '%s'", l->line, o.out.data);
		outcome_free(&o);
	}
}

#define CHECK_LINES(lines) check_lines(lines, sizeof(lines) / sizeof(*(lines)))

START_TEST(test_options)
{
	static const struct bad_line lines[] = {
		{"bogus", 125, "bogus", "no such command"},
		{"", 125, NULL, "command"},
		{"--bogus", 125, "--bogus", NULL},
		{"run", 125, "run", "no image"},
		{"run --bogus @hello", 125, "--bogus", NULL},
		{"run --bogus=7 @hello", 125, "--bogus", NULL},
		{"run --bo\ngus @hello", 125, "--bo", NULL},
		{"run -x @hello", 125, "-x", NULL},
		{"run -xyz @hello", 125, "-x", NULL},
		{"run @hello --mem", 125, "--mem", NULL},
		{"run @hello --timeout", 125, "--timeout", NULL},
		{"run --help=x @hello", 125, "--help", NULL},
		{"run --c=1 @hello", 125, "--c", NULL},
		{"doctor --bogus", 125, "doctor: --bogus", "no such option"},
		{"doctor --json=1", 125, "doctor: --json", "takes no value"},
		{"doctor more", 125, "more", "takes no arguments"},
		{"inspect", 125, "inspect", "no file"},
		{"inspect --bogus @hello", 125, "inspect: --bogus", "no such option"},
		{"inspect @hello @hello", 125, "hello", "one file"},
		{"inspect missing", 127, "missing", "No such file"},
		{"run @hello more", 125, "more", "--"},
		{"run --mmu= @hello", 125, "--mmu", NULL},
		{"run --mmu=none @hello", 125, "--mmu=none", "mode"},
		{"run --mmu=ept2 @hello", 125, "--mmu=ept2", NULL},
		{"run --cpu=z80 @hello", 125, "--cpu=z80", "base"},
		{"run --mem= @hello", 125, "--mem", NULL},
		{"run --mem=0 @hello", 125, "--mem=0", NULL},
		{"run --mem=0M @hello", 125, "--mem=0M", NULL},
		{"run --mem=64 @hello", 125, "--mem=64", NULL},
		{"run --mem=64MB @hello", 125, "--mem=64MB", NULL},
		{"run --mem=-64M @hello", 125, "--mem=-64M", NULL},
		{"run --mem=+64M @hello", 125, "--mem=+64M", NULL},
		{"run --mem=0x40M @hello", 125, "--mem=0x40M", NULL},
		{"run --mem=1.5G @hello", 125, "--mem=1.5G", NULL},
		{"run --mem=1022K @hello", 125, "--mem=1022K", NULL},
		{"run --mem=1025K @hello", 125, "--mem=1025K", "4K"},
		{"run --mem=513G @hello", 125, "--mem=513G", "512G"},
		{"run --mem=99999999999999999999G @hello", 125, "--mem=9", NULL},
		{"run --mem=18014398509481984K @hello", 125, "--mem=1", NULL}, /* 2^64 bytes */
		{"run --mem=17179869185G @hello", 125, "--mem=1", NULL},       /* 2^64 bytes and 1 GiB */
		{"run --console= @hello", 125, "--console", NULL},
		{"run --console=tty @hello", 125, "--console=tty", NULL},
		{"run --console=file: @hello", 125, "--console=file:", NULL},
		{"run --count=0 @hello", 125, "--count=0", "4096"},
		{"run --count=5000 @hello", 125, "--count=5000", "4096"},
		{"run --count=abc @hello", 125, "--count=abc", NULL},
		{"run --count=-1 @hello", 125, "--count=-1", NULL},
		{"run --count=3x @hello", 125, "--count=3x", NULL},
		{"run --count= @hello", 125, "--count", NULL},
		{"run --count=18446744073709551617 @hello", 125, "--count=1", NULL}, /* 2^64 + 1 */
		{"run --timeout=0 @hello", 125, "--timeout=0", NULL},
		{"run --timeout=-1 @hello", 125, "--timeout=-1", NULL},
		{"run --timeout=nan @hello", 125, "--timeout=nan", NULL},
		{"run --timeout=inf @hello", 125, "--timeout=inf", NULL},
		{"run --timeout=1e99 @hello", 125, "--timeout=1e99", NULL},
		{"run --timeout=1s @hello", 125, "--timeout=1s", NULL},
		{"run --timeout= @hello", 125, "--timeout", NULL},
		{"run --hugepages=maybe @hello", 125, "--hugepages=maybe", NULL},
		{"run --log=loud @hello", 125, "--log=loud", NULL},
		{"run --log= @hello", 125, "--log", NULL},
	};

	CHECK_LINES(lines);
}
END_TEST

static void make_file(const char *path, const void *bytes, size_t size, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* A directory of our own to stand in; removed with everything in it by leave_directory(). */
static void enter_directory(char *path, size_t size)
{
	const char *base = getenv("TMPDIR");

	snprintf(path, size, "%s/penumbra-vm.XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(chdir(path), 0);
}

static void leave_directory(const char *path, const char *const *names)
{
	for (; *names; names++) {
		if (unlink(*names) && errno == EISDIR)
			rmdir(*names);
	}
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(rmdir(path) == 0, "%s: the program left something there", path);
}

static void copy_image(const char *name, const char *to, size_t limit)
{
	char *from = build_path(name), *bytes = malloc(limit);
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_ptr_nonnull(bytes);
	ck_assert_msg(fd >= 0, "%s: %s", from, strerror(errno));
	n = read(fd, bytes, limit);
	ck_assert_int_gt(n, 0);
	make_file(to, bytes, (size_t)n, 0755);
	close(fd);
	free(bytes);
	free(from);
}

/* Files as users hand them in by mistake. What is wrong inside an ELF file is the unit tests' (tests/unit/image.c). */
START_TEST(test_image_files)
{
	static const char *const names[] = {"empty", "text", "script", "fifo", "directory", "truncated", "head", "dangling",
					    "loop", NULL};
	static const struct bad_line lines[] = {
		{"run ", 127, "(empty name)", NULL},
		{"run missing", 127, "missing", "No such file"},
		{"run text/image", 127, "text/image", NULL},
		{"run dangling", 127, "dangling", "No such file"},
		{"run loop", 125, "loop", "symbolic"},
		{"run empty", 127, "empty", "empty"},
		{"run text", 127, "text", "not a guest image"},
		{"run script", 127, "script", "not a guest image"},
		{"run fifo", 127, "fifo", "FIFO"},
		{"run directory", 127, "directory", "directory"},
		{"run /dev/null", 127, "/dev/null", "device"},
		{"run truncated", 127, "truncated", NULL},
		{"run head", 127, "head", NULL},
		{"run /proc/self/exe", 127, "/proc/self/exe", NULL},
		{"run /proc/self/mem", 127, "/proc/self/mem", NULL},
		{"run --mem 1M @hello", 125, "hello", "--mem"},
		{"run --mem 64M --count 3 missing", 127, "missing", NULL},
	};
	char path[256];

	enter_directory(path, sizeof(path));
	make_file("empty", "", 0, 0644);
	make_file("text", "hello\n", 6, 0644);
	make_file("script", "#!/bin/sh\nexit 0\n", 17, 0755);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mkdir("directory", 0755), 0);
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	copy_image("guest/hello", "truncated", 4200);
	copy_image("guest/hello", "head", 4);
	CHECK_LINES(lines);
	leave_directory(path, names);
}
END_TEST

START_TEST(test_other_files)
{
	static const char *const names[] = {"empty", "fifo", "directory", "huge", NULL};
	static const struct bad_line lines[] = {
		{"run --initrd= @hello", 125, NULL, NULL},
		{"run --initrd=missing @hello", 125, "missing", "No such file"},
		{"run --initrd=directory @hello", 125, "directory", "regular file"},
		{"run --initrd=empty @hello", 125, "empty", "empty"},
		{"run --initrd=fifo @hello", 125, "fifo", "regular file"},
		{"run --initrd=/dev/zero @hello", 125, "/dev/zero", "regular file"},
		{"run --initrd=huge @hello", 125, "huge", "--mem"},
		{"run --count=3 --initrd=huge @hello", 125, "huge", "--mem"},
		{"run --console=file:/nonexistent/x @hello", 125, "/nonexistent/x", "No such file"},
		{"run --console=file:directory @hello", 125, "directory", "directory"},
	};
	char path[256];

	enter_directory(path, sizeof(path));
	make_file("empty", "", 0, 0644);
	make_file("huge", "x", 1, 0644);
	ck_assert_int_eq(truncate("huge", 1ll << 33), 0);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mkdir("directory", 0755), 0);
	CHECK_LINES(lines);
	leave_directory(path, names);
}
END_TEST

/* Statistics come last: the guest has run. The file itself is the only trace that may remain. */
START_TEST(test_stats_unwritable)
{
	static const struct bad_line lines[] = {
		{"run --console=none --stats=/nonexistent/x @hello", 125, "/nonexistent/x", "No such file"},
		{"run --console=none --stats=/ @hello", 125, "/", "directory"},
		{"run --console=none --stats=/dev/full @hello", 125, "/dev/full", "No space"},
		{"run --console=none --stats= @hello", 125, NULL, NULL},
	};

	CHECK_LINES(lines);
}
END_TEST

START_TEST(test_long_command_line)
{
	char line[40000] = "run @hello -- ";
	struct outcome o;

	memset(line + strlen(line), '7', 33000);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, "command line", NULL, "33,000 bytes of arguments");
	outcome_free(&o);
}
END_TEST

START_TEST(test_output_refused)
{
	static const struct {
		struct spawn how;
		const char *part;
	} cases[] = {
		{{.line = "run @hello", .stdout_path = "/dev/full"}, "No space"},
		{{.line = "run @hello", .stdout_broken = true}, "Broken pipe"},
		{{.line = "run --console=file:/dev/full @hello"}, "No space"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct outcome o = spawn(&cases[i].how, NULL, 0);

		assert_complaint(&o, 125, "console output", cases[i].part, cases[i].part);
		outcome_free(&o);
	}
}
END_TEST

static void close_stdout(void *arg)
{
	close(STDOUT_FILENO);
}

static void close_stderr(void *arg)
{
	close(STDERR_FILENO);
}

/* A descriptor 0, 1 or 2 that is closed must not become the image or /dev/kvm. */
START_TEST(test_closed_descriptors)
{
	struct outcome o = spawn(&(struct spawn){.line = "run @hello", .prepare = close_stdout}, "", 0);

	assert_complaint(&o, 125, "console output", "Bad file descriptor", "stdout closed");
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run missing", .prepare = close_stderr}, "", 0);
	assert_outcome(&o, 127, "", "stderr closed");
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run @hello", .in = SPAWN_CLOSED}, NULL, 0);
	assert_outcome(&o, 0, "hello, world\n", "stdin closed");
	outcome_free(&o);
	/* A guest that reads waits for ever: nobody can type. If it got the image as input, it would end or echo. */
	o = spawn(&(struct spawn){.line = "run --timeout 1 @echo", .in = SPAWN_CLOSED}, NULL, 0);
	assert_complaint(&o, 126, "timed out", NULL, "stdin closed, a guest that reads");
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}
END_TEST

static void become_nobody(void *arg)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		_exit(CANNOT_PREPARE);
}

/* By another uid that may not open it. Files are reached first: their rights need not be the device's. */
START_TEST(test_no_permission)
{
	struct spawn s = {.line = "run image", .prepare = become_nobody};
	static const char *const names[] = {"image", "secret", "bin", NULL};
	struct outcome o;
	struct stat st;
	char path[256];

	if (geteuid() != 0) {
		say_skipped("no permission", "needs root, to become somebody else");
		return;
	}
	if (stat("/dev/kvm", &st) == 0 && (st.st_mode & 0006)) {
		say_skipped("no permission on /dev/kvm", "everybody has it here");
		return;
	}
	enter_directory(path, sizeof(path));
	copy_image("guest/hello", "image", 1 << 20);
	make_file("secret", "x", 1, 0600);
	o = spawn(&s, NULL, 0);
	assert_complaint(&o, 125, "/dev/kvm", "Permission denied", s.line);
	outcome_free(&o);
	s.line = "run secret";
	o = spawn(&s, NULL, 0);
	assert_complaint(&o, 125, "secret", "Permission denied", s.line);
	outcome_free(&o);
	leave_directory(path, names);
}
END_TEST

/* In a mount namespace of its own, where something else lies over /dev/kvm. */
static void cover_device(void *arg)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(arg, "/dev/kvm", NULL, MS_BIND, NULL))
		_exit(CANNOT_PREPARE);
}

/* /dev itself covered: nothing of it is left. */
static void hide_device(void *arg)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev", "tmpfs", 0, NULL))
		_exit(CANNOT_PREPARE);
}

START_TEST(test_device_is_not_kvm)
{
	char null[] = "/dev/null", *file = build_path("guest/hello");
	const struct {
		void (*prepare)(void *arg);
		char *over;
		const char *part;
	} cases[] = {
		{hide_device, NULL, "doctor"},
		{cover_device, null, "not KVM"},
		{cover_device, file, "not KVM"},
	};

	if (geteuid() != 0) {
		say_skipped("no /dev/kvm", "needs root, for a mount namespace");
		return;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct spawn s = {.line = "run @hello", .prepare = cases[i].prepare, .arg = cases[i].over};
		struct outcome o = spawn(&s, NULL, 0);

		if (o.status == CANNOT_PREPARE && o.err.size == 0)
			say_skipped("no /dev/kvm", "this system allows no mount namespace");
		else
			assert_complaint(&o, 125, "/dev/kvm", cases[i].part, cases[i].over ? cases[i].over : "hidden");
		outcome_free(&o);
	}
	free(file);
}
END_TEST

struct limit {
	int resource;
	rlim_t value;
};

static void set_limit(void *arg)
{
	const struct limit *l = arg;
	struct rlimit r = {l->value, l->value};

	if (setrlimit((__rlimit_resource_t)l->resource, &r))
		_exit(CANNOT_PREPARE);
}

/* Every limit from too little for anything up to just enough: always one line or success, never a crash or a hang. */
static void lower_step_by_step(int resource, const char *line, rlim_t first, rlim_t step, unsigned int steps,
			       const char *all_good)
{
	unsigned int refused = 0, passed = 0;

	for (unsigned int i = 0; i < steps; i++) {
		struct limit l = {resource, first + i * step};
		struct outcome o = spawn(&(struct spawn){.line = line, .prepare = set_limit, .arg = &l}, "", 0);

		if (o.status == 0) {
			ck_assert_str_eq(o.err.data, "");
			ck_assert_msg(!all_good || !strcmp(o.out.data, all_good), "said '%s'", o.out.data);
			passed++;
		} else if (o.status == 127 && o.out.size == 0 && strstr(o.err.data, "shared libraries")) {
			refused++; /* not even the loader had enough */
		} else {
			assert_complaint(&o, 125, NULL, NULL, line);
			refused++;
		}
		outcome_free(&o);
	}
	printf("bad_input: %s: refused at %u limits, ran at %u\n", line, refused, passed);
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_gt(passed, 0);
}

START_TEST(test_descriptor_limit)
{
	lower_step_by_step(RLIMIT_NOFILE, "run @hello", 3, 1, 15, "hello, world\n");
	lower_step_by_step(RLIMIT_NOFILE, "run --count 4 @hello", 4, 2, 10, NULL);
	lower_step_by_step(RLIMIT_NOFILE, "run --console=none --stats=/dev/null @hello", 3, 1, 15, "");
}
END_TEST

START_TEST(test_memory_limit)
{
	if (SANITIZED) {
		say_skipped("a limit on address space", "sanitizers reserve terabytes of it");
		return;
	}
	lower_step_by_step(RLIMIT_AS, "run --mem 16M @hello", 2 << 20, 2 << 20, 20, "hello, world\n");
	lower_step_by_step(RLIMIT_AS, "run --count 8 --mem 16M @hello", 20 << 20, 20 << 20, 16, NULL);
}
END_TEST

START_TEST(test_ram_limit)
{
	struct limit l = {RLIMIT_AS, 1ul << 30};
	struct outcome o;

	if (SANITIZED) {
		say_skipped("a limit on address space", "sanitizers reserve terabytes of it");
		return;
	}
	o = spawn(&(struct spawn){.line = "run --mem 2G @hello", .prepare = set_limit, .arg = &l}, "", 0);
	assert_complaint(&o, 125, "2048 MiB of guest RAM", "Cannot allocate memory", "2 GiB of RAM in 1 GiB");
	outcome_free(&o);
}
END_TEST

/* Root's threads are not counted: somebody else runs the program, on a /dev that lets everybody use KVM. */
static void limit_threads(void *arg)
{
	struct limit l = {RLIMIT_NPROC, 1};

	hide_device(NULL);
	umask(0);
	if (mknod("/dev/kvm", S_IFCHR | 0666, *(dev_t *)arg) || mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)))
		_exit(CANNOT_PREPARE);
	set_limit(&l);
	become_nobody(NULL);
}

START_TEST(test_thread_limit)
{
	struct spawn s = {.line = "run image", .prepare = limit_threads};
	static const char *const names[] = {"image", NULL};
	struct outcome o;
	struct stat st;
	char path[256];

	if (SANITIZED) {
		say_skipped("a limit on threads", "sanitizers want one of their own");
		return;
	}
	if (geteuid() != 0) {
		say_skipped("a limit on threads", "needs root, to become somebody else who may use KVM");
		return;
	}
	ck_assert_int_eq(stat("/dev/kvm", &st), 0);
	s.arg = &st.st_rdev;
	enter_directory(path, sizeof(path));
	copy_image("guest/hello", "image", 1 << 20);
	o = spawn(&s, "", 0);
	if (o.status == CANNOT_PREPARE && o.err.size == 0)
		say_skipped("a limit on threads", "this system does not let root become somebody else with a /dev");
	else
		assert_complaint(&o, 125, "thread", "unavailable", "no threads");
	outcome_free(&o);
	leave_directory(path, names);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_options, test_image_files, test_other_files, test_stats_unwritable, test_long_command_line,
		test_output_refused, test_closed_descriptors, test_no_permission, test_device_is_not_kvm,
		test_descriptor_limit, test_memory_limit, test_ram_limit, test_thread_limit,
	};

	return RUN_TESTS("bad_input", tests);
}
