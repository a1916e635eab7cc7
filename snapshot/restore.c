#include "snapshot/restore.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot/identity.h"
#include "snapshot/lazy_ram.h"
#include "snapshot/reason.h"
#include "snapshot/shared_ram.h"
#include "vmm/log.h"
#include "vmm/state.h"

struct ram_sink {
	struct image_sink sink;
	struct mem *mem;
};

static uint8_t *place_in_ram(struct image_sink *sink, uint64_t gpa, uint64_t size)
{
	return mem_at(((struct ram_sink *)sink)->mem, gpa, size, MEM_WRITE);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* The guest's own time goes on all the same; only what it is called jumps. */
static void jump_to_now(struct clock *c)
{
	uint64_t now = wall_ns(), passed = clock_now(c);

	c->wall_base_ns = now > passed ? now - passed : 0;
}

static int load_devices(const struct restore *r, struct vm *vm)
{
	const struct snapshot *sn = &r->reader->sn;
	struct state s;

	state_load_init(&s, sn->devices, sn->device_bytes);
	clock_visit(&vm->clock, &s);
	if (r->clock_now)
		jump_to_now(&vm->clock);
	bus_visit(&vm->bus, &s);
	console_visit(&vm->console, &s);
	if (state_error(&s))
		return log_bad(EINVAL, "%s: %s", r->reader->path, state_error(&s));
	return 0;
}

static int load_ram(const struct restore *r, struct vm *vm)
{
	struct ram_sink to = {.sink.place = place_in_ram, .mem = &vm->mem};
	struct reason why = {0};
	int err = image_reader_load(r->reader, &to.sink, &why);

	return err < 0 ? log_bad(-err, "%s", why.text) : 0;
}

static int share_ram(const struct restore *r, struct vm *vm)
{
	int err = shared_ram_map(r->shared, &vm->mem);

	return err < 0 || !r->clones ? err : identity_renew(vm);
}

static int bring_ram(const struct restore *r, struct vm *vm)
{
	if (r->lazy)
		return lazy_ram_attach(r->lazy, vm);
	return r->shared ? share_ram(r, vm) : load_ram(r, vm);
}

static int bring(const struct vm_origin *o, struct vm *vm, struct cpu_state *cs)
{
	const struct restore *r = (const struct restore *)((const char *)o - offsetof(struct restore, origin));
	int err = bring_ram(r, vm);

	if (err < 0)
		return err;
	*cs = r->reader->sn.cpu;
	vm->vcpu.port.position = r->reader->sn.machine.position;
	return load_devices(r, vm);
}

/* Unless the command line says something else. */
static void add_option(struct restore *r, enum solo5_option_kind kind, const char *name, const char *value)
{
	for (unsigned int i = 0; i < r->solo5.count; i++) {
		const struct solo5_option *o = &r->solo5.option[i];

		if (o->kind == kind && o->name_length == strlen(name) && !strncmp(o->name, name, o->name_length))
			return;
	}
	r->solo5.option[r->solo5.count++] =
		(struct solo5_option){.kind = kind, .name = name, .name_length = strlen(name), .value = value};
}

#define VALUE_SIZE 20u /* of a MAC or a sector size as text */

static void add_unit(struct restore *r, const struct manifest_unit *u, char *value)
{
	const uint8_t *m = u->mac;

	add_option(r, u->block ? SOLO5_GIVE_BLOCK : SOLO5_GIVE_NET, u->name, u->where);
	if (u->block)
		snprintf(value, VALUE_SIZE, "%u", u->sector);
	else
		snprintf(value, VALUE_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	add_option(r, u->block ? SOLO5_GIVE_SECTOR_SIZE : SOLO5_GIVE_MAC, u->name, value);
}

static int add_units(struct restore *r)
{
	const struct manifest *m = &r->reader->sn.machine;

	if (r->solo5.count + 2 * m->unit_count > SOLO5_MAX_OPTIONS)
		return log_bad(E2BIG, "%s: more devices than there can be options", r->reader->path);
	r->solo5_text = calloc(m->unit_count + 1, VALUE_SIZE);
	if (!r->solo5_text)
		return log_errno(ENOMEM, "%s", r->reader->path);
	for (uint32_t i = 0; i < m->unit_count; i++)
		add_unit(r, &m->unit[i], r->solo5_text + (size_t)i * VALUE_SIZE);
	return 0;
}

/* By the descriptor whose bytes were checked. Later it is called by the name that the guest was launched by. */
static int open_image(struct restore *r)
{
	char path[40];
	struct image_reason why;
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", image_reader_root(r->reader)->fd[FILE_IMAGE]);
	err = image_probe(&r->image, path, &why);
	if (err < 0)
		return log_bad(-err, "%s/image: %s", r->reader->path, why.text);
	r->image.path = r->reader->sn.machine.image;
	return 0;
}

int restore_open(struct restore *r, const struct image_reader *reader, const struct solo5_options *given, bool clock_now)
{
	const struct manifest *m = &reader->sn.machine;
	int err;

	*r = (struct restore){.origin.bring = bring, .reader = reader, .clock_now = clock_now, .solo5 = *given};
	r->origin.cpu.count = m->feature_count;
	for (uint32_t i = 0; i < m->feature_count; i++)
		r->origin.cpu.name[i] = m->feature[i];
	err = open_image(r);
	if (err < 0)
		return err;
	err = add_units(r);
	if (err < 0)
		image_close(&r->image);
	return err;
}

void restore_close(struct restore *r)
{
	image_close(&r->image);
	free(r->solo5_text);
	r->solo5_text = NULL;
}

void restore_share(struct restore *r, const struct shared_ram *shared, bool clones)
{
	r->shared = shared;
	r->clones = clones;
}

void restore_lazily(struct restore *r, struct lazy_ram *lazy)
{
	r->lazy = lazy;
}

void restore_configure(const struct restore *r, struct vm_config *config)
{
	config->origin = &r->origin;
	config->image = &r->image;
	config->mem = r->reader->sn.machine.ram;
	config->virtio_console = r->reader->sn.machine.virtio_console;
	config->balloon = r->reader->sn.machine.balloon;
	config->solo5 = &r->solo5;
}
