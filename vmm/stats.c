#include "vmm/stats.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "vmm/exit.h"
#include "vmm/fleet.h"
#include "vmm/log.h"
#include "vmm/printable.h"
#include "vmm/private_memory.h"
#include "vmm/program.h"
#include "vmm/run_options.h"
#include "vmm/scavenging.h"
#include "vmm/steering.h"

/* JSON takes UTF-8 only, and a file's name need not be that. */
static json_t *name_string(const char *name)
{
	char text[PATH_MAX];

	return json_string(printable(text, sizeof(text), name, SIZE_MAX));
}

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

/* What each disk was asked for, and how often the guest and we had to tell one another. */
static json_t *disk_object(const struct virtio_block *b)
{
	const struct virtio_block_stats *s = &b->stats;

	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", name_string(b->disk->path), "reads",
			 (json_int_t)s->reads, "read_bytes", (json_int_t)s->read_bytes, "remapped_bytes", (json_int_t)s->remapped_bytes, "writes",
			 (json_int_t)s->writes, "written_bytes", (json_int_t)s->written_bytes, "flushes", (json_int_t)s->flushes,
			 "errors", (json_int_t)s->errors, "notifications", (json_int_t)b->v.notified, "interrupts",
			 (json_int_t)b->v.interrupted);
}

/* NULL for a guest without disks. */
static json_t *disks_array(const struct vm *vm)
{
	json_t *disks = vm->virtio.block_count ? json_array() : NULL;

	for (unsigned int i = 0; i < vm->virtio.block_count; i++)
		json_array_append_new(disks, disk_object(&vm->virtio.block[i]));
	return disks;
}

/* NULL for a guest whose driver has never been there. */
static json_t *balloon_object(const struct virtio_balloon *b)
{
	const struct virtio_balloon_stats *s = &b->stats;

	if (!b->v.notified)
		return NULL;
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "reports", (json_int_t)s->reports, "reported", (json_int_t)s->reported, "given_back",
			 (json_int_t)s->given, "notifications", (json_int_t)b->v.notified, "interrupts", (json_int_t)b->v.interrupted);
}

/* NULL for a guest whose RAM was always there and never protected. */
static json_t *userfaults_object(struct userfault *u)
{
	struct userfault_stats s;

	if (!u->open)
		return NULL;
	userfault_stats(u, &s);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "absent", (json_int_t)userfault_absent_count(u),
			 "fetched", (json_int_t)s.fetched, "ahead", (json_int_t)s.ahead, "prefetched", (json_int_t)s.prefetched,
			 "zeroed", (json_int_t)s.zeroed, "saved_at_fault", (json_int_t)s.saved_at_fault, "saved_behind",
			 (json_int_t)s.saved_behind, "min_ns", (json_int_t)s.answer.min_ns, "median_ns",
			 (json_int_t)latency_quantile(&s.answer, .5), "high_ns", (json_int_t)latency_quantile(&s.answer, .99));
}

/* NULL for a guest that nobody has saved. Times are sums. */
static json_t *saves_object(const struct save_stats *s)
{
	if (!s->saved && !s->failed)
		return NULL;
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "saved", (json_int_t)s->saved, "failed",
			 (json_int_t)s->failed, "joined", (json_int_t)s->joined, "prepare_us", (json_int_t)(s->prepare_ns / 1000), "pause_us",
			 (json_int_t)(s->pause_ns / 1000), "longest_pause_us", (json_int_t)(s->longest_pause_ns / 1000), "behind_us",
			 (json_int_t)(s->behind_ns / 1000), "write_us", (json_int_t)(s->write_ns / 1000), "copied",
			 (json_int_t)s->copied, "protected", (json_int_t)s->protected, "pages", (json_int_t)s->pages, "zero_pages",
			 (json_int_t)s->zero_pages, "bytes", (json_int_t)s->bytes);
}

/* NULL where it is not recorded. */
static json_t *recording_object(const struct vm *vm)
{
	return vm->steering ? vm->steering->ops->stats(vm->steering) : NULL;
}

/* NULL where there is no scavenger. */
static json_t *scavenger_object(const struct fleet_member *m)
{
	const struct fleet *f = m->fleet;

	return f->scavenging ? f->scavenging->stats(f->scavenger, &m->vm) : NULL;
}

json_t *stats_guest(struct fleet_member *m)
{
	struct vm *vm = &m->vm;
	struct mmu_stats mmu = {0};

	if (vm->attached)
		vm->mmu->stats(vm, &mmu);
	return json_pack("{s:i, s:o, s:s, s:I, s:o, s:I, s:I, s:o*, s:o*, s:o*, s:o*, s:o*, s:o*, s:o*, s:I}", "number", (int)vm->number, "ended",
			 end_object(&vm->end), "mmu_now", vm->mmu->name, "positions", (json_int_t)vm->vcpu.port.position, "exits", exits_object(&vm->vcpu),
			 "hidden_faults", (json_int_t)mmu.hidden_faults, "pte_writes", (json_int_t)mmu.pte_writes,
			 "shadow", counters_object(&mmu), "disks", disks_array(vm), "balloon", balloon_object(&vm->virtio.balloon), "userfaults",
			 userfaults_object(&vm->userfault), "saves", saves_object(&vm->saves), "scavenger",
			 scavenger_object(m), "recording", recording_object(vm), "wall_us", (json_int_t)(fleet_member_ns(m) / 1000));
}

/* Times of single faults cannot be summed. */
static bool is_sum(const char *field, const json_t *value)
{
	size_t size = strlen(field);

	return json_is_integer(value) && (size < 3 || strcmp(field + size - 3, "_ns"));
}

static void add_fields(json_t *sums, const json_t *object)
{
	const char *field;
	const json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, field, value)
		if (is_sum(field, value))
			json_object_set_new(sums, field,
					    json_integer(json_integer_value(json_object_get(sums, field)) + json_integer_value(value)));
}

/* Of what the scavenger has for each guest; NULL where there is none. */
static json_t *scavenger_sums(const json_t *guests)
{
	json_t *sums = NULL;

	for (size_t i = 0; i < json_array_size(guests); i++) {
		const json_t *object = json_object_get(json_array_get(guests, i), "scavenger");

		if (object && !sums)
			sums = json_object();
		add_fields(sums, object);
	}
	return sums;
}

static json_t *fleet_object(const struct fleet *f)
{
	json_t *guests = json_array();
	uint64_t start = UINT64_MAX, end = 0, positions = 0;

	for (unsigned int i = 0; i < f->count; i++) {
		struct fleet_member *m = &f->members[i];

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
	return json_pack("{s:i, s:I, s:I, s:o*, s:o}", "count", (int)f->count, "positions", (json_int_t)positions, "wall_us",
			 (json_int_t)(f->count ? (end - start) / 1000 : 0), "scavenger", scavenger_sums(guests), "guests", guests);
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
	json_object_set_new(root, "image", name_string(o->image));
	json_object_set_new(root, "mmu", json_string(o->mmu->name));
	json_object_set_new(root, "host_mmu", json_string(p->host_mmu));
	json_object_set_new(root, "mem_kib", json_integer((json_int_t)(o->mem >> 10)));
	json_object_set_new(root, "vmm_private_kib", json_integer((json_int_t)kib));
	r = dump(out, root);
	json_decref(root);
	return r ? log_errno(r, "%s: write", o->stats) : 0;
}
