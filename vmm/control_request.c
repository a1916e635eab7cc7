#include "vmm/control_request.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/ensure.h"
#include "vmm/fleet.h"
#include "vmm/program.h"
#include "vmm/stats.h"

#define BLANKS " \t\r"

/* One VM's part of a request. */
struct control_part {
	struct vcpu_work work;
	struct control_request *request;
	struct fleet_member *member;
	int error;     /* negative errno of what went wrong; -ESRCH: the guest has ended */
	json_t *stats; /* with `stats` */
};

struct control_command {
	const char *name;
	bool argument;
	bool ends;     /* asks the VMs to end before anything else: it must reach those that hang, too */
	bool ended_ok; /* makes sense for a guest that has ended */
	void (*run)(struct control_part *part, struct vm *vm); /* on the vCPU's thread */
};

struct control_request {
	const struct control_command *command;
	const struct mmu_ops *mmu; /* with `mmu` */
	struct fleet *fleet;
	atomic_uint pending; /* parts not yet carried out */
	unsigned int count;
	struct control_part part[];
};

static void run_pause(struct control_part *part, struct vm *vm)
{
	vm_pause(vm, true);
}

static void run_resume(struct control_part *part, struct vm *vm)
{
	vm_pause(vm, false);
}

static void run_stats(struct control_part *part, struct vm *vm)
{
	part->stats = stats_guest(part->member);
	part->error = part->stats ? 0 : -ENOMEM;
}

static void run_quit(struct control_part *part, struct vm *vm)
{
}

static void run_mmu(struct control_part *part, struct vm *vm)
{
	part->error = vm_change_mmu(vm, part->request->mmu);
}

static const struct control_command commands[] = {
	{.name = "pause", .run = run_pause},
	{.name = "resume", .run = run_resume},
	{.name = "stats", .run = run_stats, .ended_ok = true},
	{.name = "quit", .run = run_quit, .ended_ok = true, .ends = true},
	{.name = "mmu", .run = run_mmu, .argument = true},
};

static const char unknown[] = "no such request; known are pause, resume, stats, quit, mmu MODE";

/* Also on the fleet's thread, when the vCPU's has closed its mailbox: the guest has ended then. */
static void run_part(struct vcpu_work *w, struct vm *vm)
{
	struct control_part *part = (struct control_part *)w;
	struct control_request *r = part->request;
	struct fleet *f = r->fleet;

	if (!vm_ended(vm) || r->command->ended_ok)
		r->command->run(part, vm);
	else
		part->error = -ESRCH;
	/* Nothing of r may be touched after the count is down: the fleet's thread frees it. */
	if (atomic_fetch_sub(&r->pending, 1) == 1)
		fleet_wake(f);
}

static void start(struct control_request *r)
{
	if (r->command->ends)
		fleet_ask_end(r->fleet, VM_STOPPED);
	for (unsigned int i = 0; i < r->count; i++) {
		struct control_part *part = &r->part[i];
		struct vm *vm;

		*part = (struct control_part){.work.run = run_part, .request = r, .member = &r->fleet->members[i]};
		vm = &part->member->vm;
		if (!vcpu_post(&vm->vcpu, &part->work))
			run_part(&part->work, vm);
	}
}

static const struct control_command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static const struct mmu_ops *find_mmu(const struct program *p, const char *name)
{
	for (const struct mmu_ops *const *m = p->mmus; *m; m++)
		if (!strcmp((*m)->name, name))
			return *m;
	return NULL;
}

struct control_request *control_request_start(char *line, struct fleet *f, const struct program *p, const char **error)
{
	char *save, *name = strtok_r(line, BLANKS, &save), *argument = strtok_r(NULL, BLANKS, &save);
	const struct control_command *command = name ? find_command(name) : NULL;
	const struct mmu_ops *mmu = argument ? find_mmu(p, argument) : NULL;
	struct control_request *r;

	*error = unknown;
	if (!command || !argument != !command->argument || (argument && strtok_r(NULL, BLANKS, &save)))
		return NULL;
	*error = "no such MMU mode";
	if (argument && !mmu)
		return NULL;
	*error = "out of memory";
	r = calloc(1, sizeof(*r) + f->count * sizeof(r->part[0]));
	if (!r)
		return NULL;
	r->command = command;
	r->mmu = mmu;
	r->fleet = f;
	r->count = f->count;
	atomic_init(&r->pending, f->count);
	start(r);
	return r;
}

bool control_request_done(const struct control_request *r)
{
	return atomic_load(&r->pending) == 0;
}

void control_request_free(struct control_request *r)
{
	if (!r)
		return;
	ensure(control_request_done(r));
	for (unsigned int i = 0; i < r->count; i++)
		json_decref(r->part[i].stats);
	free(r);
}

json_t *control_request_failure(const char *error)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", error);
}

/* Guests that have ended do not spoil a request to many, unless all have. */
static int outcome(const struct control_request *r)
{
	unsigned int ended = 0;

	for (unsigned int i = 0; i < r->count; i++) {
		if (r->part[i].error == -ESRCH)
			ended++;
		else if (r->part[i].error)
			return r->part[i].error;
	}
	return ended == r->count ? -ESRCH : 0;
}

json_t *control_request_answer(const struct control_request *r)
{
	int error = outcome(r);
	json_t *guests;

	if (error)
		return control_request_failure(error == -ESRCH ? "the guest has ended" : strerror(-error));
	if (r->command->run != run_stats)
		return json_pack("{s:b}", "ok", 1);
	guests = json_array();
	for (unsigned int i = 0; i < r->count; i++)
		json_array_append(guests, r->part[i].stats);
	return json_pack("{s:b, s:o}", "ok", 1, "guests", guests);
}
