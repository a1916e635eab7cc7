/*
 * Bad page tables, descriptor tables and stacks, by the image badtables. It checks for itself that what it sees is what a
 * processor shows; here its lines are read, what a host is known to do otherwise in direct mode is excused line by line,
 * and the guests that have to end do so for the right reason. Then together, among guests that behave: those notice nothing.
 */
#include <stdio.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/neighbours.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Where a deviation is known. */
#define SHADOW 1u
#define INTERPRETED 2u /* direct, KVM without hardware virtualisation: its emulator delivers events */
#define KVM_SHADOW 4u  /* direct, KVM's own shadow paging */
#define NESTED 8u      /* direct, nested paging, in the lab: QEMU 7.2's processor */

static unsigned int where(void)
{
	const struct host_mmu host = host_mmu_detect("");

	if (mmu_is_shadow())
		return SHADOW;
	if (host.ring0_interpreted)
		return INTERPRETED;
	if (!strcmp(host.name, "kvm-shadow"))
		return KVM_SHADOW;
	return host.nested && in_lab() ? NESTED : 0;
}

/* Parts of a line `BAD CASE: GOT, not WANT`; "" is part of any. */
struct excuse {
	unsigned int where;
	const char *in_case, *got, *want;
};

static const struct excuse excuses[] = {
	/* Our contract (docs/shadow-guests.md): what the guest's tables map there is not seen. */
	{SHADOW, "mapped in slot 256", "page fault", "fine"},
	/* That slot is the host's own there, too, mapped and not for ring 3. */
	{INTERPRETED, "at ffff8000", "page fault", "page fault"},
	{INTERPRETED, "mapped in slot 256, ring 3", "page fault", "fine"},
	/* A fault while the emulator delivers an event is a double fault, whatever it is, and leaves CR2 alone. */
	{INTERPRETED, "", "double fault 0", "page fault"},
	{INTERPRETED, "", "double fault 0", "stack fault"},
	{INTERPRETED, "", "CR2 ", ""},
	/* It knows neither the limit of the TSS nor accessed bits of segments, and a fault of IRETQ is a #GP. */
	{INTERPRETED, "IST 2 beyond the TSS", "invalid opcode", "invalid TSS"},
	{INTERPRETED, "GDT in a table", "code segment afterwards", ""},
	{INTERPRETED, "IRETQ", "general protection fault 0", "page fault 0"},
	/* What it pushes into a page table of the guest is not seen by the host's shadow of that table. */
	{INTERPRETED, "stack in a table", "through the table", ""},
	/* KVM's shadow of a table follows a store of 4 bytes, if they belong to two entries, in one (is_known_detail()). */
	{INTERPRETED | KVM_SHADOW, "stores to tables", "wrong ", "0"},
	/* A page fault that KVM injects: a second fault on the way does not set CR2, and #GP with it is no double fault. */
	{KVM_SHADOW, "", "CR2 ", ""},
	{KVM_SHADOW, "IDT ends before", "general protection fault e2", "double fault 0"},
	/* QEMU's processor: LIDT and LGDT take any address, delivery sets no accessed bits and no EXT, #SS is odd. */
	{NESTED | KVM_SHADOW, "of an address that is not canonical", "fine", "general protection"},
	{NESTED | KVM_SHADOW, "GDT in a table", "code segment afterwards", ""},
	{NESTED | KVM_SHADOW, "IST 2 beyond the TSS", "invalid TSS 28", "invalid TSS 29"},
	{NESTED | KVM_SHADOW, "stack not canonical, #SS has one", "fault 0", "stack fault 1"},
	/* It says RSVD without P; tests/vm/paging.c tells why that is wrong. */
	{NESTED, "reserved bit", "page fault", "page fault"},
	{NESTED, "bit 7, level 4", "page fault", "page fault"},
	{NESTED, "low address bit", "page fault", "page fault"},
};

static bool part_of(const char *from, const char *to, const char *part)
{
	const char *at = strstr(from, part);

	return at && at + strlen(part) <= to;
}

static bool is_excused(const char *line, const char *end)
{
	const char *got = strstr(line, ": "), *want = got ? strstr(got, ", not ") : NULL;

	if (!want || want > end)
		return false;
	for (const struct excuse *e = excuses; e < excuses + COUNT(excuses); e++) {
		if ((e->where & where()) && part_of(line, got, e->in_case) && part_of(got, want, e->got) &&
		    part_of(want, end, e->want))
			return true;
	}
	return false;
}

/* Before a case of many steps that is BAD, each step that went wrong has a line. */
static bool is_known_detail(const char *line)
{
	return (where() & (INTERPRETED | KVM_SHADOW)) && (!strncmp(line, "mov 4: ", 7) || !strncmp(line, "xchg 4: ", 8));
}

/* The lines of one group, in the end the sum of them; what is not `ok` must be known. */
static void check_lines(const char *words, const char *out, int code)
{
	unsigned long cases = 0, wrong = 0, said_cases, said_wrong;
	const char *line = out, *end;

	for (; (end = strchr(line, '\n')) && strncmp(line, "badtables: ", 11); line = end + 1) {
		if (is_known_detail(line))
			continue;
		cases++;
		if (!strncmp(line, "ok ", 3))
			continue;
		wrong++;
		ck_assert_msg(!strncmp(line, "BAD ", 4) && is_excused(line, end), "%s: %.*s\n%s", words,
			      (int)(end - line), line, out);
	}
	ck_assert_msg(sscanf(line, "badtables: %lu cases, %lu wrong", &said_cases, &said_wrong) == 2, "%s: no sum: '%s'",
		      words, out);
	ck_assert_uint_eq(said_cases, cases);
	ck_assert_uint_eq(said_wrong, wrong);
	ck_assert_int_eq(code, wrong ? 1 : 0);
	ck_assert_uint_ge(cases, 1);
}

static const struct group {
	const char *name;
	bool seeded;
} groups[] = {
	{"outside", false}, {"device", false}, {"self", false},   {"monitor", false}, {"reserved", false},
	{"cr3", false},	    {"straddle", true}, {"random", true}, {"reuse", true},    {"execute", false},
	{"idt", false},	    {"gdt", false},	{"tss", false},	  {"stack", false},   {"loop", false},
};

static void check_group(const struct group *g, uint64_t seed)
{
	struct outcome o;
	char line[100];

	if (g->seeded)
		snprintf(line, sizeof(line), "run @badtables -- %s %" PRIu64, g->name, seed);
	else
		snprintf(line, sizeof(line), "run @badtables -- %s", g->name);
	o = spawn_line(line, "");
	/* MOV to CR3 with high bits is #GP on a processor; QEMU's leaves the guest with an exit that KVM does not know. */
	if (!strcmp(g->name, "cr3") && where() == NESTED) {
		assert_complaint(&o, 126, "the CPU refuses to enter this guest state", NULL, line);
	} else {
		ck_assert_msg(o.err.size == 0, "%s: complained '%s'", line, o.err.data);
		check_lines(line, o.out.data, o.status);
	}
	outcome_free(&o);
}

START_TEST(test_groups)
{
	struct random random = random_start("bad_tables");

	for (size_t i = 0; i < COUNT(groups); i++)
		check_group(&groups[i], random_next(&random));
}
END_TEST

/* Why a guest ends; a set of them where hosts differ. */
#define TRIPLE 1u
#define NOTHING_THERE 2u
#define NOT_RAM 4u
#define CANNOT 8u    /* KVM's word for it */
#define TIMED_OUT 16u
#define SURVIVED 32u

static const char *const reasons[] = {
	"triple fault", "no RAM and no device", "which is not RAM", "KVM cannot go on", "timed out",
};

struct end {
	const char *name;
	unsigned int shadow, direct; /* reasons, any of them */
};

static const struct end ends[] = {
	{"idt-not-mapped", TRIPLE, TRIPLE},
	{"idt-of-monitor", TRIPLE, TRIPLE},
	{"idt-short", TRIPLE, TRIPLE},
	/*
	 * A device that is read as an IDT has no gates; pushes to one arrive. KVM's emulator finds nothing there, and a
	 * processor under KVM comes back again and again, or in the middle of a delivery.
	 */
	{"idt-device", TRIPLE, TRIPLE | TIMED_OUT | CANNOT},
	{"idt-nowhere", NOTHING_THERE, TRIPLE | TIMED_OUT | CANNOT},
	{"gdt-not-mapped", TRIPLE, TRIPLE},
	{"tss-not-mapped", TRIPLE, TRIPLE},
	{"df-stack-not-mapped", TRIPLE, TRIPLE},
	{"df-stack-read-only", TRIPLE, TRIPLE},
	{"df-stack-of-monitor", TRIPLE, TRIPLE},
	{"df-stack-not-canonical", TRIPLE, TRIPLE},
	{"df-gate-absent", TRIPLE, TRIPLE},
	{"df-gate-not-mapped", TRIPLE, TRIPLE},
	{"df-without-stack", TRIPLE, TRIPLE},
	{"stack-device", SURVIVED, SURVIVED | TIMED_OUT | CANNOT},
	{"stack-nowhere", NOTHING_THERE, SURVIVED | TIMED_OUT | CANNOT},
	/* Nested paging in software tries such a walk again for ever. */
	{"cr3-device", TRIPLE, TRIPLE | TIMED_OUT | CANNOT},
	{"cr3-monitor", TRIPLE, TRIPLE | TIMED_OUT | CANNOT},
	{"cr3-last", TRIPLE, TRIPLE | TIMED_OUT | CANNOT},
	{"cr3-garbage", TRIPLE, TRIPLE},
	{"root-cleared", TRIPLE, TRIPLE},
	{"kernel-cleared", TRIPLE, TRIPLE},
	{"leaf-monitor-read", NOTHING_THERE, NOTHING_THERE},
	{"leaf-monitor-write", NOTHING_THERE, NOTHING_THERE},
	{"leaf-monitor-execute", NOT_RAM, CANNOT},
	{"loop-page-fault", TIMED_OUT, TIMED_OUT},
	{"loop-invalid", TIMED_OUT, TIMED_OUT},
	{"loop-stack-in-table", TIMED_OUT, TIMED_OUT},
};

static unsigned int reason_of(const struct outcome *o)
{
	if (o->status == 1)
		return !strcmp(o->out.data, "survived\n") && o->err.size == 0 ? SURVIVED : 0;
	for (unsigned int i = 0; i < COUNT(reasons) && o->status == 126; i++) {
		if (strstr(o->err.data, reasons[i]))
			return 1u << i;
	}
	return 0;
}

static void check_end(const struct end *e)
{
	unsigned int expected = mmu_is_shadow() ? e->shadow : e->direct;
	struct outcome o;
	char line[100];

	/* Short for those that may never end, long enough for those that do. */
	snprintf(line, sizeof(line), "run --timeout %s @badtables -- %s",
		 expected == TIMED_OUT ? "1" : expected & TIMED_OUT ? "3" : "100", e->name);
	o = spawn_line(line, "");
	ck_assert_msg(reason_of(&o) & expected, "%s: status %d, said '%s', complained '%s'", e->name, o.status,
		      o.out.data, o.err.data);
	if (o.status == 126)
		assert_complaint(&o, 126, "guest/badtables", NULL, e->name);
	outcome_free(&o);
}

START_TEST(test_ends)
{
	for (size_t i = 0; i < COUNT(ends); i++)
		check_end(&ends[i]);
}
END_TEST

/* The list the guest itself prints: what is added there is missing here. */
START_TEST(test_complete)
{
	struct outcome o = spawn_line("run @badtables -- list", "");
	char expected[2000] = "";

	for (size_t i = 0; i < COUNT(groups); i++)
		snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s\n", groups[i].name);
	for (size_t i = 0; i < COUNT(ends); i++)
		snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s\n", ends[i].name);
	assert_outcome(&o, 0, expected, "list");
	outcome_free(&o);
}
END_TEST

START_TEST(test_usage)
{
	static const char *const bad[] = {"nonsense", "self x", "self 1 1", "a-word-that-is-far-too-long-to-be-a-name-of-anything"};

	for (size_t i = 0; i < COUNT(bad); i++) {
		char line[160];
		struct outcome o;

		snprintf(line, sizeof(line), "run @badtables -- %s", bad[i]);
		o = spawn_line(line, "");
		assert_outcome(&o, 2, "usage: badtables [GROUP [SEED] | END]; badtables list names them\n", bad[i]);
		outcome_free(&o);
	}
}
END_TEST

static const struct neighbour neighbours[] = {
	{"procs", VM_EXITED, "procs: all good\n", 0, NULL},
	{"badtables straddle 7", VM_EXITED, NULL, 0, check_lines},
	{"badtables loop-page-fault", VM_TIMED_OUT, "in time", 0, NULL},
	{"memory dup=200 unique=300 hot=100 rounds=3", VM_EXITED, "memory: all good\n", 0, NULL},
	{"badtables random 8", VM_EXITED, NULL, 0, check_lines},
	{"badtables root-cleared", VM_KILLED, "triple fault", 0, NULL},
	{"badtables stack", VM_EXITED, NULL, 0, check_lines},
	{"hello 77", VM_EXITED, "hello, world: 77\n", 77, NULL},
	{"badtables loop-stack-in-table", VM_TIMED_OUT, "in time", 0, NULL},
	{"badtables df-stack-of-monitor", VM_KILLED, "triple fault", 0, NULL},
	{"badtables reuse 9", VM_EXITED, NULL, 0, check_lines},
	{"badtables leaf-monitor-write", VM_KILLED, "no RAM and no device", 0, NULL},
	{"procs 3", VM_EXITED, "procs: all good\n", 0, NULL},
	{"badtables monitor", VM_EXITED, NULL, 0, check_lines},
	{"badtables cr3-garbage", VM_KILLED, "triple fault", 0, NULL},
	{"badtables self", VM_EXITED, NULL, 0, check_lines},
	{"memory similar=100 cold=200 rounds=2", VM_EXITED, "memory: all good\n", 0, NULL},
};

START_TEST(test_together)
{
	check_neighbours(neighbours, COUNT(neighbours));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_complete, test_usage, test_groups, test_ends, test_together};

	return RUN_TESTS("bad_tables", tests);
}
