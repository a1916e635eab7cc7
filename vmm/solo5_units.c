#include "vmm/solo5_units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/solo5_options.h"

/* How an option serves a device. */
static const struct {
	enum solo5_type type;
	bool opens;
} use[SOLO5_OPTION_KINDS] = {
	[SOLO5_GIVE_BLOCK] = {SOLO5_BLOCK, true},
	[SOLO5_GIVE_SECTOR_SIZE] = {SOLO5_BLOCK, false},
	[SOLO5_GIVE_NET] = {SOLO5_NET, true},
	[SOLO5_GIVE_MAC] = {SOLO5_NET, false},
};

static bool names(const struct solo5_option *o, const char *name)
{
	return strlen(name) == o->name_length && !strncmp(name, o->name, o->name_length);
}

static int refuse_option(const struct image *im, const struct solo5_option *o, const char *why)
{
	return log_bad(EINVAL, "%s: --%s:%.*s: %s", im->path, solo5_option_name[o->kind], (int)o->name_length, o->name, why);
}

static const struct solo5_option *find(const struct solo5_options *options, enum solo5_option_kind kind, const char *name)
{
	for (unsigned int i = 0; i < options->count; i++)
		if (options->option[i].kind == kind && names(&options->option[i], name))
			return &options->option[i];
	return NULL;
}

/* Every option is for a device of the manifest, and said once. */
static int check_option(const struct image *im, const struct solo5_options *options, const struct solo5_option *o)
{
	const struct solo5_manifest *m = &im->solo5;

	for (unsigned int i = 1; i < m->count; i++) {
		if (!names(o, m->wanted[i].name))
			continue;
		if (m->wanted[i].type != use[o->kind].type)
			return refuse_option(im, o, m->wanted[i].type == SOLO5_BLOCK ?
					     "the manifest wants a block device of that name" :
					     "the manifest wants a network device of that name");
		if (find(options, o->kind, m->wanted[i].name) != o)
			return refuse_option(im, o, "given twice");
		return 0;
	}
	return refuse_option(im, o, "the manifest has no such device; `penumbra inspect` lists them");
}

static int check_options(const struct image *im, const struct solo5_options *options)
{
	int r = 0;

	if (options->count && im->kind != IMAGE_SOLO5)
		return refuse_option(im, &options->option[0], "only Solo5 unikernels have such devices");
	for (unsigned int i = 0; i < options->count && r == 0; i++)
		r = check_option(im, options, &options->option[i]);
	return r;
}

static int open_block(struct solo5_unit *unit, const struct image *im, const struct solo5_options *options, const char *name)
{
	const struct solo5_option *file = find(options, SOLO5_GIVE_BLOCK, name);
	const struct solo5_option *size = find(options, SOLO5_GIVE_SECTOR_SIZE, name);
	uint16_t sector = 0;

	if (size && solo5_block_parse_sector(size->value, &sector) < 0)
		return refuse_option(im, size, "give a power of two from 512 to 32768");
	unit->where = strdup(file->value);
	if (!unit->where)
		return log_errno(ENOMEM, "name of a device");
	unit->block.sector = sector;
	return unit->absent ? 0 : solo5_block_open(&unit->block, file->value, sector);
}

static int open_net(struct solo5_unit *unit, const struct image *im, const struct solo5_options *options, const char *name)
{
	const struct solo5_option *where = find(options, SOLO5_GIVE_NET, name), *mac = find(options, SOLO5_GIVE_MAC, name);
	uint8_t bytes[6];

	if (mac && solo5_net_parse_mac(mac->value, bytes) < 0)
		return refuse_option(im, mac, "give six bytes such as 02:00:00:00:00:01, not those of a group");
	unit->where = strdup(where->value);
	if (!unit->where)
		return log_errno(ENOMEM, "name of a device");
	if (unit->absent && mac)
		memcpy(unit->net.mac, bytes, sizeof(bytes));
	return unit->absent ? 0 : solo5_net_open(&unit->net, where->value, mac ? bytes : NULL);
}

static int open_unit(struct solo5_unit *unit, const struct image *im, const struct solo5_options *options,
		     const struct solo5_device_wanted *wanted)
{
	bool block = wanted->type == SOLO5_BLOCK;
	int r;

	if (!find(options, block ? SOLO5_GIVE_BLOCK : SOLO5_GIVE_NET, wanted->name))
		return log_bad(EINVAL, "%s: the manifest wants a %s device `%s`: give --%s:%s=%s", im->path,
			       block ? "block" : "network", wanted->name, solo5_type_name(wanted->type), wanted->name,
			       block ? "FILE" : "TAP");
	r = block ? open_block(unit, im, options, wanted->name) : open_net(unit, im, options, wanted->name);
	unit->type = wanted->type;
	unit->open = r == 0 && !unit->absent;
	return r;
}

int solo5_units_open(struct solo5_units *u, const struct image *im, const struct solo5_options *options, bool absent)
{
	static const struct solo5_options none;
	int r = check_options(im, options ? options : &none);

	*u = (struct solo5_units){.count = im->kind == IMAGE_SOLO5 ? im->solo5.count : 0};
	for (unsigned int i = 1; i < u->count; i++)
		u->unit[i].absent = absent;
	for (unsigned int i = 1; i < u->count && r == 0; i++)
		r = open_unit(&u->unit[i], im, options ? options : &none, &im->solo5.wanted[i]);
	if (r < 0)
		solo5_units_close(u);
	return r;
}

void solo5_units_close(struct solo5_units *u)
{
	for (unsigned int i = 1; i < u->count; i++) {
		struct solo5_unit *unit = &u->unit[i];

		if (unit->open && unit->type == SOLO5_BLOCK)
			solo5_block_close(&unit->block);
		else if (unit->open)
			solo5_net_close(&unit->net);
		unit->open = false;
		free(unit->where);
		unit->where = NULL;
	}
}

struct solo5_unit *solo5_unit_of(struct solo5_units *u, uint64_t handle, enum solo5_type type)
{
	struct solo5_unit *unit = handle < u->count ? &u->unit[handle] : NULL;

	return unit && (unit->open || unit->absent) && unit->type == type ? unit : NULL;
}
