#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/cpu_model.h"
#include "vmm/doctor.h"
#include "vmm/exit.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"

#define MAX_ROUNDS 1000
#define WORK_ROUNDS 20
#define TRIES 3 /* a host may be too busy for a whole second to run a probe */
#define CPUID_LEAF_NAME 0x40000000u /* of the hypervisor; probe_cpuid asks for it */
#define VECTOR_UD 6
#define VECTOR_GP 13
#define CR4_TSD (1ull << 2)
#define INTERPRETED_NS 50 /* a ring-0 instruction that takes longer than this is not run by the CPU itself */

/* What a probe needs besides its VM; `run` adds one finding. */
struct trial {
	struct report *report;
	struct probe vm;
	const char *name;
	struct kvm_cpuid2 *cpuid;
};

struct kind {
	const char *name;
	const unsigned char *entry, *user;
	uint64_t cr4;
	void (*judge)(struct trial *t, const struct probe_result *first);
};

static void add(struct trial *t, enum finding_state state, const char *what, const char *meaning)
{
	report_add(t->report, state, t->name, "%s", what);
	report_mean(t->report, "%s", meaning);
}

/* The guest did something no probe has a name for; that is a finding, too. */
static void add_surprise(struct trial *t, const struct probe_result *got)
{
	const char *exit = got->stop == PROBE_BROKE ? exit_name(got->exit) : NULL;

	if (got->stop == PROBE_EVENT)
		report_add(t->report, FINDING_NOTE, t->name, "vector %u came", got->vector);
	else if (got->stop == PROBE_STUCK)
		report_add(t->report, FINDING_NOTE, t->name, "no answer in a second");
	else
		report_add(t->report, FINDING_NOTE, t->name, "stopped: %s", exit ? exit : "KVM refused");
	report_mean(t->report, "this program has not met a host that does this; what depends on it may fail");
}

static bool get_regs(struct trial *t, struct kvm_regs *regs)
{
	return kvm_get_regs(t->vm.fd, regs) == 0;
}

static bool is_event(const struct probe_result *r, unsigned int vector)
{
	return r->stop == PROBE_EVENT && r->vector == vector;
}

static void judge_sse(struct trial *t, const struct probe_result *first)
{
	if (first->stop == PROBE_REPORTED)
		add(t, FINDING_OK, "runs", "guest kernels may be compiled with or without SSE");
	else if (first->stop == PROBE_REFUSED)
		add(t, FINDING_NOTE, "KVM refuses it", "KVM's interpreter of ring 0 knows hardly any SSE: such a guest ends "
		    "with exit status 125; compile guest kernels with -mgeneral-regs-only");
	else
		add_surprise(t, first);
}

static void judge_syscall(struct trial *t, const struct probe_result *first)
{
	if (first->stop == PROBE_REPORTED)
		add(t, FINDING_OK, "enters ring 0", "a guest may use SYSCALL; it is told so in abi.h's CPU facts");
	else if (is_event(first, VECTOR_GP))
		add(t, FINDING_NOTE, "jumps, but stays in ring 3", "a guest must not use SYSCALL here, and is told so in "
		    "abi.h's CPU facts: `int $4` works on every host");
	else
		add_surprise(t, first);
}

static void judge_int4(struct trial *t, const struct probe_result *first)
{
	if (is_event(first, 4))
		add(t, FINDING_OK, "is delivered", "the portable system call of guests");
	else
		add(t, FINDING_NOTE, "is not delivered", "guests that make system calls by `int $4` fail");
}

static void judge_int80(struct trial *t, const struct probe_result *first)
{
	if (is_event(first, 0x80))
		add(t, FINDING_OK, "is delivered", "a guest may use any vector for system calls");
	else if (is_event(first, VECTOR_UD) || is_event(first, VECTOR_GP))
		add(t, FINDING_NOTE, "is not delivered", "INT n reaches a guest's kernel for n = 3 and 4 only: use `int $4`");
	else
		add_surprise(t, first);
}

static void judge_pushf(struct trial *t, const struct probe_result *first)
{
	struct kvm_regs regs;

	if (!is_event(first, VECTOR_UD) || !get_regs(t, &regs))
		add_surprise(t, first);
	else if (regs.rax & 1u << 9)
		add(t, FINDING_NOTE, "shows IF = 1 when it is 0", "code in ring 3 cannot tell whether interrupts are off");
	else
		add(t, FINDING_OK, "shows IF as it is", "as on hardware");
}

static void judge_rdtsc(struct trial *t, const struct probe_result *first)
{
	if (is_event(first, VECTOR_GP))
		add(t, FINDING_OK, "can be forbidden", "a guest kernel can hide the time stamp by CR4.TSD");
	else if (is_event(first, VECTOR_UD))
		add(t, FINDING_NOTE, "cannot be forbidden", "CR4.TSD is ignored: ring 3 always sees the real time stamp, "
		    "so a guest that reads it does not run the same twice");
	else
		add_surprise(t, first);
}

static uint32_t model_name(const struct kvm_cpuid2 *t)
{
	for (uint32_t i = 0; i < t->nent; i++)
		if (t->entries[i].function == CPUID_LEAF_NAME)
			return t->entries[i].ebx;
	return 0;
}

static void judge_cpuid(struct trial *t, const struct probe_result *first)
{
	struct kvm_regs regs;

	if (!is_event(first, VECTOR_UD) || !get_regs(t, &regs))
		add_surprise(t, first);
	else if ((uint32_t)regs.rbx == model_name(t->cpuid))
		add(t, FINDING_OK, "shows the CPU model", "as --cpu says");
	else
		add(t, FINDING_NOTE, "shows the real CPU", "--cpu holds in ring 0 only: guests should take CPU facts from "
		    "abi.h, not from CPUID");
}

/* Reads the page, has the host exchange the frame behind it, and reads again after the guest has reloaded CR3. */
static void judge_edit(struct trial *t, const struct probe_result *first)
{
	struct probe_result second = {.stop = PROBE_STUCK};
	struct kvm_regs before, after;

	if (!is_event(first, VECTOR_UD) || !get_regs(t, &before) || before.rax != 'A') {
		add_surprise(t, first);
		return;
	}
	probe_map_page(&t->vm, PROBE_FRAME_B);
	if (probe_run(&t->vm, &second) < 0 || !is_event(&second, VECTOR_UD) || !get_regs(t, &after))
		add_surprise(t, &second);
	else if (after.rax == 'B')
		add(t, FINDING_OK, "shows after a CR3 load", "the CPU walks the guest's tables as they are in memory");
	else
		add(t, FINDING_NOTE, "stays unseen", "KVM keeps a copy of the guest's tables: what changes tables of a live "
		    "guest has to do it inside the guest");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * Times in ns, ascending, from one stop of the kind of `first` to the next. Returns how many: `rounds`, or what there was
 * time for. *last is how the last one stopped.
 */
static size_t sample(struct trial *t, const struct probe_result *first, size_t rounds, uint64_t *ns,
		     struct probe_result *last)
{
	uint64_t start;
	size_t n = 0;

	*last = (struct probe_result){.stop = PROBE_STUCK};
	for (; n < rounds; n++) {
		start = now_ns();
		if (probe_run(&t->vm, last) < 0 || last->stop != first->stop || last->vector != first->vector)
			break;
		ns[n] = now_ns() - start;
	}
	qsort(ns, n, sizeof(*ns), compare);
	return n;
}

/* A time with its unit, three digits. */
static void add_time(struct trial *t, enum finding_state state, uint64_t ns, const char *meaning)
{
	if (ns < 1000)
		report_add(t->report, state, t->name, "%" PRIu64 " ns", ns);
	else
		report_add(t->report, state, t->name, "%.1f us", (double)ns / 1000);
	report_mean(t->report, "%s", meaning);
}

static void judge_cost(struct trial *t, const struct probe_result *first, const char *meaning)
{
	uint64_t ns[MAX_ROUNDS];
	struct probe_result last;
	size_t n = sample(t, first, MAX_ROUNDS, ns, &last);

	if (n && (first->stop == PROBE_REPORTED || first->stop == PROBE_EVENT))
		add_time(t, FINDING_OK, ns[n / 2], meaning);
	else
		add_surprise(t, n ? first : &last);
}

static void judge_exits(struct trial *t, const struct probe_result *first)
{
	judge_cost(t, first, "a port write of ring 0, to the program and back (median of 1000)");
}

static void judge_events(struct trial *t, const struct probe_result *first)
{
	judge_cost(t, first, "a fault in ring 3, through a ring-0 stub to the program and back (median of 1000)");
}

/*
 * The time of a port write is in it; over thousands of instructions it does not matter. The quickest round counts, because
 * a round is long enough for the host to do something else in it.
 */
static void judge_work(struct trial *t, const struct probe_result *first)
{
	uint64_t ns[WORK_ROUNDS], each;
	struct probe_result last;
	size_t n = sample(t, first, WORK_ROUNDS, ns, &last);

	if (!n || first->stop != PROBE_REPORTED) {
		add_surprise(t, n ? first : &last);
		return;
	}
	each = ns[0] / (2 * PROBE_WORK_LOOPS);
	if (each > INTERPRETED_NS)
		add_time(t, FINDING_NOTE, each, "an instruction: KVM interprets ring 0; keep guest kernels short, put work "
			 "into ring 3");
	else
		add_time(t, FINDING_OK, each, "an instruction: the CPU runs ring 0 itself");
}

static const struct kind kinds[] = {
	{"ring-0 speed", probe_work, NULL, 0, judge_work},
	{"SSE in ring 0", probe_sse, NULL, 0, judge_sse},
	{"syscall, ring 3", probe_enter, probe_syscall, 0, judge_syscall},
	{"int $4, ring 3", probe_enter, probe_int4, 0, judge_int4},
	{"int $0x80, ring 3", probe_enter, probe_int80, 0, judge_int80},
	{"pushf, ring 3", probe_enter, probe_pushf, 0, judge_pushf},
	{"cpuid, ring 3", probe_enter, probe_cpuid, 0, judge_cpuid},
	{"rdtsc, ring 3", probe_enter, probe_rdtsc, CR4_TSD, judge_rdtsc},
	{"host edit of a PTE", probe_enter, probe_load, 0, judge_edit},
	{"port exit", probe_exits, NULL, 0, judge_exits},
	{"ring-3 event", probe_enter, probe_event, 0, judge_events},
};

/* Runs it in a new VM, to be closed unless this fails, until it stops for the first time. */
static int start(struct trial *t, const struct kvm *k, const struct kind *kind, struct probe_result *first)
{
	int r = probe_open(&t->vm, k, t->cpuid);

	if (r < 0)
		return r;
	r = probe_start(&t->vm, kind->entry, kind->user, kind->cr4);
	if (r == 0)
		r = probe_run(&t->vm, first);
	if (r < 0)
		probe_close(&t->vm);
	return r;
}

static int try(struct trial *t, const struct kvm *k, const struct kind *kind)
{
	struct probe_result first;
	int r = start(t, k, kind, &first);

	for (int again = 1; r == 0 && first.stop == PROBE_STUCK && again < TRIES; again++) {
		probe_close(&t->vm);
		r = start(t, k, kind, &first);
	}
	if (r < 0)
		return r;
	kind->judge(t, &first);
	probe_close(&t->vm);
	return 0;
}

void doctor_probes(struct doctor *d)
{
	struct trial t = {.report = d->report};
	uint32_t facts;

	d->report->section = "Tiny guests, run here just now";
	if (cpu_model_create(CPU_MODEL_BASE, d->kvm.supported, &t.cpuid, &facts) < 0)
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		t.name = kinds[i].name;
		if (try(&t, &d->kvm, &kinds[i]) < 0)
			add(&t, FINDING_BAD, "the guest cannot run", "the line on standard error says what failed");
	}
	free(t.cpuid);
}
