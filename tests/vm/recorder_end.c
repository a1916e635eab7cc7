/*
 * A guest whose last access is completed where the recorder asks whether an interrupt may come (mmu.h), while its timer is due: that was
 * its end, and nothing follows it in the log, not even a step of the clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/recording.h"
#include "snapshot/reason.h"
#include "tests/vm/inside.h"
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

static void record(const char *directory)
{
	static const struct mmu_ops *const none[] = {NULL};
	const struct program program = {.mmus = none, .host_mmu = "test", .host_mmu_words = "test"};
	struct inside_guest guest;
	struct kvm kvm;
	struct vm vm;

	inside_open(&kvm);
	inside_guest_open(&guest, &kvm, "hostile interrupt-storm 1000000");
	ck_assert_int_eq(recording_feature.open(&ending.recording, &program, directory, true), 0);
	ending.steerer.begin = begin;
	guest.config.steerer = &ending.steerer;
	ck_assert_int_eq(vm_create(&vm, &guest.config), 0);
	run_vm(&vm);
	ck_assert_msg(vm.end.kind == VM_EXITED && vm.end.code == 7, "%s", vm.end.reason);
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

	record(directory);
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

int main(void)
{
	const TTest *const tests[] = {test_nothing_follows};

	return run_tests("recorder_end", tests, sizeof(tests) / sizeof(*tests));
}
