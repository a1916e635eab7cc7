#include "vmm/stats.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "vmm/exit.h"
#include "vmm/fleet.h"
#include "vmm/log.h"
#include "vmm/private_memory.h"
#include "vmm/program.h"
#include "vmm/run_options.h"

static json_t *end_object(const struct vm_end *end)
{
	return json_pack("{s:s, s:s, s:i, s:s}", "how", vm_end_name(end->kind), "whose", vm_end_whose(end->kind), "code",
			 vm_end_status(end), "reason", end->reason);
}

static json_t *exits_object(const struct vcpu *v)
{
	json_t *exits = json_object();

	for (unsigned int i = 0; i < VCPU_EXIT_KINDS; i++)
		if (v->exits[i] && exit_name(i))
			json_object_set_new(exits, exit_name(i), json_integer((json_int_t)v->exits[i]));
	json_object_set_new(exits, "interrupted", json_integer((json_int_t)v->exits_interrupted));
	return exits;
}

/* What the backend counts beyond what all have, or nothing. */
static json_t *counters_object(const struct mmu_stats *mmu)
{
	json_t *o = mmu->count ? json_object() : NULL;

	for (unsigned int i = 0; i < mmu->count; i++)
		json_object_set_new(o, mmu->counter[i].name, json_integer((json_int_t)mmu->counter[i].value));
	return o;
}

json_t *stats_guest(const struct fleet_member *m)
{
	const struct vm *vm = &m->vm;
	struct mmu_stats mmu = {0};

	if (vm->attached)
		vm->mmu->stats(vm, &mmu);
	return json_pack("{s:i, s:o, s:I, s:o, s:I, s:I, s:o*, s:I}", "number", (int)vm->number, "ended", end_object(&vm->end),
			 "positions", (json_int_t)vm->vcpu.port.position, "exits", exits_object(&vm->vcpu),
			 "hidden_faults", (json_int_t)mmu.hidden_faults, "pte_writes", (json_int_t)mmu.pte_writes,
			 "shadow", counters_object(&mmu), "wall_us", (json_int_t)(fleet_member_ns(m) / 1000));
}

static json_t *fleet_object(const struct fleet *f)
{
	json_t *guests = json_array();
	uint64_t start = UINT64_MAX, end = 0, positions = 0;

	for (unsigned int i = 0; i < f->count; i++) {
		const struct fleet_member *m = &f->members[i];

		json_array_append_new(guests, stats_guest(m));
		start = m->start_ns < start ? m->start_ns : start;
		end = m->end_ns > end ? m->end_ns : end;
		positions += m->vm.vcpu.port.position;
	}
	if (f->count == 1) {
		json_t *only = json_incref(json_array_get(guests, 0));

		json_decref(guests);
		return only;
	}
	return json_pack("{s:i, s:I, s:I, s:o}", "count", (int)f->count, "positions", (json_int_t)positions, "wall_us",
			 (json_int_t)(f->count ? (end - start) / 1000 : 0), "guests", guests);
}

FILE *stats_open(const char *path)
{
	FILE *out = strcmp(path, "-") ? fopen(path, "we") : stderr;

	if (!out)
		log_errno(errno, "%s: statistics", path);
	return out;
}

static int dump(FILE *out, const json_t *root)
{
	errno = 0;
	if (json_dumpf(root, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) || fputc('\n', out) == EOF || fflush(out))
		return errno ? errno : EIO;
	return 0;
}

int stats_write(FILE *out, const struct fleet *f, const struct program *p, const struct run_options *o)
{
	uint64_t kib;
	json_t *root;
	int r = private_memory_kib(f, &kib);

	if (r < 0)
		return r;
	root = fleet_object(f);
	json_object_set_new(root, "image", json_string(o->image));
	json_object_set_new(root, "mmu", json_string(o->mmu->name));
	json_object_set_new(root, "host_mmu", json_string(p->host_mmu));
	json_object_set_new(root, "mem_kib", json_integer((json_int_t)(o->mem >> 10)));
	json_object_set_new(root, "vmm_private_kib", json_integer((json_int_t)kib));
	r = dump(out, root);
	json_decref(root);
	return r ? log_errno(r, "%s: write", o->stats) : 0;
}
