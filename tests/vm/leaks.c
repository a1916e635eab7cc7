/*
 * Thirty guests in one process, good, hostile, and some that could not be made: afterwards the process holds what it held
 * before: descriptors, mappings, threads, timers.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/capture.h"
#include "tests/vm/inside.h"
#include "tests/vm/resources.h"
#include "tests/vm/sanitized.h"
#include "tests/vm/suite.h"
#include "vmm/fleet.h"

#define GUESTS 30

/* What a guest is, and what is done to its configuration so that it cannot be made. */
struct member {
	const char *words;
	void (*spoil)(struct vm_config *c);
};

static void too_little_ram(struct vm_config *c)
{
	c->mem = 1 << 20;
}

static void no_initrd(struct vm_config *c)
{
	c->initrd = "/nonexistent/initrd";
}

static void directory_as_initrd(struct vm_config *c)
{
	c->initrd = "/";
}

static void long_command_line(struct vm_config *c)
{
	static char line[40000];

	memset(line, 'x', sizeof(line) - 1);
	c->cmdline = line;
}

static const struct member members[] = {
	{"hello", NULL}, {"hostile triple-fault", NULL}, {"procs 2", NULL}, {"hello", too_little_ram},
	{"hostile out-of-range", NULL}, {"clock 3", NULL}, {"hello", no_initrd}, {"hostile jump-device", NULL},
	{"compute 1", NULL}, {"hello", long_command_line}, {"hostile pit-garbage 100", NULL}, {"hostile hlt-forever", NULL},
	{"hello", directory_as_initrd}, {"accesses 2", NULL}, {"hostile idt-nowhere", NULL},
};

#define MEMBERS (sizeof(members) / sizeof(*members))

static void run_all(const struct kvm *kvm)
{
	struct inside_guest guests[GUESTS];
	struct capture said;
	struct fleet fleet;

	ck_assert_int_eq(fleet_init(&fleet, GUESTS, -1, 0), 0);
	for (unsigned int i = 0; i < GUESTS; i++) {
		const struct member *m = &members[i % MEMBERS];
		int r;

		inside_guest_open(&guests[i], kvm, m->words);
		if (!m->spoil) {
			ck_assert_int_eq(fleet_launch(&fleet, guests[i].config), 0);
			continue;
		}
		m->spoil(&guests[i].config);
		capture_begin(&said);
		r = fleet_launch(&fleet, guests[i].config);
		assert_one_line(capture_end(&said), "");
		ck_assert_int_lt(r, 0);
	}
	fleet_wait(&fleet);
	for (unsigned int i = 0; i < fleet.count; i++)
		ck_assert_int_ne(fleet.members[i].vm.end.kind, VM_HOST_FAILED);
	fleet_destroy(&fleet);
	for (unsigned int i = 0; i < GUESTS; i++)
		inside_guest_close(&guests[i]);
}

START_TEST(test_leaks)
{
	struct resources before;
	struct kvm kvm;

	inside_open(&kvm);
	/* Once for what is made at first use and kept: libraries' buffers, locales. */
	run_all(&kvm);
	before = resources_now();
	for (int i = 0; i < 2; i++) {
		run_all(&kvm);
		assert_resources_back(&before, "after thirty guests");
	}
	kvm_close(&kvm);
	ck_assert_int_eq(resources_now().fds, before.fds - 1);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {test_leaks};

	resources_prepare(argv);
	if (SANITIZED)
		printf("leaks: mappings are not counted: a sanitizer maps as it likes\n");
	return RUN_TESTS("leaks", tests);
}
