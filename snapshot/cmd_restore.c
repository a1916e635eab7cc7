#include "snapshot/cmd_restore.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/find.h"
#include "snapshot/lazy_ram.h"
#include "snapshot/reason.h"
#include "snapshot/restore.h"
#include "snapshot/restore_options.h"
#include "snapshot/shared_ram.h"
#include "vmm/cmd_run.h"
#include "vmm/log.h"
#include "vmm/overwrite.h"
#include "vmm/program.h"
#include "vmm/steering.h"

/* The disks that the guest had, unless others are named. */
static int name_disks(struct run_options *o, const struct manifest *m)
{
	if (o->disk_count && o->disk_count != m->disk_count)
		return log_bad(EINVAL, "%s: the guest has %u disks, and %u are given by --disk", o->command, m->disk_count, o->disk_count);
	for (; o->disk_count < m->disk_count; o->disk_count++) {
		const struct manifest_disk *d = &m->disk[o->disk_count];

		o->disk[o->disk_count] = (struct run_disk){.path = strdup(d->path), .use = d->use};
		if (!o->disk[o->disk_count].path)
			return log_errno(ENOMEM, "name of a disk");
	}
	return 0;
}

static int run_steered(const struct program *p, struct restore_options *o, const struct restore *r, struct steerer *steerer)
{
	struct disk disks[DISK_MAX];
	struct vm_config config = {.disks = disks, .disk_count = o->run.disk_count, .steerer = steerer};
	int status;

	restore_configure(r, &config);
	o->run.mem = config.mem;
	if (!o->clone && !o->run.scavenged && !o->run.huge_said && image_is_pc(config.image))
		o->run.huge = MEM_HUGE_ADVISE;
	if (run_open_disks(disks, &o->run) < 0)
		return EXIT_BAD;
	status = run_guests(p, &o->run, &config);
	for (unsigned int i = 0; i < o->run.disk_count; i++)
		disk_close(&disks[i]);
	return status;
}

/* Brought to where it was last, if that is asked for. */
static int run_restored(const struct program *p, struct restore_options *o, const struct restore *r)
{
	struct steerer *steerer = NULL;
	int status;

	if (!o->recording)
		return run_steered(p, o, r, NULL);
	if (p->recovery->open(&steerer, p, o->recording, r->reader->sn.id.byte, r->reader->path, o->run.record) < 0)
		return EXIT_BAD;
	status = run_steered(p, o, r, steerer);
	return p->recovery->close(steerer) < 0 ? EXIT_BAD : status;
}

static int run_shared(const struct program *p, struct restore_options *o, struct restore *r, struct reason *why)
{
	struct shared_ram shared;
	int status;

	if ((o->clone ? shared_ram_create : shared_ram_of_file)(&shared, r->reader, why) < 0)
		return EXIT_BAD;
	restore_share(r, &shared, o->clone);
	status = run_restored(p, o, r);
	shared_ram_destroy(&shared);
	return status;
}

static int run_lazily(const struct program *p, struct restore_options *o, struct restore *r, struct reason *why)
{
	struct lazy_ram lazy;
	int status;

	if (lazy_ram_open(&lazy, r->reader, why) < 0)
		return EXIT_BAD;
	restore_lazily(r, &lazy);
	status = run_restored(p, o, r);
	lazy_ram_close(&lazy);
	return status;
}

static int run_with_ram(const struct program *p, struct restore_options *o, struct restore *r, struct reason *why)
{
	if (o->clone || o->ram == RAM_MAPPED)
		return run_shared(p, o, r, why);
	return o->ram == RAM_LAZY ? run_lazily(p, o, r, why) : run_restored(p, o, r);
}

static int run_reader(const struct program *p, struct restore_options *o, const struct image_reader *reader, struct reason *why)
{
	struct restore r;
	int status;

	if (name_disks(&o->run, &reader->sn.machine) < 0 || run_options_check(&o->run) < 0 || overwrite_check(&o->run) < 0)
		return EXIT_BAD;
	if (restore_open(&r, reader, &o->run.solo5, o->clock_now) < 0)
		return EXIT_BAD;
	status = run_with_ram(p, o, &r, why);
	restore_close(&r);
	return status;
}

static int run_saved(const struct program *p, struct restore_options *o)
{
	struct image_reader reader;
	struct reason why = {0};
	char path[PATH_MAX];
	int status = EXIT_BAD;

	if (snapshot_find(o->run.image, path, &why) == 0 && image_reader_open(&reader, path, &why) == 0) {
		status = run_reader(p, o, &reader, &why);
		image_reader_close(&reader);
	}
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	return status;
}

int cmd_restore(const struct program *p, int argc, char **argv)
{
	struct restore_options o;
	int status = restore_options_parse(&o, p, argc, argv) == 0 ? run_saved(p, &o) : EXIT_BAD;

	restore_options_free(&o);
	return status;
}

int cmd_clone(const struct program *p, int argc, char **argv)
{
	struct restore_options o;
	int status = clone_options_parse(&o, p, argc, argv) == 0 ? run_saved(p, &o) : EXIT_BAD;

	restore_options_free(&o);
	return status;
}
