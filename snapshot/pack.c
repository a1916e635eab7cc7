#include "snapshot/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/image_reader.h"
#include "snapshot/image_writer.h"
#include "snapshot/ram_layout.h"
#include "snapshot/reason.h"
#include "snapshot/shared_ram.h"

/* What is of the file, or of the chain, and not of the guest. */
static void renew(struct snapshot *sn, const struct snapshot_id *id, bool compress)
{
	page_map_free(&sn->pages);
	block_map_free(&sn->blocks);
	free(sn->parent_path);
	sn->parent_path = NULL;
	sn->parent = (struct snapshot_id){0};
	sn->parent_checksum = (struct checksum128){0};
	sn->incremental = false;
	sn->compressed = compress;
	sn->id = *id;
}

/* The RAM of the capture is that of the file. */
static int take_ram(struct capture *c, int fd, struct reason *why)
{
	int r = ram_copy_of_file(&c->ram, fd, ram_end(c->sn.machine.ram));

	return r < 0 ? reason_errno(why, -r, "map of the guest's RAM") : 0;
}

static int write_ram(struct image_reader *r, const struct shared_ram *ram, const char *path, bool compress, struct packed *p,
		     struct reason *why)
{
	struct capture c = {.sn = r->sn, .image_fd = fcntl(image_reader_root(r)->fd[FILE_IMAGE], F_DUPFD_CLOEXEC, 0)};
	int err = c.image_fd < 0 ? reason_errno(why, errno, "%s", r->path) : 0;

	r->sn = (struct snapshot){0};
	renew(&c.sn, &p->id, compress);
	if (err == 0)
		err = take_ram(&c, ram->fd, why);
	if (err == 0)
		err = image_write(&c, path, &p->written, why);
	p->checksum = c.sn.checksum;
	capture_free(&c);
	return err;
}

int pack_write(struct image_reader *r, const char *path, bool compress, struct packed *p, struct reason *why)
{
	struct shared_ram ram;
	int err = shared_ram_create(&ram, r, why);

	if (err < 0)
		return err;
	err = write_ram(r, &ram, path, compress, p, why);
	shared_ram_destroy(&ram);
	return err;
}
