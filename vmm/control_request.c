#include "vmm/control_request.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control_feature.h"
#include "vmm/fleet.h"
#include "vmm/program.h"
#include "vmm/scavenging.h"
#include "vmm/stats.h"

#define BLANKS " \t\r"

/* One VM's part of a request. */
struct control_part {
	struct vcpu_work work;
	struct control_request *request;
	struct fleet_member *member;
	int error;     /* negative errno of what went wrong; -ESRCH: the guest has ended */
	json_t *stats; /* with `stats` */
	struct control_job job; /* with a feature's request */
};

struct control_command {
	const char *name;
	const char *(*take)(struct control_request *r, const char *argument, const struct program *p); /* NULL: there is no argument */
	int (*act)(struct control_request *r); /* instead of run(): for the whole run at once, on the fleet's thread */
	bool ends;     /* asks the VMs to end before anything else: it must reach those that hang, too */
	bool ended_ok; /* makes sense for a guest that has ended */
	void (*run)(struct control_part *part, struct vm *vm); /* on the vCPU's thread */
};

struct control_request {
	const struct control_command *command; /* NULL: a feature's */
	const struct control_feature *feature;
	char *argument; /* with a feature's request; owned */
	const struct mmu_ops *mmu; /* with `mmu` */
	bool on;		   /* with `scavenge` */
	int error;		   /* of act() */
	struct fleet *fleet;
	pthread_mutex_t lock; /* held by who counts down until the fleet has been woken: it outlives that */
	unsigned int pending; /* parts not yet carried out */
	unsigned int count;   /* of parts */
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

/* These return what is wrong with the argument, or NULL. */
static const char *take_mmu(struct control_request *r, const char *argument, const struct program *p)
{
	r->mmu = program_find_mmu(p, argument);
	return r->mmu ? NULL : "no such MMU mode";
}

static const char *take_switch(struct control_request *r, const char *argument, const struct program *p)
{
	r->on = !strcmp(argument, "on");
	if (!r->on && strcmp(argument, "off"))
		return "scavenge takes on or off";
	return r->fleet->scavenging ? NULL : "this run has no scavenger: start it with --scavenge, or --scavenge=off";
}

static int act_scavenge(struct control_request *r)
{
	return r->fleet->scavenging->turn(r->fleet->scavenger, r->on);
}

static const struct control_command commands[] = {
	{.name = "pause", .run = run_pause},
	{.name = "resume", .run = run_resume},
	{.name = "stats", .run = run_stats, .ended_ok = true},
	{.name = "quit", .run = run_quit, .ended_ok = true, .ends = true},
	{.name = "mmu", .run = run_mmu, .take = take_mmu},
	{.name = "scavenge", .act = act_scavenge, .take = take_switch},
};

static const char unknown[] = "no such request; `penumbra ctl --help` lists them";

/* Nothing of r may be touched afterwards: the fleet's thread frees it. */
static void finish_part(struct control_request *r)
{
	pthread_mutex_lock(&r->lock);
	if (--r->pending == 0)
		fleet_wake(r->fleet);
	pthread_mutex_unlock(&r->lock);
}

static void finish_job(struct control_job *j)
{
	struct control_part *part = (struct control_part *)((char *)j - offsetof(struct control_part, job));

	finish_part(part->request);
}

/* Also on the fleet's thread, when the vCPU's has closed its mailbox: the guest has ended then. */
static void run_part(struct vcpu_work *w, struct vm *vm)
{
	struct control_part *part = (struct control_part *)w;
	struct control_request *r = part->request;

	if (r->feature && !vm_ended(vm)) {
		r->feature->run(&part->job, vm);
		return;
	}
	if (r->command && (!vm_ended(vm) || r->command->ended_ok))
		r->command->run(part, vm);
	else
		part->error = -ESRCH;
	finish_part(r);
}

static void start(struct control_request *r, const struct program *p)
{
	if (r->command && r->command->ends)
		fleet_ask_end(r->fleet, VM_STOPPED);
	if (r->command && r->command->act)
		r->error = r->command->act(r);
	for (unsigned int i = 0; i < r->count; i++) {
		struct control_part *part = &r->part[i];
		struct vm *vm;

		*part = (struct control_part){.work.run = run_part, .request = r, .member = &r->fleet->members[i],
					      .job = {.done = finish_job, .argument = r->argument, .program = p}};
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

static const struct control_feature *find_feature(const struct program *p, const char *name)
{
	for (const struct control_feature *const *f = p->requests; f && *f; f++)
		if (!strcmp((*f)->name, name))
			return *f;
	return NULL;
}

static struct control_request *make_request(struct fleet *f, unsigned int parts, const char **error)
{
	struct control_request *r = calloc(1, sizeof(*r) + parts * sizeof(r->part[0]));

	*error = "out of memory";
	if (!r)
		return NULL;
	r->fleet = f;
	r->count = r->pending = parts;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

static struct control_request *parse_feature(const struct control_feature *feature, const char *argument, struct fleet *f,
					     const char **error)
{
	struct control_request *r;

	argument += strspn(argument, BLANKS);
	*error = unknown;
	if (!*argument)
		return NULL;
	*error = "this request is not for several guests (--count)";
	if (f->count > 1)
		return NULL;
	r = make_request(f, f->count, error);
	if (!r)
		return NULL;
	r->feature = feature;
	r->argument = strdup(argument);
	if (r->argument)
		return r;
	control_request_free(r);
	return NULL;
}

static struct control_request *parse_command(const struct control_command *command, char *words, struct fleet *f,
					     const struct program *p, const char **error)
{
	char *save = words, *argument = strtok_r(NULL, BLANKS, &save);
	struct control_request *r;

	*error = unknown;
	if (!command || !argument != !command->take || (argument && strtok_r(NULL, BLANKS, &save)))
		return NULL;
	r = make_request(f, command->act ? 0 : f->count, error);
	if (!r)
		return NULL;
	r->command = command;
	*error = argument ? command->take(r, argument, p) : NULL;
	if (!*error)
		return r;
	control_request_free(r);
	return NULL;
}

struct control_request *control_request_start(char *line, struct fleet *f, const struct program *p, const char **error)
{
	char *rest, *name = strtok_r(line, BLANKS, &rest);
	const struct control_feature *feature = name ? find_feature(p, name) : NULL;
	struct control_request *r;

	if (feature)
		r = parse_feature(feature, rest, f, error);
	else
		r = parse_command(name ? find_command(name) : NULL, rest, f, p, error);
	if (r)
		start(r, p);
	return r;
}

bool control_request_done(struct control_request *r)
{
	bool done;

	pthread_mutex_lock(&r->lock);
	done = r->pending == 0;
	pthread_mutex_unlock(&r->lock);
	return done;
}

void control_request_free(struct control_request *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < r->count; i++)
		json_decref(r->part[i].stats);
	free(r->argument);
	pthread_mutex_destroy(&r->lock);
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

	if (r->command && r->command->act)
		return r->error;
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

	if (r->feature && *r->part[0].job.why)
		return control_request_failure(r->part[0].job.why);
	if (error)
		return control_request_failure(error == -ESRCH ? "the guest has ended" : strerror(-error));
	if (!r->command || r->command->run != run_stats)
		return json_pack("{s:b}", "ok", 1);
	guests = json_array();
	for (unsigned int i = 0; i < r->count; i++)
		json_array_append(guests, r->part[i].stats);
	return json_pack("{s:b, s:o}", "ok", 1, "guests", guests);
}
