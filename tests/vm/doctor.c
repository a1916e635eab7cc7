/*
 * The doctor's probes: on hosts of which we know what they do, they have to find exactly that; and whatever the tiny guest
 * does, its probe ends in time and leaves nothing behind. What the scan of shadow guests asks a host with the same guest.
 */
#include "vmm/doctor.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "shadow/scan_host.h"
#include "shadow/scan_rules.h"
#include "tests/unit/cpu_flag.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_model.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"
#include "vmm/program.h"

#define PATIENCE 3000 /* times 10 ms */

static const struct mmu_ops *const mmus[] = {&ept_mmu, NULL};

/* What was measured by other means, and is written down in docs/hosts.md; NULL: depends on the processor. */
static const struct {
	const char *name, *pvm, *shadow, *nested;
} known[] = {
	{"SSE in ring 0", "KVM refuses it", "runs", "runs"},
	{"syscall, ring 3", "jumps, but stays in ring 3", "enters ring 0", "enters ring 0"},
	{"int $4, ring 3", "is delivered", "is delivered", "is delivered"},
	{"int $0x80, ring 3", "is not delivered", "is delivered", "is delivered"},
	{"pushf, ring 3", "shows IF = 1 when it is 0", "shows IF as it is", "shows IF as it is"},
	{"cpuid, ring 3", NULL, "shows the CPU model", "shows the CPU model"},
	{"rdtsc, ring 3", "cannot be forbidden", "can be forbidden", "can be forbidden"},
	{"host edit of a PTE", "stays unseen", "stays unseen", "shows after a CR3 load"},
};

static const struct finding *find(const struct report *r, const char *name)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (!strcmp(r->list[i].name, name))
			return &r->list[i];
	ck_abort_msg("no finding about %s", name);
}

/* A KVM that runs ring 3 natively can answer CPUID itself only where the processor can fault on it. */
static bool is_cpuid_finding(const struct finding *f)
{
	return !strcmp(f->what, "shows the real CPU") || (cpu_has_flag("cpuid_fault") && !strcmp(f->what, "shows the CPU model"));
}

static void examine(struct report *r)
{
	struct host_mmu host = host_mmu_detect("");
	struct program p = {.mmus = mmus, .host_mmu = host.name, .host_mmu_words = host.words,
			    .host_mmu_nested = host.nested};
	struct doctor d = {.program = &p, .report = r, .kvm.fd = -1};

	*r = (struct report){0};
	doctor_device(&d, "/dev/kvm", "");
	ck_assert_int_ge(d.kvm.fd, 0);
	doctor_kvm(&d);
	doctor_probes(&d);
	kvm_close(&d.kvm);
	ck_assert(report_good(r));
}

START_TEST(probes_find_what_is_known)
{
	struct host_mmu host = host_mmu_detect("");
	struct report r;

	examine(&r);
	ck_assert_str_eq(find(&r, "underneath")->what, host.name);
	if (!*host.module) {
		printf("probes_find_what_is_known: nothing is known of this host\n");
		return;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		const char *want = !strcmp(host.name, "pvm-shadow") ? known[i].pvm
				   : host.nested			    ? known[i].nested
									    : known[i].shadow;
		const struct finding *f = find(&r, known[i].name);

		ck_assert_msg(want ? !strcmp(f->what, want) : is_cpuid_finding(f), "%s on %s: '%s', not '%s'", f->name, host.name, f->what, want ? want : "one of two");
		ck_assert_msg(*f->meaning, "%s means nothing", f->name);
	}
}
END_TEST

/* The scan has its own way to ask, and what it takes for granted of a native host must not depend on CPUID. */
START_TEST(scan_finds_what_is_known)
{
	struct host_mmu host = host_mmu_detect("");
	struct scan_host scan = {0};
	struct kvm k;

	ck_assert_int_eq(kvm_open(&k), 0);
	ck_assert_int_eq(scan_host_find(&k, &scan), 0);
	kvm_close(&k);
	if (*host.module)
		ck_assert_int_eq(scan.native, !strcmp(host.name, "pvm-shadow"));
}
END_TEST

/* Sanity, not speed: a number, its unit, and not out of this world. */
START_TEST(times_are_times)
{
	static const char *const names[] = {"ring-0 speed", "port exit", "ring-3 event"};
	struct report r;

	examine(&r);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct finding *f = find(&r, names[i]);
		char *unit;
		double n = strtod(f->what, &unit);

		ck_assert_msg(!strcmp(unit, " ns") || !strcmp(unit, " us"), "%s: %s", f->name, f->what);
		n *= strcmp(unit, " us") ? 1 : 1000;
		ck_assert_msg(n > (i ? 100 : 0.01) && n < 1e7, "%s: %s", f->name, f->what);
	}
}
END_TEST

struct setup {
	struct kvm kvm;
	struct kvm_cpuid2 *cpuid;
	struct probe probe;
};

static void begin(struct setup *s)
{
	uint32_t facts;

	ck_assert_int_eq(kvm_open(&s->kvm), 0);
	ck_assert_int_eq(cpu_model_create(CPU_MODEL_BASE, s->kvm.supported, &s->cpuid, &facts), 0);
	ck_assert_int_eq(probe_open(&s->probe, &s->kvm, s->cpuid), 0);
}

static void end(struct setup *s)
{
	probe_close(&s->probe);
	free(s->cpuid);
	kvm_close(&s->kvm);
}

/* Runs these bytes in place of probe_load, in ring 0 or 3; says how that ended and how long it took. */
static double misbehave(const void *code, size_t size, bool user, struct probe_result *result)
{
	struct timespec from, to;
	struct setup s;

	begin(&s);
	memcpy(s.probe.ram + PROBE_CODE + (probe_load - probe_guest), code, size);
	ck_assert_int_eq(probe_start(&s.probe, user ? probe_enter : probe_load, user ? probe_load : NULL, 0), 0);
	clock_gettime(CLOCK_MONOTONIC, &from);
	ck_assert_int_eq(probe_run(&s.probe, result), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	end(&s);
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

START_TEST(an_endless_guest_is_stopped)
{
	static const unsigned char jump_to_itself[] = {0xeb, 0xfe};

	for (int user = 0; user <= 1; user++) {
		struct probe_result result;
		double s = misbehave(jump_to_itself, sizeof(jump_to_itself), user, &result);

		ck_assert_int_eq(result.stop, PROBE_STUCK);
		ck_assert_msg(s > 0.5 && s < 100, "%f s", s);
	}
}
END_TEST

START_TEST(a_guest_that_breaks_is_told_apart)
{
	static const unsigned char halt[] = {0xf4}, read_port[] = {0xec};
	/* A null IDT and an undefined instruction: a triple fault. */
	static const unsigned char no_idt[] = {0x31, 0xc0, 0x50, 0x50, 0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b};
	struct probe_result result;

	misbehave(halt, sizeof(halt), false, &result);
	ck_assert_int_eq(result.stop, PROBE_BROKE);
	ck_assert_uint_eq(result.exit, KVM_EXIT_HLT);
	misbehave(halt, sizeof(halt), true, &result);
	ck_assert_int_eq(result.stop, PROBE_EVENT);
	ck_assert_uint_eq(result.vector, 13);
	misbehave(read_port, sizeof(read_port), false, &result);
	ck_assert_int_eq(result.stop, PROBE_BROKE);
	misbehave(no_idt, sizeof(no_idt), false, &result);
	ck_assert_int_eq(result.stop, PROBE_BROKE);
	ck_assert_uint_eq(result.exit, KVM_EXIT_SHUTDOWN);
}
END_TEST

static unsigned int entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned int maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(f);
	for (int c = fgetc(f); c != EOF; c = fgetc(f))
		n += c == '\n';
	fclose(f);
	return n;
}

START_TEST(nothing_is_left_behind)
{
	unsigned int fds, before;
	struct report r;

	examine(&r); /* what is made once is made now */
	fds = entries("/proc/self/fd");
	before = maps();
	for (int i = 0; i < 3; i++)
		examine(&r);
	ck_assert_uint_eq(entries("/proc/self/fd"), fds);
	ck_assert_uint_le(maps(), before + 1); /* the heap may grow a map */
	/* The kernel's own threads end a moment after their VM. */
	for (int i = 0; i < PATIENCE && entries("/proc/self/task") > 3; i++)
		usleep(10000);
	ck_assert_uint_eq(entries("/proc/self/task"), 3);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {probes_find_what_is_known, scan_finds_what_is_known,   times_are_times,	  an_endless_guest_is_stopped,
				      a_guest_that_breaks_is_told_apart, nothing_is_left_behind};

	return RUN_TESTS("doctor", tests);
}
