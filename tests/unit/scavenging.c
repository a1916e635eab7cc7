/*
 * What a run does with a scavenger (vmm/scavenging.h), by one that only notes what it is told, and VMs that are none: the order of
 * things, also where something fails on the way; requests; statistics.
 */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/capture.h"
#include "tests/vm/suite.h"
#include "vmm/control_request.h"
#include "vmm/fleet.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/run.h"
#include "vmm/run_options.h"
#include "vmm/scavenging.h"
#include "vmm/stats.h"

int __wrap_vm_create(struct vm *vm, const struct vm_config *config);
void __wrap_vm_destroy(struct vm *vm);
void __wrap_run_vm(struct vm *vm);
void __wrap_vcpu_close_mailbox(struct vcpu *v);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

static const struct mmu_ops mode = {.name = "mode"};
static const struct mmu_ops *const modes[] = {&mode, NULL};
static const struct program program = {.mmus = modes, .host_mmu = "none"};

static struct {
	char told[400];
	int start, add, thread, turn; /* what fails: a negative errno */
	unsigned int add_at, thread_at;
	_Atomic unsigned int cared; /* bit n: VM n is in its care */
	_Atomic bool alone;	    /* a guest ran that is not */
} world;

/* All of it happens on the fleet's thread. */
static void note(const char *what, unsigned int n)
{
	size_t used = strlen(world.told);

	snprintf(world.told + used, sizeof(world.told) - used, "%s%s%u", used ? " " : "", what, n);
}

int __wrap_vm_create(struct vm *vm, const struct vm_config *config)
{
	*vm = (struct vm){.number = config->number, .mmu = &mode, .end.kind = VM_EXITED};
	note("create", vm->number);
	return 0;
}

void __wrap_vm_destroy(struct vm *vm)
{
	note("destroy", vm->number);
}

void __wrap_run_vm(struct vm *vm)
{
	if (!(world.cared & 1u << vm->number))
		world.alone = true;
}

void __wrap_vcpu_close_mailbox(struct vcpu *v)
{
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	const struct fleet_member *m = arg;

	return world.thread && m->vm.number == world.thread_at ? -world.thread : __real_pthread_create(thread, attr, run, arg);
}

static int start(void **s, const struct scavenge_options *o)
{
	*s = &world;
	note("start", o->cpu_percent);
	return world.start ? log_errno(-world.start, "scavenger") : 0;
}

static int add(void *s, struct vm *vm)
{
	ck_assert_ptr_eq(s, &world);
	note("add", vm->number);
	if (world.add && vm->number == world.add_at)
		return log_errno(-world.add, "RAM");
	world.cared |= 1u << vm->number;
	return 0;
}

static int turn(void *s, bool on)
{
	ck_assert_ptr_eq(s, &world);
	note("turn", on);
	return world.turn;
}

static json_t *stats(void *s, const struct vm *vm)
{
	ck_assert(world.cared & 1u << vm->number);
	if (vm->number == 2)
		return NULL;
	return json_pack("{s:s, s:i, s:i, s:i}", "state", "on", "scanned", (int)vm->number + 5, "saved_kib", -7, "median_ns", 900);
}

static void leave(void *s, struct vm *vm)
{
	ck_assert(world.cared & 1u << vm->number);
	world.cared &= ~(1u << vm->number);
	note("remove", vm->number);
}

static void stop(void *s)
{
	note("stop", 0);
}

static const struct scavenging ops = {.start = start, .add = add, .turn = turn, .stats = stats, .remove = leave, .stop = stop};
static const struct scavenge_options options = {.cpu_percent = 33};

/* As a run does it. Returns what launching returned. */
static int launch(struct fleet *f, unsigned int count)
{
	int r = fleet_scavenge(f, &ops, &options);

	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = fleet_launch(f, (struct vm_config){0});
	fleet_wait(f);
	return r;
}

static void check_run(unsigned int count, int error, const char *told, const char *said)
{
	struct capture c;
	struct fleet f;

	ck_assert_int_eq(fleet_init(&f, count, -1, 0), 0);
	capture_begin(&c);
	ck_assert_int_eq(launch(&f, count), error);
	fleet_destroy(&f);
	capture_end(&c);
	ck_assert_str_eq(world.told, told);
	ck_assert(!world.alone && !world.cared);
	if (said)
		assert_one_line(c.text, said);
	else
		ck_assert_str_eq(c.text, "");
}

START_TEST(test_order)
{
	check_run(2, 0, "start33 create0 add0 create1 add1 remove0 destroy0 remove1 destroy1 stop0", NULL);
}
END_TEST

START_TEST(test_does_not_start)
{
	world.start = -ENOMEM;
	check_run(2, -ENOMEM, "start33", "scavenger: Cannot allocate memory");
}
END_TEST

START_TEST(test_guest_is_refused)
{
	world.add = -ENOMEM;
	world.add_at = 1;
	check_run(3, -ENOMEM, "start33 create0 add0 create1 add1 destroy1 remove0 destroy0 stop0", "RAM: Cannot allocate memory");
}
END_TEST

START_TEST(test_guest_has_no_thread)
{
	world.thread = -EAGAIN;
	world.thread_at = 1;
	check_run(3, -EAGAIN, "start33 create0 add0 create1 add1 remove1 destroy1 remove0 destroy0 stop0", "thread of VM 1");
}
END_TEST

static void check_request(struct fleet *f, const char *text, const char *wanted)
{
	struct control_request *r;
	const char *error;
	char line[64], *said;
	json_t *answer;

	strcpy(line, text);
	r = control_request_start(line, f, &program, &error);
	ck_assert(!r || control_request_done(r));
	answer = r ? control_request_answer(r) : control_request_failure(error);
	said = json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);
	ck_assert_msg(!strcmp(said, wanted), "'%s' is answered by %s", text, said);
	free(said);
	json_decref(answer);
	control_request_free(r);
}

#define UNKNOWN "{\"ok\":false,\"error\":\"no such request; `penumbra ctl --help` lists them\"}"

START_TEST(test_requests)
{
	struct fleet f = {.scavenging = &ops, .scavenger = &world};

	check_request(&f, "scavenge on", "{\"ok\":true}");
	check_request(&f, " scavenge  off\r", "{\"ok\":true}");
	check_request(&f, "scavenge", UNKNOWN);
	check_request(&f, "scavenge on off", UNKNOWN);
	check_request(&f, "scavenge On", "{\"ok\":false,\"error\":\"scavenge takes on or off\"}");
	ck_assert_str_eq(world.told, "turn1 turn0");
	world.turn = -EIO;
	check_request(&f, "scavenge on", "{\"ok\":false,\"error\":\"Input/output error\"}");
	f.scavenging = NULL;
	check_request(&f, "scavenge maybe", "{\"ok\":false,\"error\":\"scavenge takes on or off\"}");
	check_request(&f, "scavenge off",
		      "{\"ok\":false,\"error\":\"this run has no scavenger: start it with --scavenge, or --scavenge=off\"}");
}
END_TEST

/* Of a run of so many guests. */
static json_t *stats_of(unsigned int count)
{
	struct run_options o = {.image = "image", .mmu = &mode, .stats = "text"};
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);
	struct fleet f;
	json_t *root;

	ck_assert_int_eq(fleet_init(&f, count, -1, 0), 0);
	ck_assert_int_eq(launch(&f, count), 0);
	ck_assert_int_eq(stats_write(out, &f, &program, &o), 0);
	fleet_destroy(&f);
	fclose(out);
	root = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(root);
	free(text);
	return root;
}

static void check_scavenger(const json_t *of, const char *wanted)
{
	json_t *object = json_object_get(of, "scavenger"), *expected = json_loads(wanted, 0, NULL);

	ck_assert(json_equal(object, expected));
	json_decref(expected);
}

START_TEST(test_stats)
{
	json_t *root = stats_of(1);

	check_scavenger(root, "{\"state\":\"on\", \"scanned\":5, \"saved_kib\":-7, \"median_ns\":900}");
	json_decref(root);
	root = stats_of(3);
	check_scavenger(root, "{\"scanned\":11, \"saved_kib\":-14}");
	check_scavenger(json_array_get(json_object_get(root, "guests"), 1),
			"{\"state\":\"on\", \"scanned\":6, \"saved_kib\":-7, \"median_ns\":900}");
	ck_assert_ptr_null(json_object_get(json_array_get(json_object_get(root, "guests"), 2), "scavenger"));
	json_decref(root);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_order,	test_does_not_start, test_guest_is_refused, test_guest_has_no_thread,
				      test_requests, test_stats};

	return RUN_TESTS("scavenging", tests);
}
