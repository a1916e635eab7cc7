/*
 * Guests that misbehave: each ends for its own first reason, with its own exit status, and takes nobody with it. Alone by
 * the command line, and together in one process with guests that behave.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ept/host_mmu.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/fleet.h"

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

static void check_alone(const struct misdeed *m)
{
	bool other;
	struct outcome o;
	char line[100];

	/* Short for those that never end, long enough for those that do. */
	snprintf(line, sizeof(line), "run --timeout %s @hostile -- %s", m->status == 126 ? "3" : "100", m->name);
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

struct neighbour {
	const char *words;
	enum vm_end_kind kind; /* VM_RUNNING: no matter */
	const char *text;      /* what it prints, or a part of the reason */
};

/* Good ones between bad ones; those that never end are ended when all others have. */
static const struct neighbour neighbours[] = {
	{"hello", VM_EXITED, "hello, world\n"},
	{"hostile triple-fault", VM_KILLED, TRIPLE},
	{"procs", VM_EXITED, "procs: all good\n"},
	{"hostile endless-cli", VM_TIMED_OUT, "in time"},
	{"clock 10", VM_EXITED, "clock: 10 ticks at 100 Hz, 3 spinning threads all got on\n"},
	{"hostile out-of-range", VM_KILLED, "no RAM and no device"},
	{"hostile console-flood 20000", VM_EXITED, "abcdefghijklmnopqrstuvwxyzABCDEFGH"},
	{"memory rounds=1", VM_EXITED, "memory: all good\n"},
	{"hostile corrupt-tables", VM_KILLED, ""},
	{"hostile interrupt-storm 50", VM_EXITED, "survived the storm\n"},
	{"compute 5", VM_EXITED, "compute: integer 5 rounds"},
	{"hostile jump-device", VM_KILLED, ""},
	{"hostile pit-garbage", VM_EXITED, "survived garbage in the PIT\n"},
	{"hostile hlt-forever", VM_KILLED, "interrupts off"},
	{"accesses 3", VM_EXITED, "accesses: 3 rounds"},
	{"hostile idt-nowhere", VM_KILLED, TRIPLE},
	{"hello 77", VM_EXITED, "hello, world: 77\n"},
	{"hostile div-loop", VM_TIMED_OUT, "in time"},
	{"frames", VM_EXITED, "timer interrupt:"},
};

#define NEIGHBOURS (sizeof(neighbours) / sizeof(*neighbours))

static void check_neighbour(const struct neighbour *n, const struct inside_guest *g, const struct vm_end *end)
{
	char *out = inside_output(g);
	const char *where = n->kind == VM_EXITED ? out : end->reason;

	ck_assert_msg(end->kind == n->kind, "%s: %s: %s; said '%s'", n->words, vm_end_name(end->kind), end->reason, out);
	ck_assert_msg(strstr(where, n->text), "%s: '%s' is not in '%s'", n->words, n->text, where);
	ck_assert_int_eq(end->code, !strcmp(n->words, "hello 77") ? 77 : 0);
	ck_assert_str_eq(vm_end_whose(end->kind), "guest");
	free(out);
}

/* Ends those that never end, when all others have: however slow the host is, the others get their time. */
static void *end_the_endless(void *arg)
{
	struct fleet *f = arg;

	for (size_t i = 0; i < NEIGHBOURS; i++) {
		while (neighbours[i].kind != VM_TIMED_OUT && !atomic_load(&f->members[i].finished))
			usleep(5000);
	}
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		if (neighbours[i].kind == VM_TIMED_OUT)
			vm_ask_end(&f->members[i].vm, VM_TIMED_OUT);
	}
	return NULL;
}

START_TEST(test_together)
{
	struct inside_guest guests[NEIGHBOURS];
	struct fleet fleet;
	pthread_t thread;
	struct kvm kvm;

	inside_open(&kvm);
	ck_assert_int_eq(fleet_init(&fleet, NEIGHBOURS, -1, 0), 0);
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		inside_guest_open(&guests[i], &kvm, neighbours[i].words);
		ck_assert_int_eq(fleet_launch(&fleet, guests[i].config), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, end_the_endless, &fleet), 0);
	fleet_wait(&fleet);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		check_neighbour(&neighbours[i], &guests[i], &fleet.members[i].vm.end);
	fleet_destroy(&fleet);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		inside_guest_close(&guests[i]);
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_complete, test_alone, test_host_limit, test_every_port, test_together};

	return RUN_TESTS("hostile", tests);
}
