#include "snapshot/describe.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snapshot/manifest.h"
#include "vmm/image.h"
#include "vmm/vm.h"

static int set(char **to, const char *text)
{
	*to = strdup(text);
	return *to ? 0 : -ENOMEM;
}

/* A restore may be elsewhere: names of files are made whole, where that can be done. */
static int set_path(char **to, const char *path)
{
	char whole[PATH_MAX];

	return set(to, realpath(path, whole) ? whole : path);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int describe_features(struct manifest *m, const struct vm *vm)
{
	struct cpu_features f;
	int r = 0;

	cpu_model_features(vm->cpuid, &f);
	for (unsigned int i = 0; i < f.count && r == 0; i++)
		r = set(&m->feature[m->feature_count++], f.name[i]);
	return r;
}

static int describe_disks(struct manifest *m, const struct vm *vm)
{
	int r = 0;

	for (unsigned int i = 0; i < vm->virtio.block_count && r == 0; i++) {
		struct manifest_disk *d = &m->disk[m->disk_count++];

		d->use = (uint8_t)vm->virtio.block[i].disk->use;
		r = set_path(&d->path, vm->virtio.block[i].disk->path);
	}
	return r;
}

static int describe_unit(struct manifest_unit *to, const struct solo5_unit *unit, const char *name)
{
	int r = set(&to->name, name);

	to->block = unit->type == SOLO5_BLOCK;
	if (to->block)
		to->sector = unit->block.sector;
	else
		memcpy(to->mac, unit->net.mac, sizeof(to->mac));
	if (r < 0)
		return r;
	return to->block ? set_path(&to->where, unit->where) : set(&to->where, unit->where);
}

static int describe_units(struct manifest *m, const struct vm *vm)
{
	int r = 0;

	for (unsigned int i = 1; i < vm->solo5.units.count && r == 0; i++)
		r = describe_unit(&m->unit[m->unit_count++], &vm->solo5.units.unit[i], vm->image->solo5.wanted[i].name);
	return r;
}

int describe_vm(struct manifest *m, const struct vm *vm)
{
	int r = set(&m->program, PENUMBRA_VERSION);

	m->taken_ns = wall_ns();
	m->ram = vm->mem.size;
	m->position = vm->vcpu.port.position;
	m->virtio_console = vm->virtio.has_console;
	m->balloon = vm->virtio.has_balloon;
	if (r == 0)
		r = set(&m->mmu, vm->mmu->name);
	if (r == 0)
		r = set_path(&m->image, vm->image->path);
	if (r == 0)
		r = describe_features(m, vm);
	if (r == 0)
		r = describe_disks(m, vm);
	return r < 0 ? r : describe_units(m, vm);
}
