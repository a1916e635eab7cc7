#include "tests/vm/oracle.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "ept/host_mmu.h"
#include "vmm/ensure.h"
#include "vmm/vcpu_state.h"

#define ALARM_US 20000
#define ENDLESS_NS 100000000ull /* of processor time: on a loaded host the guest may have to wait for any of it */
#define ALARMS_MAX 1500u	/* or so often, without using it */

/* Does nothing: the signal is there to interrupt KVM_RUN. */
static void on_alarm(int number)
{
}

static void start_alarms(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval every = {.it_interval.tv_usec = ALARM_US, .it_value.tv_usec = ALARM_US};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void set_slot(struct oracle *o, uint64_t size)
{
	struct kvm_userspace_memory_region slot = {.memory_size = size, .userspace_addr = (uintptr_t)oracle_ram(o)};

	ensure(kvm_set_slot(o->vm.fd, &slot) == 0);
}

void oracle_create(struct oracle *o)
{
	enum cpu_model model;

	memset(o, 0, sizeof(*o));
	if (kvm_open(&o->kvm) < 0) {
		puts("no KVM here");
		exit(77);
	}
	model = cpu_model_lacks(CPU_MODEL_V2, o->kvm.supported) ? CPU_MODEL_BASE : CPU_MODEL_V2;
	o->nested = host_mmu_detect("").nested;
	o->vm.kvm = &o->kvm;
	o->vm.fd = kvm_create_vm(&o->kvm);
	ensure(o->vm.fd >= 0);
	ensure(cpu_model_create(model, o->kvm.supported, &o->vm.cpuid, &o->vm.abi_cpu) == 0);
	ensure(mem_create(&o->vm.mem, SCENARIO_RAM, MEM_HUGE_NEVER) == 0);
	ensure(vcpu_create(&o->vm.vcpu, &o->vm) == 0);
	set_slot(o, SCENARIO_RAM);
	start_alarms();
}

uint8_t *oracle_ram(struct oracle *o)
{
	return mem_at(&o->vm.mem, 0, SCENARIO_RAM, MEM_WRITE);
}

bool outcome_access(struct outcome *out, struct access *a)
{
	if (access_is_read(a->kind))
		a->value = scenario_device_value(out->accesses, a->size);
	if (out->accesses < OUTCOME_ACCESSES)
		out->access[out->accesses] = *a;
	return ++out->accesses < OUTCOME_ACCESSES;
}

/*
 * A host without nested paging may hold translations of the last scenario: without their slot they are gone. With it they are
 * kept, for a page that is missing while an event is being delivered has KVM inject the event anew, and the CPU then
 * forgets what it was delivering.
 */
static void renew_slot(struct oracle *o)
{
	if (o->nested)
		return;
	set_slot(o, 0);
	set_slot(o, SCENARIO_RAM);
}

/* Returns false when that is too much of it. */
static bool on_port(struct kvm_run *run, struct outcome *out)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool more = true;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		struct access a = {.kind = run->io.direction == KVM_EXIT_IO_IN ? ACCESS_PORT_READ : ACCESS_PORT_WRITE,
				   .size = run->io.size, .addr = run->io.port};

		if (a.kind == ACCESS_PORT_WRITE)
			memcpy(&a.value, data, a.size);
		more &= outcome_access(out, &a);
		memcpy(data, &a.value, a.size);
	}
	return more;
}

static void on_mmio(struct kvm_run *run, struct outcome *out)
{
	struct access a = {.kind = run->mmio.is_write ? ACCESS_MMIO_WRITE : ACCESS_MMIO_READ,
			   .size = (uint8_t)run->mmio.len, .addr = run->mmio.phys_addr};

	if (run->mmio.is_write)
		memcpy(&a.value, run->mmio.data, a.size);
	outcome_access(out, &a);
	memcpy(run->mmio.data, &a.value, a.size);
}

/* Returns true when the scenario has ended. */
static bool on_exit_of_guest(struct kvm_run *run, struct outcome *out)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		out->end = OUTCOME_ENDLESS;
		return !on_port(run, out);
	case KVM_EXIT_MMIO:
		on_mmio(run, out);
		out->end = OUTCOME_STORE;
		return run->mmio.is_write && run->mmio.phys_addr == SCENARIO_DEVICE_GPA;
	case KVM_EXIT_HLT:
		out->end = OUTCOME_HALTED;
		return true;
	case KVM_EXIT_SHUTDOWN:
		out->end = OUTCOME_SHUTDOWN;
		return true;
	default:
		out->end = OUTCOME_REFUSED;
		return true;
	}
}

static uint64_t used_ns(void)
{
	struct timespec t;

	ensure(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void run_to_end(struct vcpu *v, struct outcome *out)
{
	uint64_t start = used_ns();
	unsigned int alarms = 0;
	int r;

	do {
		r = kvm_run(v->fd);
		if (r == -EINTR && (used_ns() - start > ENDLESS_NS || ++alarms > ALARMS_MAX)) {
			out->end = OUTCOME_ENDLESS;
			return;
		}
		ensure(r == 0 || r == -EINTR);
	} while (r == -EINTR || !on_exit_of_guest(v->run, out));
}

/* Whatever is half done inside KVM. */
static void complete(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	kvm_run(v->fd);
	v->run->immediate_exit = 0;
}

/* KVM keeps the guest's TLB where neither CR3 nor CR4.PGE changes, and this is another guest each time. */
static void flush_tlb(struct vcpu *v, const struct cpu_state *cs)
{
	struct cpu_state other = *cs;

	other.cr4 ^= CR4_PGE;
	ensure(vcpu_set_parts(v, &other, VCPU_SREGS) == 0);
}

void oracle_run(struct oracle *o, const struct scenario *s, struct outcome *out)
{
	struct vcpu *v = &o->vm.vcpu;

	out->accesses = 0;
	renew_slot(o);
	flush_tlb(v, &s->cs);
	ensure(vcpu_set_state(v, &s->cs) == 0);
	if (s->interrupt >= 0)
		ensure(kvm_interrupt(v->fd, (unsigned int)s->interrupt) == 0);
	run_to_end(v, out);
	complete(v);
	ensure(vcpu_get_state(v, &out->cs) == 0);
}
