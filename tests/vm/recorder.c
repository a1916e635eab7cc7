/*
 * A recorder in the test's own process, at moments that are rare. The guest's last access is completed where the recorder asks whether an
 * interrupt may come (mmu.h), while its timer is due: that was its end, and nothing follows it in the log, not even a step of the clock.
 * And digests are due all the time: none is taken where a guest in the other mode does not stand.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/recording.h"
#include "snapshot/reason.h"
#include "tests/vm/edited_log.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"
#include "vmm/program.h"
#include "vmm/run.h"

#define LAST_ACCESS 600u
#define PORT_EXIT 0x500u

/* Makes the guest's last access where a backend may complete one. */
static struct {
	struct mmu_ops ops;
	const struct mmu_ops *real;
	struct steerer steerer, *recording;
} ending;

static bool interruptible(struct vcpu *v)
{
	struct access exit = {.kind = ACCESS_PORT_WRITE, .size = 4, .addr = PORT_EXIT, .value = 7};
	bool open = ending.real->interruptible(v);

	if (v->port.position < LAST_ACCESS || vm_ended(v->vm))
		return open;
	while (clock_wait(&v->vm->clock))
		;
	access_complete(&v->port, &exit);
	return open;
}

static int begin(struct steerer *s, struct vm *vm)
{
	ending.real = vm->mmu;
	ending.ops = *vm->mmu;
	ending.ops.interruptible = interruptible;
	vm->mmu = &ending.ops;
	return ending.recording->begin(ending.recording, vm);
}

/* Whenever somebody looks the host's time has gone on by so much, too. */
static long hurry_ns;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	static long ahead;
	int r = __real_clock_gettime(id, ts);

	ahead += hurry_ns;
	ts->tv_sec += (ts->tv_nsec + ahead) / 1000000000;
	ts->tv_nsec = (ts->tv_nsec + ahead) % 1000000000;
	return r;
}

static void record(const char *words, const char *directory, struct steerer *s, unsigned int code)
{
	static const struct mmu_ops *const none[] = {NULL};
	const struct program program = {.mmus = none, .host_mmu = "test", .host_mmu_words = "test"};
	struct inside_guest guest;
	struct kvm kvm;
	struct vm vm;

	inside_open(&kvm);
	inside_guest_open(&guest, &kvm, words);
	ck_assert_int_eq(recording_feature.open(&ending.recording, &program, directory, true), 0);
	guest.config.steerer = s ? s : ending.recording;
	ck_assert_int_eq(vm_create(&vm, &guest.config), 0);
	run_vm(&vm);
	ck_assert_msg(vm.end.kind == VM_EXITED && vm.end.code == code, "%s", vm.end.reason);
	if (s)
		vm.mmu = ending.real;
	vm_destroy(&vm);
	ck_assert_int_eq(recording_feature.close(ending.recording), 0);
	inside_guest_close(&guest);
	kvm_close(&kvm);
}

START_TEST(test_nothing_follows)
{
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "r"), *path = snapshot_path(&p, "r/log");
	struct reason why = {.text = ""};
	struct log_reader r;
	struct event e;
	unsigned int steps = 0, ends = 0;
	int fd;

	ending.steerer.begin = begin;
	record("hostile interrupt-storm 1000000", directory, &ending.steerer, 7);
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(log_reader_open(&r, fd, path, &why), 0);
	while (log_reader_next(&r, &e, &why) == 1) {
		steps += e.kind == EVENT_CLOCK;
		ends += e.kind == EVENT_END;
		ck_assert_msg(e.kind != EVENT_CLOCK || e.position <= LAST_ACCESS, "time goes on after the guest's end");
	}
	ck_assert(log_reader_is_whole(&r));
	ck_assert_uint_eq(ends, 1);
	ck_assert_uint_gt(steps, 0);
	log_reader_close(&r);
	close(fd);
	free(directory);
	free(path);
	leave_snapshot_place(&p);
}
END_TEST

START_TEST(test_digests)
{
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "r"), *path = snapshot_path(&p, "r/log"), line[300];

	hurry_ns = 300000000;
	record("accesses", directory, NULL, 0);
	hurry_ns = 0;
	ck_assert_uint_gt(logged(path, EVENT_DIGEST), 10);
	for (size_t i = 0; i < MMU_MODES; i++) {
		struct outcome o;

		snprintf(line, sizeof(line), "replay --mmu %s %s", mmu_modes[i], directory);
		o = spawn_line(line, "");
		ck_assert_msg(o.status == 0, "%s: status %d: %s", line, o.status, o.err.data);
		outcome_free(&o);
	}
	free(directory);
	free(path);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_nothing_follows, test_digests};

	return run_tests("recorder", tests, sizeof(tests) / sizeof(*tests));
}
