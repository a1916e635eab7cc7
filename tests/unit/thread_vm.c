#include "tests/unit/thread_vm.h"

#include <check.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/vm.h"

static void failed(void *arg, const char *reason)
{
	struct vm *vm = arg;

	fprintf(stderr, "%s\n", reason);
	atomic_store(&vm->mem.lost, true);
}

void thread_vm_open(struct vm *vm, unsigned int number, uint64_t ram)
{
	vm->number = number;
	vm->vcpu.vm = vm;
	vm->vcpu.run = calloc(1, sizeof(*vm->vcpu.run));
	pthread_mutex_init(&vm->vcpu.lock, NULL);
	ck_assert_int_eq(mem_create(&vm->mem, ram, MEM_HUGE_NEVER), 0);
	dirty_init(&vm->dirty, &vm->mem, NULL);
	userfault_init(&vm->userfault, &vm->mem, failed, vm);
}

void thread_vm_close(struct vm *vm)
{
	userfault_destroy(&vm->userfault);
	dirty_destroy(&vm->dirty);
	mem_destroy(&vm->mem);
	pthread_mutex_destroy(&vm->vcpu.lock);
	free(vm->vcpu.run);
}
