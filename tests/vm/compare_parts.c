/*
 * What a comparison is made of, with KVM: guests that set marks, why they could not run, how they are ended; the floors.
 */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compare/benchmark_guest.h"
#include "compare/floor.h"
#include "compare/marks.h"
#include "ept/ept.h"
#include "guest/lib/mmucost.h"
#include "shadow/shadow.h"
#include "tests/vm/effort.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/vm.h"

#define CALLS 50u

static struct kvm kvm;
static struct marks marks;

static const struct mmu_ops *mode(void)
{
	return mmu_is_shadow() ? &shadow_mmu : &ept_mmu;
}

/* Of an image of the build, or, with a NULL for it, of the benchmark guest. */
static int run(const char *name, struct marks_config config)
{
	struct benchmark_guest guest = {.fd = -1};
	char *path = NULL;
	struct image image;
	int r;

	inside_open(&kvm);
	if (name)
		path = build_path(name);
	else
		ck_assert_int_eq(benchmark_guest_open(&guest), 0);
	ck_assert_int_eq(image_open(&image, path ? path : guest.path), 0);
	config.kvm = &kvm;
	config.image = &image;
	if (!config.mmu)
		config.mmu = mode();
	r = marks_run(&config, &marks);
	image_close(&image);
	if (!path)
		benchmark_guest_close(&guest);
	free(path);
	kvm_close(&kvm);
	return r;
}

static const struct mark *find(uint32_t value)
{
	const struct mark *m = marks_find(&marks, value);

	ck_assert_ptr_nonnull(m);
	return m;
}

START_TEST(marks_in_order)
{
	const struct mark *begin, *end;

	ck_assert_int_eq(run(NULL, (struct marks_config){.arguments = "port-in 50"}), 0);
	ck_assert_uint_eq(marks.ended, VM_EXITED);
	ck_assert_str_eq(marks.why, "");
	begin = find(MMUCOST_BEGIN);
	end = find(MMUCOST_END);
	ck_assert(begin < end);
	ck_assert_ptr_null(marks_find(&marks, 0xbad));
	ck_assert_uint_ge(mark_exits_between(begin, end), CALLS + 1);
	ck_assert_uint_le(mark_exits_between(begin, end), 2 * CALLS);
	ck_assert_uint_gt(mark_ns_between(begin, end), 0);
	ck_assert_uint_le(mark_exits_between(begin, end), mark_exits_between(&marks.start, &marks.end));
	ck_assert_uint_le(mark_ns_between(begin, end), mark_ns_between(&marks.start, &marks.end));
	for (const struct mark *m = &marks.mark[0]; m < &marks.mark[marks.count]; m++) {
		ck_assert_uint_le(m->ns, m->done_ns);
		ck_assert(m == marks.mark || m[-1].done_ns <= m->ns);
	}
	ck_assert(marks.host_page == 4096 || marks.host_page == 2u << 20);
}
END_TEST

/* Twice the work, in which nothing is a fault of the host: twice the exits, to the last one. */
START_TEST(exits_are_those_of_the_work)
{
	uint64_t once, nothing;

	ck_assert_int_eq(run(NULL, (struct marks_config){.arguments = "port-in 1"}), 0);
	nothing = mark_exits_between(find(MMUCOST_BEGIN), find(MMUCOST_END)) - 1;
	ck_assert_int_eq(run(NULL, (struct marks_config){.arguments = "port-in 100"}), 0);
	once = mark_exits_between(find(MMUCOST_BEGIN), find(MMUCOST_END)) - nothing;
	ck_assert_int_eq(run(NULL, (struct marks_config){.arguments = "port-in 200"}), 0);
	ck_assert_uint_eq(mark_exits_between(find(MMUCOST_BEGIN), find(MMUCOST_END)) - nothing, 2 * once);
}
END_TEST

/* A guest that sets more marks than are kept. */
START_TEST(only_the_first_marks)
{
	ck_assert_int_eq(run("guest/ports", (struct marks_config){.arguments = "1000"}), 0);
	ck_assert_uint_le(marks.count, MARKS_MAX);
	ck_assert_uint_gt(mark_exits_between(&marks.start, &marks.end), 1000);
}
END_TEST

START_TEST(own_exit_code)
{
	ck_assert_int_eq(run("guest/hello", (struct marks_config){.arguments = "42"}), 42);
	ck_assert_uint_eq(marks.ended, VM_EXITED);
	ck_assert_ptr_nonnull(strstr(marks.why, "code 42"));
	ck_assert_uint_eq(marks.count, 0);
}
END_TEST

START_TEST(killed_guest)
{
	ck_assert_int_eq(run("guest/hostile", (struct marks_config){.arguments = "triple-fault"}), 126);
	ck_assert_uint_eq(marks.ended, VM_KILLED);
	ck_assert_str_ne(marks.why, "");
	ck_assert_ptr_null(strchr(marks.why, '\n'));
}
END_TEST

/* RAM that cannot hold the image. */
START_TEST(guest_that_cannot_start)
{
	ck_assert_int_lt(run("guest/hello", (struct marks_config){.arguments = "", .mem = 1 << 20}), 0);
	ck_assert_uint_eq(marks.ended, VM_RUNNING);
	ck_assert_ptr_nonnull(strstr(marks.why, "cannot be started"));
}
END_TEST

static int refuse(const struct image *im, struct image_reason *why)
{
	return image_refuse(why, ENOTSUP, "not here");
}

static int break_down(const struct image *im, struct image_reason *why)
{
	return -EIO;
}

/* The mode's own reason, when it has one. */
START_TEST(mode_that_refuses)
{
	struct mmu_ops ops = *mode();

	ops.check_image = refuse;
	ck_assert_int_eq(run("guest/hello", (struct marks_config){.mmu = &ops, .arguments = ""}), -ENOTSUP);
	ck_assert_str_eq(marks.why, "not here");
	ops.check_image = break_down;
	ck_assert_int_eq(run("guest/hello", (struct marks_config){.mmu = &ops, .arguments = ""}), -EIO);
	ck_assert_ptr_nonnull(strstr(marks.why, "cannot be started: Input/output error"));
	ck_assert_uint_eq(marks.ended, VM_RUNNING);
}
END_TEST

START_TEST(guest_that_takes_too_long)
{
	uint64_t start = monotonic_ns();

	ck_assert_int_eq(run("guest/clock", (struct marks_config){.arguments = "1000000", .timeout_ms = 300}), 126);
	ck_assert_uint_eq(marks.ended, VM_TIMED_OUT);
	ck_assert_str_ne(marks.why, "");
	ck_assert_uint_ge(monotonic_ns() - start, 300000000);
}
END_TEST

static atomic_bool stop;

static void *raise_stop(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
	atomic_store(&stop, true);
	return NULL;
}

static int run_until_stopped(void)
{
	return run("guest/clock", (struct marks_config){.arguments = "1000000", .stop = &stop, .timeout_ms = 100000});
}

START_TEST(guest_that_is_stopped)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, raise_stop, NULL), 0);
	ck_assert_int_eq(run_until_stopped(), 130);
	ck_assert_uint_eq(marks.ended, VM_STOPPED);
	pthread_join(thread, NULL);
	ck_assert_int_eq(run_until_stopped(), 130); /* the flag is up from the start */
}
END_TEST

static double exit_us(void)
{
	double us = -1;

	ck_assert_int_eq(floor_exit_us(&kvm, &us), 0);
	ck_assert(isfinite(us) && us > 0.05 && us < 5000);
	return us;
}

/* By how much two looks at one thing may differ: in the lab a busy host shows in processor time, too. */
static double tolerance(void)
{
	return in_lab() ? 8 : 2;
}

/* Busy hosts are slow now and then, but the best of several looks is one thing. */
START_TEST(floors)
{
	double exits[2] = {INFINITY, INFINITY}, loops[2] = {INFINITY, INFINITY};

	inside_open(&kvm);
	for (unsigned int i = 0; i < 8; i++) {
		exits[i % 2] = fmin(exits[i % 2], exit_us());
		loops[i % 2] = fmin(loops[i % 2], floor_loop_ns());
	}
	printf("bare exit %.2f us, bare step %.2f ns\n", fmin(exits[0], exits[1]), fmin(loops[0], loops[1]));
	ck_assert(loops[0] > 0.05 && loops[0] < 1000);
	ck_assert(exits[0] / exits[1] < tolerance() && exits[1] / exits[0] < tolerance());
	ck_assert(loops[0] / loops[1] < tolerance() && loops[1] / loops[0] < tolerance());
	kvm_close(&kvm);
}
END_TEST

/* An exit through all of the program is not much cheaper than a bare one: both are noisy. */
START_TEST(floor_is_below)
{
	double best = INFINITY, us;

	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_int_eq(run(NULL, (struct marks_config){.mmu = &ept_mmu, .arguments = "port-in 1000"}), 0);
		best = fmin(best, (double)mark_ns_between(find(MMUCOST_BEGIN), find(MMUCOST_END)) / 1e3 / 1000);
	}
	inside_open(&kvm);
	us = exit_us();
	for (unsigned int i = 0; i < 3; i++)
		us = fmin(us, exit_us());
	printf("port-in %.2f us, bare exit %.2f us\n", best, us);
	ck_assert(us < best * tolerance());
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	const TTest *tests[] = {
		marks_in_order, exits_are_those_of_the_work, only_the_first_marks, own_exit_code, killed_guest,
		guest_that_cannot_start, mode_that_refuses, guest_that_takes_too_long, guest_that_is_stopped, floors, floor_is_below,
	};

	return RUN_TESTS("compare-parts", tests);
}
