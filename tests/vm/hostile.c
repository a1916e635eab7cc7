/*
 * Guests that misbehave: each ends for its own first reason, with its own exit status, and takes nobody with it. Alone by
 * the command line, and together in one process with guests that behave.
 */
#include <stdio.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "tests/vm/modes.h"
#include "tests/vm/neighbours.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define TRIPLE "triple fault"
#define CANNOT "instruction it cannot emulate"
#define NOT_RAM "which is not RAM" /* what the shadow mode says of the same */

struct misdeed {
	const char *name; /* of the hostile guest, and its number */
	int status;
	const char *reason; /* in what the program complains; NULL: it has nothing to complain about */
	const char *out;    /* what the guest prints in the end, NULL: no matter */
	int or_status;	    /* what some hosts make of it, with the reason `or_reason` */
	const char *or_reason;
};

/* Killed by nothing but --timeout are those that do nothing wrong but never end. */
static const struct misdeed misdeeds[] = {
	{"out-of-range", 126, "no RAM and no device", "reading where nothing is\n", 0, NULL},
	{"triple-fault", 126, TRIPLE, "", 0, NULL},
	{"stack-overflow-triple", 126, TRIPLE, "", 0, NULL},
	{"idt-nowhere", 126, TRIPLE, "", 0, NULL},
	{"jump-device", 126, CANNOT, "", 126, NOT_RAM},
	{"jump-nowhere", 126, CANNOT, "", 126, NOT_RAM},
	/* Which of the garbage comes first is the host's address width's doing. */
	{"corrupt-tables", 126, TRIPLE, NULL, 126, "no RAM and no device"},
	/* Nested paging in software tries such a walk again for ever. */
	{"cr3-nowhere", 126, TRIPLE, "", 126, "timed out"},
	/* A processor reads the GDT to deliver an exception, KVM without hardware virtualisation does not. */
	{"gdt-garbage", 126, TRIPLE, NULL, 99, NULL},
	{"hlt-forever", 126, "interrupts off", "", 0, NULL},
	{"endless-cli", 126, "timed out", "", 0, NULL},
	{"div-loop", 126, "timed out", "", 0, NULL},
	{"stack-overflow", 99, NULL, NULL, 0, NULL},
	{"bad-port 16", 0, NULL, "survived all ports\n", 0, NULL},
	{"interrupt-storm 50", 0, NULL, "survived the storm\n", 0, NULL},
	{"msr", 0, NULL,
	 "msr 00c0ffee: read refused, write refused\n"
	 "msr 7fffffff: read refused, write refused\n"
	 "msr deadbeef: read refused, write refused\n", 0, NULL},
	{"pic-garbage", 0, NULL, "survived garbage in the PIC\n", 0, NULL},
	{"pit-garbage", 0, NULL, "survived garbage in the PIT\n", 0, NULL},
	{"uart-garbage", 0, NULL, "\nsurvived garbage in the UART\n", 0, NULL},
	{"rtc-garbage", 0, NULL, "survived garbage in the real-time clock\n", 0, NULL},
};

#define MISDEEDS (sizeof(misdeeds) / sizeof(*misdeeds))

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), tail = strlen(end);

	return size >= tail && !strcmp(text + size - tail, end);
}

static bool said(const struct outcome *o, int status, const char *reason)
{
	return o->status == status && (reason ? strstr(o->err.data, reason) != NULL : o->err.size == 0);
}

static bool may_time_out(const struct misdeed *m)
{
	return (m->reason && !strcmp(m->reason, "timed out")) || (m->or_reason && !strcmp(m->or_reason, "timed out"));
}

static void check_alone(const struct misdeed *m)
{
	bool other;
	struct outcome o;
	char line[100];

	snprintf(line, sizeof(line), "run --timeout %s @hostile -- %s", may_time_out(m) ? "1" : "100", m->name);
	o = spawn_line(line, "");
	other = m->or_status && said(&o, m->or_status, m->or_reason);
	ck_assert_msg(other || said(&o, m->status, m->reason), "%s: status %d, said '%s', complained '%s'", m->name,
		      o.status, o.out.data, o.err.data);
	if (o.err.size)
		assert_complaint(&o, o.status, "guest/hostile", NULL, m->name);
	if (m->out && !other)
		ck_assert_msg(*m->out ? ends_with(o.out.data, m->out) : o.out.size == 0, "%s: said '%s'", m->name,
			      o.out.data);
	outcome_free(&o);
}

START_TEST(test_alone)
{
	for (const struct misdeed *m = misdeeds; m < misdeeds + MISDEEDS; m++)
		check_alone(m);
}
END_TEST

/* The list the guest itself prints: a misdeed that is added there is missing here. */
START_TEST(test_complete)
{
	struct outcome o = spawn_line("run @hostile -- list", "");
	unsigned int lines = 0;

	ck_assert_int_eq(o.status, 0);
	for (const char *line = o.out.data; *line; line = strchr(line, '\n') + 1, lines++) {
		size_t length = strcspn(line, " ");
		bool known = !strncmp(line, "console-flood", length) || !strncmp(line, "sse-ring0", length);

		for (const struct misdeed *m = misdeeds; m < misdeeds + MISDEEDS; m++)
			known |= strcspn(m->name, " ") == length && !strncmp(m->name, line, length);
		ck_assert_msg(known, "not tested: '%.*s'", (int)length, line);
	}
	ck_assert_uint_ge(lines, MISDEEDS);
	outcome_free(&o);
}
END_TEST

/* Not the guest's fault where the host interprets ring 0 and lacks the instruction. */
START_TEST(test_host_limit)
{
	struct outcome o = spawn_line("run @hostile -- sse-ring0", "");

	if (host_mmu_detect("").ring0_interpreted && !mmu_is_shadow()) {
		printf("hostile: sse-ring0 ends with 125 here: this host's KVM interprets ring 0\n");
		assert_complaint(&o, 125, "cannot in this mode on this host", "paddd", "sse-ring0");
	} else {
		assert_outcome(&o, 0, "SSE in ring 0 works here\n", "sse-ring0");
	}
	outcome_free(&o);
}
END_TEST

/* Every seventh port, so every register of a device is met in some width. */
START_TEST(test_every_port)
{
	struct outcome o = spawn_line("run @hostile -- bad-port 7", "");

	assert_outcome(&o, 0, "survived all ports\n", "every seventh port");
	outcome_free(&o);
}
END_TEST

/* Good ones between bad ones. */
static const struct neighbour neighbours[] = {
	{"hello", VM_EXITED, "hello, world\n", 0, NULL},
	{"hostile triple-fault", VM_KILLED, TRIPLE, 0, NULL},
	{"procs", VM_EXITED, "procs: all good\n", 0, NULL},
	{"hostile endless-cli", VM_TIMED_OUT, "in time", 0, NULL},
	{"clock 10", VM_EXITED, "clock: 10 ticks at 100 Hz, 3 spinning threads all got on\n", 0, NULL},
	{"hostile out-of-range", VM_KILLED, "no RAM and no device", 0, NULL},
	{"hostile console-flood 20000", VM_EXITED, "abcdefghijklmnopqrstuvwxyzABCDEFGH", 0, NULL},
	{"memory rounds=1", VM_EXITED, "memory: all good\n", 0, NULL},
	{"hostile corrupt-tables", VM_KILLED, "", 0, NULL},
	{"hostile interrupt-storm 50", VM_EXITED, "survived the storm\n", 0, NULL},
	{"compute 5", VM_EXITED, "compute: integer 5 rounds", 0, NULL},
	{"hostile jump-device", VM_KILLED, "", 0, NULL},
	{"hostile pit-garbage", VM_EXITED, "survived garbage in the PIT\n", 0, NULL},
	{"hostile hlt-forever", VM_KILLED, "interrupts off", 0, NULL},
	{"accesses 3", VM_EXITED, "accesses: 3 rounds", 0, NULL},
	{"hostile idt-nowhere", VM_KILLED, TRIPLE, 0, NULL},
	{"hello 77", VM_EXITED, "hello, world: 77\n", 77, NULL},
	{"hostile div-loop", VM_TIMED_OUT, "in time", 0, NULL},
	{"frames", VM_EXITED, "timer interrupt:", 0, NULL},
};

START_TEST(test_together)
{
	check_neighbours(neighbours, sizeof(neighbours) / sizeof(*neighbours));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_complete, test_alone, test_host_limit, test_every_port, test_together};

	return RUN_TESTS("hostile", tests);
}
