/*
 * A guest whose disk takes its time: whatever is asked of the VM meanwhile happens at once, and the guest's request ends as if
 * nothing had been.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/unit/gate.h"
#include "tests/vm/inside.h"
#include "tests/vm/suite.h"
#include "vmm/run.h"

#define BYTES 65536

/* The host's disk: fdatasync() waits while it is shut. */
static struct gate host = GATE_OPEN;

int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	gate_pass(&host);
	return 0;
}

/* A guest that writes a number and flushes, three times, on a thread of its own. */
struct rig {
	struct kvm kvm;
	struct inside_guest guest;
	struct disk disk;
	struct vm vm;
	pthread_t thread;
};

static void *run(void *arg)
{
	struct vm *vm = arg;

	run_vm(vm);
	vcpu_close_mailbox(&vm->vcpu);
	return NULL;
}

static void rig_start(struct rig *rig)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	char path[40];

	ck_assert_int_eq(ftruncate(fd, BYTES), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	inside_open(&rig->kvm);
	inside_guest_open(&rig->guest, &rig->kvm, "disk journal 3");
	ck_assert_int_eq(disk_open(&rig->disk, path, DISK_READ_WRITE), 0);
	close(fd);
	rig->disk.path = "disk";
	rig->disk.in_memory = false; /* so that it may have to be waited for */
	rig->guest.config.disks = &rig->disk;
	rig->guest.config.disk_count = 1;
	ck_assert_int_eq(vm_create(&rig->vm, &rig->guest.config), 0);
	gate_set(&host, true);
	ck_assert_int_eq(pthread_create(&rig->thread, NULL, run, &rig->vm), 0);
	gate_await(&host, 1);
}

static void rig_end(struct rig *rig, enum vm_end_kind end, const char *said)
{
	char *output;

	ck_assert_int_eq(pthread_join(rig->thread, NULL), 0);
	ck_assert_int_eq(rig->vm.end.kind, end);
	ck_assert(!mem_is_pinned(&rig->vm.mem, 0, rig->vm.mem.size));
	vm_destroy(&rig->vm);
	output = inside_output(&rig->guest);
	ck_assert_str_eq(output, said);
	free(output);
	disk_close(&rig->disk);
	inside_guest_close(&rig->guest);
	kvm_close(&rig->kvm);
}

/* Work for the vCPU's thread, and a wait for it: it never comes to an end if that thread waits for the disk. */
struct errand {
	struct vcpu_work work;
	void (*what)(struct vm *vm);
	pthread_mutex_t lock;
	pthread_cond_t finished;
	bool done;
};

static void run_errand(struct vcpu_work *w, struct vm *vm)
{
	struct errand *e = (struct errand *)w;

	e->what(vm);
	pthread_mutex_lock(&e->lock);
	e->done = true;
	pthread_cond_signal(&e->finished);
	pthread_mutex_unlock(&e->lock);
}

static void on_vcpu(struct rig *rig, void (*what)(struct vm *vm))
{
	struct errand e = {.work.run = run_errand, .what = what, .lock = PTHREAD_MUTEX_INITIALIZER,
			   .finished = PTHREAD_COND_INITIALIZER};

	ck_assert(vcpu_post(&rig->vm.vcpu, &e.work));
	pthread_mutex_lock(&e.lock);
	while (!e.done)
		pthread_cond_wait(&e.finished, &e.lock);
	pthread_mutex_unlock(&e.lock);
}

static void change_mode(struct vm *vm)
{
	ck_assert_int_eq(vm_change_mmu(vm, vm->mmu == &ept_mmu ? &shadow_mmu : &ept_mmu), 0);
}

static void pause_vm(struct vm *vm)
{
	vm_pause(vm, true);
}

static void resume_vm(struct vm *vm)
{
	vm_pause(vm, false);
}

/* The write was given back, the flush was not. */
static void check_under_way(struct vm *vm)
{
	const struct virtqueue *q = &vm->virtio.block[0].v.queue[0];

	ck_assert_uint_eq((uint16_t)(q->next - q->used), 1);
}

START_TEST(modes_change)
{
	static struct rig rig;

	rig_start(&rig);
	for (unsigned int i = 0; i < 5; i++)
		on_vcpu(&rig, change_mode);
	on_vcpu(&rig, check_under_way);
	gate_set(&host, false);
	rig_end(&rig, VM_EXITED, "1\n2\n3\n");
}
END_TEST

/* While a guest stands still it is told nothing, and has lost nothing afterwards. */
START_TEST(pauses)
{
	static struct rig rig;

	rig_start(&rig);
	on_vcpu(&rig, pause_vm);
	gate_set(&host, false);
	gate_await(&host, 0);
	on_vcpu(&rig, check_under_way);
	on_vcpu(&rig, resume_vm);
	rig_end(&rig, VM_EXITED, "1\n2\n3\n");
}
END_TEST

static void settle(struct vm *vm)
{
	const struct virtqueue *q = &vm->virtio.block[0].v.queue[0];

	virtio_devices_settle(&vm->virtio);
	ck_assert_uint_eq(q->next, q->used);
}

START_TEST(settles)
{
	static struct rig rig;

	rig_start(&rig);
	on_vcpu(&rig, pause_vm);
	gate_set(&host, false);
	on_vcpu(&rig, settle);
	on_vcpu(&rig, resume_vm);
	rig_end(&rig, VM_EXITED, "1\n2\n3\n");
}
END_TEST

/* The guest is over at once; its VM when the disk is done. */
START_TEST(ends)
{
	static struct rig rig;

	rig_start(&rig);
	vm_ask_end(&rig.vm, VM_STOPPED);
	gate_set(&host, false);
	rig_end(&rig, VM_STOPPED, "");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {modes_change, pauses, settles, ends};

	return RUN_TESTS("disk_waits", tests);
}
