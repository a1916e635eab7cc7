/*
 * A running guest changes its MMU mode a thousand times at random moments, while it checks its own memory, registers, page
 * tables and accesses and takes timer interrupts. Around every change the state exported from one mode must be the state
 * exported from the other, and the guest's output must be that of a guest left alone.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/fleet.h"
#include "vmm/image.h"
#include "vmm/kvm.h"

#define RAM (64ull << 20)
#define MAX_PAUSE_US 1500
#define OUTPUT_MAX 65536

static const struct {
	const char *image, *arguments;
} trials[] = {
	{ "clock", "500 100" },
	{ "memory", "zero=64 dup=64 similar=64 unique=64 hot=32 cold=32 rounds=80" },
	{ "procs", "40" },
	{ "accesses", "200" },
	{ "compute", "300" },
};

#define TRIALS (sizeof(trials) / sizeof(*trials))
#define TRIALS_MORE (5 * TRIALS) /* at most, for a thousand changes */
#define FLIPS_EACH 20u
#define FLIPS_MOST effort(500, 250) /* then the guest is left alone to end */
#define LIMIT_MS 400000u
#define FLIPS_IN_ALL 1000u

static struct kvm kvm;

/* What one change of mode found; filled on the vCPU's thread. */
struct flip {
	struct vcpu_work work;
	struct cpu_state before, after;
	sem_t done;
	int error;
	bool changed;
	const char *difference;
};

static bool same_segment(const struct cpu_segment *a, const struct cpu_segment *b)
{
	if (a->selector != b->selector || a->base != b->base)
		return false;
	/* A null segment has no limit or type worth the name. */
	if (!(a->attributes & CPU_SEGMENT_PRESENT) && !(b->attributes & CPU_SEGMENT_PRESENT))
		return true;
	return a->limit == b->limit && a->attributes == b->attributes;
}

static bool same_event(const struct cpu_event *a, const struct cpu_event *b)
{
	return a->valid == b->valid && (!a->valid || (a->vector == b->vector && a->error == b->error));
}

/* Names the first part that differs, NULL if none does. The time stamp counter runs on. */
static const char *difference(const struct cpu_state *a, const struct cpu_state *b)
{
	if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)))
		return "general registers";
	if (a->rip != b->rip)
		return "RIP";
	if (a->rflags != b->rflags)
		return "RFLAGS";
	for (int i = 0; i < CPU_SEGMENT_COUNT; i++)
		if (!same_segment(&a->segment[i], &b->segment[i]))
			return "segments";
	if (a->gdt.base != b->gdt.base || a->gdt.limit != b->gdt.limit || a->idt.base != b->idt.base ||
	    a->idt.limit != b->idt.limit)
		return "GDT or IDT";
	if (a->cr0 != b->cr0 || a->cr2 != b->cr2 || a->cr3 != b->cr3 || a->cr4 != b->cr4 || a->cr8 != b->cr8)
		return "control registers";
	if (a->efer != b->efer)
		return "EFER";
	if (memcmp(a->msr, b->msr, CPU_MSR_TSC * sizeof(a->msr[0])))
		return "MSRs";
	if (memcmp(a->dr, b->dr, sizeof(a->dr)) || a->dr6 != b->dr6 || a->dr7 != b->dr7)
		return "debug registers";
	if (!same_event(&a->exception, &b->exception) || !same_event(&a->interrupt, &b->interrupt))
		return "pending events";
	if (a->interrupt_shadow != b->interrupt_shadow || a->halted != b->halted)
		return "interrupt shadow or HLT";
	return memcmp(a->xsave + 160, b->xsave + 160, 256) ? "XMM registers" : NULL;
}

static int change(struct flip *f, struct vm *vm)
{
	const struct mmu_ops *to = vm->mmu == &ept_mmu ? &shadow_mmu : &ept_mmu;
	int r = vcpu_drain(&vm->vcpu);

	if (r == 0)
		r = vm->mmu->export_state(&vm->vcpu, &f->before);
	if (r < 0 || vm_ended(vm))
		return r;
	r = vm_change_mmu(vm, to);
	if (r == 0)
		r = vm->mmu->export_state(&vm->vcpu, &f->after);
	f->changed = r == 0;
	return r;
}

static void run_flip(struct vcpu_work *w, struct vm *vm)
{
	struct flip *f = (struct flip *)w;

	f->changed = false;
	f->difference = NULL;
	f->error = vm_ended(vm) ? 0 : change(f, vm);
	if (f->changed)
		f->difference = difference(&f->before, &f->after);
	sem_post(&f->done);
}

/* A thread that flips until the guest has ended. */
struct flipper {
	struct fleet *fleet;
	struct random random;
	unsigned int flips;
	const char *complaint;
};

static void *flip_until_end(void *arg)
{
	struct flipper *fl = arg;
	struct vm *vm = &fl->fleet->members[0].vm;
	struct flip *f = calloc(1, sizeof(*f));

	sem_init(&f->done, 0, 0);
	f->work.run = run_flip;
	while (!fl->complaint && fl->flips < FLIPS_MOST) {
		usleep((useconds_t)random_below(&fl->random, MAX_PAUSE_US));
		if (!vcpu_post(&vm->vcpu, &f->work))
			break;
		sem_wait(&f->done);
		fl->flips += f->changed;
		fl->complaint = f->error ? "a change of mode failed" : f->difference;
	}
	free(f);
	return NULL;
}

static void read_back(int fd, char *text)
{
	ssize_t n = pread(fd, text, OUTPUT_MAX - 1, 0);

	ck_assert_int_ge((int)n, 0);
	text[n] = '\0';
}

/* Runs an image to its end, flipping if fl is given. Returns the guest's exit status. */
static int run_guest(const char *name, const char *arguments, struct flipper *fl, char *output)
{
	char path[512];
	struct image image;
	struct fleet fleet;
	int out = memfd_create("console", MFD_CLOEXEC), status;
	struct vm_config config = { .kvm = &kvm, .mmu = &ept_mmu, .image = &image, .cmdline = arguments, .mem = RAM,
				    .console.fd = out };
	pthread_t thread;

	snprintf(path, sizeof(path), "%s/guest/%s", getenv("PENUMBRA_BUILD"), name);
	ck_assert_int_eq(image_open(&image, path), 0);
	ck_assert_int_eq(fleet_init(&fleet, 1, -1, LIMIT_MS), 0);
	ck_assert_int_eq(fleet_launch(&fleet, config), 0);
	if (fl) {
		fl->fleet = &fleet;
		ck_assert_int_eq(pthread_create(&thread, NULL, flip_until_end, fl), 0);
	}
	fleet_wait(&fleet);
	if (fl)
		pthread_join(thread, NULL);
	read_back(out, output);
	status = vm_end_status(&fleet.members[0].vm.end);
	if (status)
		fprintf(stderr, "%s: %s\n%s\n", name, fleet.members[0].vm.end.reason, output);
	fleet_destroy(&fleet);
	image_close(&image);
	close(out);
	return status;
}

static unsigned int flips_so_far;
static char alone[OUTPUT_MAX], flipped[OUTPUT_MAX];

static void try_flips(int n)
{
	struct flipper fl = { .random = random_start(trials[n].image) };

	ck_assert_int_eq(run_guest(trials[n].image, trials[n].arguments, NULL, alone), 0);
	ck_assert_int_eq(run_guest(trials[n].image, trials[n].arguments, &fl, flipped), 0);
	printf("%s: %u changes of mode\n", trials[n].image, fl.flips);
	ck_assert_msg(!fl.complaint, "change %u: %s", fl.flips, fl.complaint);
	ck_assert_str_eq(flipped, alone);
	ck_assert_uint_ge(fl.flips, FLIPS_EACH);
	flips_so_far += fl.flips;
}

START_TEST(flips_are_not_felt)
{
	try_flips(_i);
}
END_TEST

/* How often a guest is met depends on what else the host has to do. */
START_TEST(a_thousand_in_all)
{
	for (int n = 0; n < (int)TRIALS_MORE && flips_so_far < FLIPS_IN_ALL; n++)
		try_flips(n % (int)TRIALS);
	ck_assert_uint_ge(flips_so_far, FLIPS_IN_ALL);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("flips");
	int status;

	if (kvm_open(&kvm) < 0 || vcpu_init_process() < 0)
		return EXIT_FAILURE;
	/* One process: the handle on KVM is made once. */
	setenv("CK_FORK", "no", 1);
	tcase_set_timeout(tcase, 900);
	tcase_add_loop_test(tcase, flips_are_not_felt, 0, (int)TRIALS);
	tcase_add_test(tcase, a_thousand_in_all);
	status = run_case("flips", tcase);
	kvm_close(&kvm);
	return status;
}
