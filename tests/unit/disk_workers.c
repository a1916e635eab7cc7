/*
 * Workers of a disk: every job is run once and comes back once, whatever the threads do meanwhile.
 */
#include "vmm/disk_workers.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define JOBS 3000u

struct job {
	struct disk_job job;
	struct rig *rig;
	_Atomic unsigned int runs;
	unsigned int taken, sleep_us;
	bool gated; /* waits for rig->open */
};

struct rig {
	struct disk_workers w;
	_Atomic unsigned int wakes, busy, most_busy;
	_Atomic bool open;
	struct job job[JOBS];
};

/* How many threads can still be had. */
static int threads_left = 1000;

int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	if (threads_left <= 0)
		return EAGAIN;
	threads_left--;
	return __real_pthread_create(t, attr, run, arg);
}

static void wake(void *arg)
{
	((struct rig *)arg)->wakes++;
}

static void run(struct disk_job *j)
{
	struct job *job = (struct job *)j;
	unsigned int busy = ++job->rig->busy, most = job->rig->most_busy;

	while (busy > most && !atomic_compare_exchange_weak(&job->rig->most_busy, &most, busy))
		;
	if (job->sleep_us)
		usleep(job->sleep_us);
	while (job->gated && !job->rig->open)
		usleep(100);
	job->runs++;
	job->rig->busy--;
}

static struct rig *make_rig(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	for (unsigned int i = 0; i < JOBS; i++) {
		rig->job[i].rig = rig;
		rig->job[i].job.run = run;
	}
	disk_workers_init(&rig->w, wake, rig);
	return rig;
}

static void free_rig(struct rig *rig)
{
	disk_workers_destroy(&rig->w);
	free(rig);
}

/* How many came back, each for the first time and after it was run. */
static unsigned int take(struct rig *rig)
{
	struct disk_job *j = disk_workers_take(&rig->w);
	unsigned int n = 0;

	for (; j; j = j->next, n++) {
		struct job *job = (struct job *)j;

		expect_eq(job->runs, 1);
		expect_eq(job->taken, 0);
		job->taken++;
	}
	return n;
}

START_TEST(all_come_back)
{
	struct random r = random_start("disk_workers");
	struct rig *rig = make_rig();
	unsigned int submitted = 0, back = 0;

	while (back < JOBS) {
		unsigned int burst = (unsigned int)random_below(&r, 40);

		for (; burst && submitted < JOBS; burst--) {
			rig->job[submitted].sleep_us = random_below(&r, 20) ? 0 : (unsigned int)random_below(&r, 300);
			ck_assert_int_eq(disk_workers_submit(&rig->w, &rig->job[submitted++].job), 0);
		}
		if (random_below(&r, 10) == 0)
			disk_workers_wait(&rig->w);
		back += take(rig);
	}
	expect_eq(back, JOBS);
	expect_eq(take(rig), 0);
	expect(rig->wakes > 0);
	expect(rig->wakes <= JOBS);
	expect(rig->most_busy <= DISK_WORKERS_MAX);
	free_rig(rig);
}
END_TEST

/* As many wait at once as there are threads for, and no thread is there without need. */
START_TEST(at_once)
{
	struct rig *rig = make_rig();

	expect_eq(rig->w.threads, 0);
	ck_assert_int_eq(disk_workers_submit(&rig->w, &rig->job[0].job), 0);
	disk_workers_wait(&rig->w);
	expect_eq(take(rig), 1);
	expect_eq(rig->wakes, 1);
	for (unsigned int i = 1; i <= 3 * DISK_WORKERS_MAX; i++) {
		rig->job[i].gated = true;
		ck_assert_int_eq(disk_workers_submit(&rig->w, &rig->job[i].job), 0);
	}
	expect_eq(rig->w.threads, DISK_WORKERS_MAX);
	while (rig->busy < DISK_WORKERS_MAX)
		usleep(100);
	rig->open = true;
	disk_workers_wait(&rig->w);
	expect_eq(rig->most_busy, DISK_WORKERS_MAX);
	expect_eq(rig->wakes, 2); /* nobody took any of them before the last */
	expect_eq(take(rig), 3 * DISK_WORKERS_MAX);
	free_rig(rig);
}
END_TEST

START_TEST(no_threads)
{
	struct rig *rig = make_rig();
	struct capture err;

	capture_begin(&err);
	threads_left = 0;
	ck_assert_int_eq(disk_workers_submit(&rig->w, &rig->job[0].job), -EAGAIN);
	disk_workers_wait(&rig->w);
	expect_eq(take(rig), 0);
	threads_left = 1;
	for (unsigned int i = 0; i < 100; i++)
		ck_assert_int_eq(disk_workers_submit(&rig->w, &rig->job[i].job), 0);
	disk_workers_wait(&rig->w);
	expect_eq(take(rig), 100);
	capture_end(&err);
	ck_assert_msg(strstr(err.text, "a thread for disk requests"), "said '%s'", err.text);
	ck_assert_ptr_eq(strchr(err.text, '\n') + 1, strchr(err.text, '\0'));
	free_rig(rig);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {all_come_back, at_once, no_threads};

	return RUN_TESTS("disk_workers", tests);
}
