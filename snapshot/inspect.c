#include "snapshot/inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/checkpoint_list.h"
#include "snapshot/find.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/show.h"
#include "snapshot/state_file.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/printable.h"
#include "vmm/program.h"

#define SECTION_HEAD 16u /* of a section of state.h: name, version, length */

bool snapshot_inspect_knows(const char *path)
{
	return snapshot_is_at(path) || checkpoints_are_at(path);
}

/* A part of the devices' state. The checksums have passed, but that says nothing of who made them. */
struct section {
	char name[9];
	uint32_t version, size;
};

static bool next_section(const struct snapshot *sn, size_t *at, struct section *s)
{
	size_t left = sn->device_bytes - *at;
	char name[9] = "";

	if (left < SECTION_HEAD)
		return false;
	memcpy(name, sn->devices + *at, 8);
	memcpy(&s->version, sn->devices + *at + 8, 4);
	memcpy(&s->size, sn->devices + *at + 12, 4);
	if (s->size > left - SECTION_HEAD)
		return false;
	printable(s->name, sizeof(s->name), name, SIZE_MAX);
	*at += SECTION_HEAD + s->size;
	return true;
}

static void print_devices(const struct snapshot *sn)
{
	struct section s;

	printf("devices  ");
	for (size_t at = 0; next_section(sn, &at, &s);)
		printf(" %s/%" PRIu32, s.name, s.version);
	putchar('\n');
}

static void print_disks(const struct manifest *m)
{
	struct shown name, path;

	for (uint32_t i = 0; i < m->disk_count; i++)
		printf("%-9s %s%s\n", i ? "" : "disks", show(&path, m->disk[i].path),
		       m->disk[i].use == DISK_READ_WRITE ? "" : m->disk[i].use == DISK_REMAP ? ",remap" : ",ro");
	for (uint32_t i = 0; i < m->unit_count; i++)
		printf("%-9s --%s:%s=%s\n", i ? "" : "Solo5", m->unit[i].block ? "block" : "net", show(&name, m->unit[i].name),
		       show(&path, m->unit[i].where));
}

static void print_features(const struct manifest *m)
{
	struct shown name;

	printf("CPU      ");
	for (uint32_t i = 0; i < m->feature_count; i++)
		printf(" %s", show(&name, m->feature[i]));
	putchar('\n');
}

/* How many times less there is than plain pages would take. */
static double compression(const struct snapshot *sn)
{
	uint64_t stored = stored_bytes(sn);

	return stored ? (double)(sn->pages.checksums * PAGE_SIZE) / (double)stored : 1;
}

static void print_ram(const struct image_reader *r)
{
	const struct snapshot *sn = &r->sn;

	printf("RAM       %" PRIu64 " MiB, of which %" PRIu64 " KiB are %s", sn->machine.ram >> 20,
	       page_map_count(&sn->pages, false) << (PAGE_SHIFT - 10), r->parent ? "stored here" : "not zero");
	if (sn->compressed)
		printf(", compressed to %" PRIu64 " KiB (%.2f : 1)", (stored_bytes(sn) + 1023) >> 10, compression(sn));
	putchar('\n');
}

static void print_text(const struct image_reader *r)
{
	const struct manifest *m = &r->sn.machine;
	struct shown a, b, c;
	char id[ID_TEXT];

	printf("%s: a snapshot of version %u, whole\n", show(&a, r->path), SNAPSHOT_VERSION);
	printf("identity  %s\n", snapshot_id_text(&r->sn.id, id));
	printf("taken     %s, by penumbra %s, in --mmu=%s\n", show_time(&a, m->taken_ns), show(&b, m->program),
	       show(&c, m->mmu));
	printf("image     %s, %" PRIu64 " bytes\n", show(&a, m->image), image_reader_root(r)->sn.machine.image_size);
	for (const struct image_reader *p = r->parent; p; p = p->parent)
		printf("made on   %s, %s\n", snapshot_id_text(&p->sn.id, id), show(&a, p->path));
	print_ram(r);
	printf("position  %" PRIu64 ", at 0x%" PRIx64 "%s\n", m->position, r->sn.cpu.rip, r->sn.cpu.halted ? ", halted" : "");
	print_features(m);
	print_devices(&r->sn);
	print_disks(m);
}

static json_t *features_array(const struct manifest *m)
{
	json_t *all = json_array();
	struct shown name;

	for (uint32_t i = 0; i < m->feature_count; i++)
		json_array_append_new(all, json_string(show(&name, m->feature[i])));
	return all;
}

static json_t *devices_array(const struct snapshot *sn)
{
	json_t *all = json_array();
	struct section s;

	for (size_t at = 0; next_section(sn, &at, &s);)
		json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "name", s.name, "version", (json_int_t)s.version, "bytes",
						     (json_int_t)s.size));
	return all;
}

static json_t *disks_array(const struct manifest *m)
{
	json_t *all = json_array();
	struct shown path;

	for (uint32_t i = 0; i < m->disk_count; i++)
		json_array_append_new(all, json_pack("{s:s, s:b}", "path", show(&path, m->disk[i].path), "read_only",
						     m->disk[i].use != DISK_READ_WRITE));
	return all;
}

static void print_json(const struct image_reader *r)
{
	const struct manifest *m = &r->sn.machine;
	struct shown path, program, mmu, image;
	char id[ID_TEXT], parent_id[ID_TEXT], rip[24];
	json_t *root, *chain;

	snprintf(rip, sizeof(rip), "0x%" PRIx64, r->sn.cpu.rip);
	chain = json_array();
	for (const struct image_reader *p = r->parent; p; p = p->parent)
		json_array_append_new(chain, json_string(snapshot_id_text(&p->sn.id, parent_id)));
	root = json_pack("{s:s, s:s, s:i, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I, s:s, s:o, s:o, s:o, s:o}",
			 "path", show(&path, r->path), "what", "a snapshot", "version", (int)SNAPSHOT_VERSION,
			 "identity", snapshot_id_text(&r->sn.id, id), "taken_ns", (json_int_t)m->taken_ns,
			 "program", show(&program, m->program), "mmu", show(&mmu, m->mmu), "image", show(&image, m->image),
			 "ram", (json_int_t)m->ram, "stored_pages", (json_int_t)page_map_count(&r->sn.pages, false),
			 "compressed", r->sn.compressed, "stored_bytes", (json_int_t)stored_bytes(&r->sn),
			 "position", (json_int_t)m->position, "rip", rip, "cpu", features_array(m),
			 "devices", devices_array(&r->sn), "disks", disks_array(m), "parents", chain);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

static int print(const struct image_reader *r, bool json)
{
	if (json)
		print_json(r);
	else
		print_text(r);
	return program_flush_output() < 0 ? EXIT_BAD : 0;
}

int snapshot_inspect(const char *path, bool json)
{
	struct image_reader r;
	struct reason why = {0};
	int status = EXIT_BAD;

	if (!snapshot_is_at(path))
		return checkpoint_list_inspect(path, json);
	if (image_reader_open(&r, path, &why) == 0) {
		if (image_reader_check(&r, &why) == 0)
			status = print(&r, json);
		image_reader_close(&r);
	}
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	return status;
}
