#include "tests/vm/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/vm.h"

#define RAM (32ull << 20)

struct listener {
	struct access_tap tap;
	const struct vm *vm;
	struct marks *marks;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Not those that the host causes. */
static uint64_t exits(const struct vcpu *v)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < VCPU_EXIT_KINDS; i++)
		sum += i == KVM_EXIT_INTR ? 0 : v->exits[i];
	return sum;
}

static void on_access(struct access_tap *t, uint64_t position, const struct access *a)
{
	struct listener *l = (struct listener *)t;
	struct marks *marks = l->marks;
	uint64_t ns = now_ns();

	if (a->kind != ACCESS_PORT_WRITE || a->addr != ABI_PORT_SCRATCH || marks->count == MARKS_MAX)
		return;
	marks->mark[marks->count] = (struct mark){.value = (uint32_t)a->value, .exits = exits(&l->vm->vcpu), .ns = ns};
	l->vm->mmu->stats(l->vm, &marks->mark[marks->count].stats);
	marks->count++;
}

static int run(struct vm *vm, const struct vm_config *config, struct marks *marks)
{
	struct listener l = {.tap.access = on_access, .vm = vm, .marks = marks};
	int r = vm_create(vm, config);

	if (r < 0)
		return r;
	vm->vcpu.port.tap = &l.tap;
	run_vm(vm);
	vcpu_close_mailbox(&vm->vcpu);
	r = vm_end_status(&vm->end);
	if (r)
		log_bad(ECANCELED, "%s: %s", config->cmdline, vm->end.reason);
	vm_destroy(vm);
	return r;
}

int marks_run(const struct kvm *kvm, const struct mmu_ops *mmu, const char *path, const char *arguments,
	      struct marks *marks)
{
	struct image image;
	struct vm vm;
	int out = open("/dev/null", O_WRONLY | O_CLOEXEC), r;
	struct vm_config config = {.kvm = kvm, .mmu = mmu, .image = &image, .cmdline = arguments, .mem = RAM,
				   .console.fd = out};

	*marks = (struct marks){.count = 0};
	if (out < 0)
		return log_errno(errno, "/dev/null");
	r = image_open(&image, path);
	if (r == 0) {
		r = run(&vm, &config, marks);
		image_close(&image);
	}
	close(out);
	return r;
}

const struct mark *marks_find(const struct marks *marks, uint32_t value)
{
	for (unsigned int i = 0; i < marks->count; i++)
		if (marks->mark[i].value == value)
			return &marks->mark[i];
	return NULL;
}

uint64_t mark_counter(const struct mark *m, const char *name)
{
	for (unsigned int i = 0; i < m->stats.count; i++)
		if (!strcmp(m->stats.counter[i].name, name))
			return m->stats.counter[i].value;
	return 0;
}
