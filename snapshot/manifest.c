#include "snapshot/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "snapshot/ram_layout.h"
#include "vmm/state.h"

void visit_text(char **text, struct state *s)
{
	uint32_t length = state_loading(s) ? 0 : (uint32_t)strlen(*text);

	state_u32(s, &length);
	state_check(s, length <= TEXT_MAX, "text: too long");
	if (state_loading(s)) {
		*text = s->error ? NULL : calloc(1, length + 1);
		state_check(s, *text, "text: out of memory");
	}
	if (s->error)
		return;
	state_bytes(s, *text, length);
	state_check(s, strlen(*text) == length, "text: has a NUL in it");
}

static void visit_checksum(struct checksum128 *c, struct state *s)
{
	state_bytes(s, c->byte, sizeof(c->byte));
}

static void visit_features(struct manifest *m, struct state *s)
{
	state_u32(s, &m->feature_count);
	state_check(s, m->feature_count <= CPU_MODEL_MAX_FEATURES, "machine: more CPU features than there are");
	m->feature_count = s->error ? 0 : m->feature_count;
	for (uint32_t i = 0; i < m->feature_count; i++)
		visit_text(&m->feature[i], s);
}

static void visit_disks(struct manifest *m, struct state *s)
{
	state_u32(s, &m->disk_count);
	state_check(s, m->disk_count <= DISK_MAX, "machine: more disks than a guest can have");
	m->disk_count = s->error ? 0 : m->disk_count;
	for (uint32_t i = 0; i < m->disk_count; i++) {
		visit_text(&m->disk[i].path, s);
		state_u8(s, &m->disk[i].use);
		state_check(s, m->disk[i].use <= DISK_REMAP, "machine: use of a disk");
	}
}

static void visit_unit(struct manifest_unit *u, struct state *s)
{
	visit_text(&u->name, s);
	visit_text(&u->where, s);
	state_bool(s, &u->block);
	state_u16(s, &u->sector);
	state_bytes(s, u->mac, sizeof(u->mac));
}

static void visit_units(struct manifest *m, struct state *s)
{
	state_u32(s, &m->unit_count);
	state_check(s, m->unit_count <= SOLO5_MAX_ENTRIES, "machine: more Solo5 devices than there can be");
	m->unit_count = s->error ? 0 : m->unit_count;
	for (uint32_t i = 0; i < m->unit_count; i++)
		visit_unit(&m->unit[i], s);
}

void manifest_visit(struct manifest *m, struct state *s)
{
	uint32_t version = state_begin(s, "machine", 2);

	visit_text(&m->program, s);
	visit_text(&m->mmu, s);
	state_u64(s, &m->taken_ns);
	state_u64(s, &m->ram);
	state_check(s, ram_size_is_good(m->ram), "machine: size of RAM");
	state_u64(s, &m->position);
	visit_text(&m->image, s);
	state_u64(s, &m->image_size);
	visit_checksum(&m->image_checksum, s);
	visit_features(m, s);
	visit_disks(m, s);
	state_bool(s, &m->virtio_console);
	visit_units(m, s);
	if (version >= 2)
		state_bool(s, &m->balloon);
	state_end(s);
}

void manifest_free(struct manifest *m)
{
	free(m->program);
	free(m->mmu);
	free(m->image);
	for (uint32_t i = 0; i < m->feature_count; i++)
		free(m->feature[i]);
	for (uint32_t i = 0; i < m->disk_count; i++)
		free(m->disk[i].path);
	for (uint32_t i = 0; i < m->unit_count; i++) {
		free(m->unit[i].name);
		free(m->unit[i].where);
	}
	*m = (struct manifest){0};
}
