#include "tests/vm/neighbours.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/inside.h"
#include "vmm/fleet.h"

struct crowd {
	const struct neighbour *neighbours;
	size_t count;
	struct fleet fleet;
};

static void check_one(const struct neighbour *n, const struct inside_guest *g, const struct vm_end *end)
{
	char *out = inside_output(g);
	const char *where = n->kind == VM_EXITED ? out : end->reason;

	ck_assert_msg(end->kind == n->kind, "%s: %s: %s; said '%s'", n->words, vm_end_name(end->kind), end->reason, out);
	ck_assert_str_eq(vm_end_whose(end->kind), "guest");
	if (n->check) {
		n->check(n->words, out, end->code);
	} else {
		ck_assert_msg(strstr(where, n->text), "%s: '%s' is not in '%s'", n->words, n->text, where);
		ck_assert_int_eq(end->code, n->code);
	}
	free(out);
}

/* However slow the host is, those that end get their time. */
static void *end_the_endless(void *arg)
{
	struct crowd *c = arg;

	for (size_t i = 0; i < c->count; i++) {
		while (c->neighbours[i].kind != VM_TIMED_OUT && !atomic_load(&c->fleet.members[i].finished))
			usleep(5000);
	}
	for (size_t i = 0; i < c->count; i++) {
		if (c->neighbours[i].kind == VM_TIMED_OUT)
			vm_ask_end(&c->fleet.members[i].vm, VM_TIMED_OUT);
	}
	return NULL;
}

void check_neighbours(const struct neighbour *n, size_t count)
{
	struct inside_guest *guests = calloc(count, sizeof(*guests));
	struct crowd crowd = {.neighbours = n, .count = count};
	pthread_t thread;
	struct kvm kvm;

	ck_assert_ptr_nonnull(guests);
	inside_open(&kvm);
	ck_assert_int_eq(fleet_init(&crowd.fleet, (unsigned int)count, -1, 0), 0);
	for (size_t i = 0; i < count; i++) {
		inside_guest_open(&guests[i], &kvm, n[i].words);
		ck_assert_int_eq(fleet_launch(&crowd.fleet, guests[i].config), 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, end_the_endless, &crowd), 0);
	fleet_wait(&crowd.fleet);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < count; i++)
		check_one(&n[i], &guests[i], &crowd.fleet.members[i].vm.end);
	fleet_destroy(&crowd.fleet);
	for (size_t i = 0; i < count; i++)
		inside_guest_close(&guests[i]);
	kvm_close(&kvm);
	free(guests);
}
