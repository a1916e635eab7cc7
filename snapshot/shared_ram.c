#include "snapshot/shared_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/image_reader.h"
#include "snapshot/ram_layout.h"
#include "snapshot/reason.h"
#include "vmm/log.h"

struct fd_sink {
	struct image_sink sink;
	uint8_t *all;
};

static uint8_t *place_in_fd(struct image_sink *sink, uint64_t gpa, uint64_t size)
{
	return ((struct fd_sink *)sink)->all + gpa;
}

static int fill(const struct shared_ram *s, const struct image_reader *r, uint64_t size, struct reason *why)
{
	void *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	struct fd_sink to = {.sink.place = place_in_fd, .all = all};
	int err;

	if (all == MAP_FAILED)
		return reason_errno(why, errno, "%s: map its RAM", r->path);
	err = image_reader_load(r, &to.sink, why);
	munmap(all, size);
	return err;
}

int shared_ram_create(struct shared_ram *s, const struct image_reader *r, struct reason *why)
{
	uint64_t size = ram_end(r->sn.machine.ram);
	int err = 0;

	s->fd = memfd_create("penumbra-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (s->fd < 0)
		return reason_errno(why, errno, "%s: memory for its RAM", r->path);
	if (ftruncate(s->fd, (off_t)size))
		err = reason_errno(why, errno, "%s: memory for its RAM", r->path);
	if (err == 0)
		err = fill(s, r, size, why);
	if (err == 0 && fcntl(s->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		err = reason_errno(why, errno, "%s: seal its RAM", r->path);
	if (err < 0)
		shared_ram_destroy(s);
	return err;
}

int shared_ram_of_file(struct shared_ram *s, const struct image_reader *r, struct reason *why)
{
	if (r->blocks)
		return reason_give(why, EINVAL, "%s: its memory is compressed, which cannot be mapped: give --ram=lazy or --ram=now, or "
				   "make it plain by `penumbra pack --plain`", r->path);
	if (r->parent)
		return reason_give(why, EINVAL, "%s: it has only what changed since %s, which cannot be mapped: give --ram=lazy or --ram=now",
				   r->path, r->parent->path);
	s->fd = fcntl(r->fd[FILE_MEMORY], F_DUPFD_CLOEXEC, 0);
	return s->fd < 0 ? reason_errno(why, errno, "%s", r->path) : 0;
}

void shared_ram_destroy(struct shared_ram *s)
{
	close(s->fd);
	s->fd = -1;
}

int shared_ram_map(const struct shared_ram *s, struct mem *m)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];

		if (mmap(r->hva, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s->fd,
			 (off_t)r->gpa) == MAP_FAILED)
			return log_errno(errno, "map shared RAM");
		mem_remapped(m, r->gpa, r->size);
	}
	mem_backed(m, s->fd);
	return 0;
}
