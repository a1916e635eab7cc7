/*
 * A vCPU that is stopped again and again, anywhere, loses and repeats nothing. Another thread posts work at random moments;
 * the work drains the vCPU, takes its state out, spoils it, puts it back, and does the same with the devices. What the
 * guest prints and how many accesses it has made must be as in a run that nobody disturbed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/fleet.h"
#include "vmm/state.h"
#include "vmm/virtio_mmio.h"

#define ENOUGH_KICKS effort(1000, 400)
#define SOME_KICKS effort(100, 50)
#define XMM_OFFSET 160 /* XMM0-15 in an XSAVE area (SDM vol. 1, table 13-1) */
#define XMM_BYTES 256
#define XSTATE_BV_OFFSET 512 /* which parts of the area count (13.4.2); bit 1: XMM */
#define XSTATE_SSE 2

/* One stop. `done` is raised by the vCPU's thread; the poster waits for it. */
struct stop {
	struct vcpu_work work;
	struct random *random;
	_Atomic bool done;
	bool counted;	   /* the guest was still running */
	char wrong[200];   /* what did not hold; checked on the poster's thread, where the test can fail */
};

/* Devices of a machine nobody runs. */
struct board {
	struct bus bus;
	struct clock clock;
	struct pic8259 pic;
	struct pit8254 pit;
	struct uart16550 uart;
	struct rtc rtc;
	struct abi_device abi;
	struct virtio_entropy entropy;
};

static void swallow(void *arg, uint8_t byte)
{
}

static int no_bytes(void *arg, void *bytes, size_t size)
{
	return -EIO;
}

static void board_init(struct board *b, struct mem *m)
{
	const struct virtio_place place = {.transport = &virtio_mmio, .gpa = ABI_VIRTIO_MMIO, .irq = {pic_set_irq, &b->pic, 5}};

	bus_init(&b->bus);
	clock_init(&b->clock, NULL, NULL, 0);
	pic_init(&b->pic, &b->bus);
	pit_init(&b->pit, &b->bus, &b->clock, (struct irq_line){pic_set_irq, &b->pic, 0});
	uart_init(&b->uart, &b->bus, (struct irq_line){pic_set_irq, &b->pic, 4}, swallow, NULL);
	rtc_init(&b->rtc, &b->bus, &b->clock, (struct irq_line){pic_set_irq, &b->pic, 8});
	abi_device_init(&b->abi, &b->bus, &b->clock, swallow, NULL);
	virtio_entropy_init(&b->entropy, &b->bus, &place, m, no_bytes, NULL);
}

static void flaw(struct stop *s, const char *what, const char *why)
{
	if (!*s->wrong)
		snprintf(s->wrong, sizeof(s->wrong), "%s: %s", what, why ? why : "not equal");
}

static void save_devices(struct clock *clock, struct bus *bus, struct state *s)
{
	state_save_init(s);
	clock_visit(clock, s);
	bus_visit(bus, s);
}

static void load_devices(struct stop *stop, const struct state *from, struct clock *clock, struct bus *bus)
{
	struct state s;

	state_load_init(&s, from->bytes, from->size);
	clock_visit(clock, &s);
	bus_visit(bus, &s);
	if (state_error(&s))
		flaw(stop, "loading the devices", state_error(&s));
	state_free(&s);
}

/* Saved once more, it is the same bytes. */
static void compare_devices(struct stop *stop, const struct state *with, struct clock *clock, struct bus *bus,
			    const char *what)
{
	struct state s;

	save_devices(clock, bus, &s);
	if (s.size != with->size || memcmp(s.bytes, with->bytes, s.size) != 0)
		flaw(stop, what, NULL);
	state_free(&s);
}

static void pass_devices_through(struct stop *stop, struct vm *vm)
{
	struct board fresh;
	struct state saved;

	clock_stop(&vm->clock);
	save_devices(&vm->clock, &vm->bus, &saved);
	board_init(&fresh, &vm->mem);
	load_devices(stop, &saved, &fresh.clock, &fresh.bus);
	compare_devices(stop, &saved, &fresh.clock, &fresh.bus, "fresh devices");
	bus_reset(&vm->bus);
	load_devices(stop, &saved, &vm->clock, &vm->bus);
	compare_devices(stop, &saved, &vm->clock, &vm->bus, "the same devices");
	clock_start(&vm->clock);
	vcpu_forget_timer(&vm->vcpu);
	state_free(&saved);
}

/* The state as bytes, but for the time stamp counter, which goes on by itself. */
static void save_cpu(const struct cpu_state *cs, struct state *s)
{
	struct cpu_state copy = *cs;

	copy.msr[CPU_MSR_TSC] = 0;
	state_save_init(s);
	cpu_state_visit(&copy, s);
}

static void compare_cpu(struct stop *stop, const struct cpu_state *x, const struct cpu_state *y, const char *what)
{
	struct state a, b;

	save_cpu(x, &a);
	save_cpu(y, &b);
	if (a.size != b.size || memcmp(a.bytes, b.bytes, a.size) != 0 || x->rip != y->rip || x->rflags != y->rflags)
		flaw(stop, what, NULL);
	state_free(&a);
	state_free(&b);
}

/* Something else entirely in every register that takes any value, so that an import that forgets one is seen. */
static void spoil_cpu(struct stop *stop, struct vcpu *v, const struct cpu_state *cs)
{
	struct cpu_state other = *cs, seen;

	for (int i = 0; i < CPU_GPR_COUNT; i++)
		other.gpr[i] = random_next(stop->random);
	other.rip = 0x1000;
	other.rflags = RFLAGS_ONE;
	other.cr2 = random_next(stop->random);
	for (int i = 0; i < 4; i++)
		other.dr[i] = random_below(stop->random, 1 << 30);
	for (int i = 0; i < XMM_BYTES; i++)
		other.xsave[XMM_OFFSET + i] = (uint8_t)random_next(stop->random);
	other.xsave[XSTATE_BV_OFFSET] |= XSTATE_SSE;
	other.msr[CPU_MSR_LSTAR] = random_below(stop->random, 1 << 30);
	other.msr[CPU_MSR_SFMASK] = random_below(stop->random, 1 << 20);
	other.segment[CPU_FS].base = random_below(stop->random, 1 << 30);
	other.gdt.base = random_below(stop->random, 1 << 30);
	other.halted = !cs->halted;
	other.interrupt = other.exception = (struct cpu_event){0};
	other.interrupt_shadow = false;
	if (v->vm->mmu->import_state(v, &other) < 0 || v->vm->mmu->export_state(v, &seen) < 0)
		flaw(stop, "import of other registers", "failed");
	compare_cpu(stop, &other, &seen, "other registers, imported and exported");
}

static void pass_cpu_through(struct stop *stop, struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	struct cpu_state before, after;

	if (vm->mmu->export_state(v, &before) < 0)
		flaw(stop, "export", "failed");
	spoil_cpu(stop, v, &before);
	if (vm->mmu->import_state(v, &before) < 0 || vm->mmu->export_state(v, &after) < 0)
		flaw(stop, "import and export", "failed");
	compare_cpu(stop, &before, &after, "exported state after import");
}

static void on_stop(struct vcpu_work *w, struct vm *vm)
{
	struct stop *stop = (struct stop *)w;

	if (vcpu_drain(&vm->vcpu) < 0)
		flaw(stop, "drain", "failed");
	if (!vm_ended(vm)) {
		stop->counted = true;
		pass_cpu_through(stop, vm);
		pass_devices_through(stop, vm);
	}
	atomic_store(&stop->done, true);
}

struct kicker {
	struct fleet_member *member;
	struct random *random;
	uint64_t most_ns; /* between two stops, at first */
	unsigned int enough, kicks;
	char wrong[200];
};

static void pause_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

/*
 * After enough stops the pauses grow, twice as long after as many again: after a stop all shadows are gone, and where the guest
 * needs longer to come back than the next stop lets it, it would never get on.
 */
static uint64_t most_between(const struct kicker *k)
{
	unsigned int times = k->kicks / k->enough;

	return k->most_ns << (times < 10 ? times : 10);
}

static void *kick(void *arg)
{
	struct kicker *k = arg;

	while (!*k->wrong) {
		struct stop stop = {.work.run = on_stop, .random = k->random};

		pause_ns(random_below(k->random, most_between(k)));
		if (!vcpu_post(&k->member->vm.vcpu, &stop.work))
			break;
		while (!atomic_load(&stop.done))
			pause_ns(2000);
		k->kicks += stop.counted;
		memcpy(k->wrong, stop.wrong, sizeof(k->wrong));
	}
	return NULL;
}

struct image_run {
	const char *words, *input; /* what it reads on its console, NULL = nothing */
	uint64_t most_ns;	   /* between two stops */
	bool positions;		   /* the number of its accesses is always the same */
	bool shadow_only;	   /* KVM's own shadows cannot do in direct mode what it does */
};

struct run {
	char *out;
	uint64_t position;
	unsigned int kicks;
};

/* A pipe that holds `text` and then ends; -1 without text. */
static int make_input(const char *text)
{
	int fds[2];

	if (!text)
		return -1;
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
	close(fds[1]);
	return fds[0];
}

static unsigned int enough_kicks(const struct image_run *i)
{
	return i->positions ? ENOUGH_KICKS : SOME_KICKS;
}

/* Runs an image to its end; random == NULL: undisturbed. */
static struct run run(const struct kvm *kvm, const struct image_run *i, struct random *random)
{
	struct kicker kicker = {.random = random, .most_ns = i->most_ns, .enough = enough_kicks(i)};
	struct inside_guest guest;
	struct fleet fleet;
	pthread_t thread;
	struct run r;
	int input = make_input(i->input);

	inside_guest_open(&guest, kvm, i->words);
	ck_assert_int_eq(fleet_init(&fleet, 1, input, 0), 0);
	ck_assert_int_eq(fleet_launch(&fleet, guest.config), 0);
	kicker.member = &fleet.members[0];
	if (random)
		ck_assert_int_eq(pthread_create(&thread, NULL, kick, &kicker), 0);
	fleet_wait(&fleet);
	if (random)
		pthread_join(thread, NULL);
	r = (struct run){inside_output(&guest), fleet.members[0].vm.vcpu.port.position, kicker.kicks};
	ck_assert_msg(!*kicker.wrong, "%s: after %u stops: %s", i->words, kicker.kicks, kicker.wrong);
	ck_assert_msg(fleet.members[0].vm.end.kind == VM_EXITED && fleet.members[0].vm.end.code == 0,
		      "%s: after %u stops: %s; said '%s'", i->words, kicker.kicks, fleet.members[0].vm.end.reason, r.out);
	fleet_destroy(&fleet);
	inside_guest_close(&guest);
	if (input >= 0)
		close(input);
	return r;
}

static void compare_runs(const struct image_run *i)
{
	struct random random = random_start("kicks");
	unsigned int kicks = 0, runs = 0;
	struct run calm;
	struct kvm kvm;

	inside_open(&kvm);
	calm = run(&kvm, i, NULL);
	while (kicks < enough_kicks(i)) {
		struct run r = run(&kvm, i, &random);

		ck_assert_str_eq(r.out, calm.out);
		if (i->positions)
			ck_assert_uint_eq(r.position, calm.position);
		kicks += r.kicks;
		runs++;
		free(r.out);
	}
	printf("kicks: %s: %u stops in %u runs\n", i->words, kicks, runs);
	free(calm.out);
	kvm_close(&kvm);
}

/*
 * accesses: ports and device memory in every shape, so the position must count each access once. The others take
 * interrupts at other places every time: only what is printed is the same. tablestep: stops between the steps of stores to
 * tables, which are lent to the guest meanwhile.
 */
static const struct image_run runs[] = {
	{"accesses 20", NULL, 200000, true, false},
	{"procs", NULL, 2000000, false, false},
	{"clock 30", NULL, 2000000, false, false},
	{"frames", NULL, 100000, false, false},
	{"compute sse 20", NULL, 500000, false, false},
	{"echo", "one\ntwo\nthree\nfour\nand so on, until a hundred stops have been made\n", 1000000, false, false},
	{"tablestep user", NULL, 200000, true, true},
	{"tablestep kernel", NULL, 200000, true, true},
};

START_TEST(test_kicks)
{
	if (mmu_is_shadow() || !runs[_i].shadow_only)
		compare_runs(&runs[_i]);
}
END_TEST

int main(void)
{
	return run_loop_test("kicks", test_kicks, sizeof(runs) / sizeof(*runs));
}
