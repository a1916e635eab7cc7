/*
 * A host that refuses: no right to a file or to KVM, no KVM at all, limits on descriptors, memory and threads. Each is one
 * line on stderr that names what it is about and why, exit status 125, and leaves nothing behind.
 */
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

#include "tests/vm/directory.h"
#include "tests/vm/sanitized.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define NOBODY 65534
#define CANNOT_PREPARE 99 /* exit status of a child whose surroundings could not be made */

static void say_skipped(const char *what, const char *why)
{
	printf("bad_host: %s: not tried: %s\n", what, why);
}

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
	printf("bad_host: %s: refused at %u limits, ran at %u\n", line, refused, passed);
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_gt(passed, 0);
}

/* With as few descriptors as a guest can do with it still hears of the end of its time. */
START_TEST(test_few_descriptors)
{
	unsigned int ran = 0;

	for (rlim_t n = 3; n < 18; n++) {
		struct limit l = {RLIMIT_NOFILE, n};
		struct spawn s = {.line = "run --timeout 0.3 @compute -- 1000000000", .prepare = set_limit, .arg = &l};
		struct outcome o = spawn(&s, "", 0);

		if (o.status == 126) {
			ran++;
			assert_complaint(&o, 126, "timed out", NULL, s.line);
		}
		outcome_free(&o);
	}
	ck_assert_uint_gt(ran, 4);
}
END_TEST

static void set_soft_limit(void *arg)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		_exit(CANNOT_PREPARE);
	r.rlim_cur = 30;
	if (setrlimit(RLIMIT_NOFILE, &r))
		_exit(CANNOT_PREPARE);
}

/* What the user may have anyway, the program takes. */
START_TEST(test_soft_descriptor_limit)
{
	struct outcome o = spawn(&(struct spawn){.line = "run --count 40 --console none @hello", .prepare = set_soft_limit}, "", 0);

	assert_outcome(&o, 0, "", "30 descriptors");
	outcome_free(&o);
}
END_TEST

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
	/* Below 4 MiB the kernel cannot map the program, and kills it. */
	lower_step_by_step(RLIMIT_AS, "run --mem 16M @hello", 4 << 20, 2 << 20, 19, "hello, world\n");
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
		test_no_permission, test_device_is_not_kvm, test_descriptor_limit, test_few_descriptors, test_soft_descriptor_limit, test_memory_limit,
		test_ram_limit, test_thread_limit,
	};

	return RUN_TESTS("bad_host", tests);
}
