#include "snapshot/image_writer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/host_time.h"
#include "snapshot/image_files.h"
#include "snapshot/page_writer.h"
#include "snapshot/reason.h"
#include "snapshot/state_file.h"
#include "snapshot/target.h"
#include "snapshot/write_all.h"

#define COPY_BYTES (64u << 10)

const char *const image_file_names[IMAGE_FILES] = {
	[FILE_STATE] = "state", [FILE_MEMORY] = "memory", [FILE_IMAGE] = "image",
};

/* Synced and closed; r is what went wrong before, or 0. */
static int finish_file(int fd, const struct target *t, enum image_file file, int r, struct reason *why)
{
	if (r == 0 && fsync(fd))
		r = -errno;
	close(fd);
	return r < 0 ? reason_errno(why, -r, "%s/%s: write", t->path, image_file_names[file]) : 0;
}

static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + sizeof(first), PAGE_SIZE - sizeof(first));
}

/* Notes the pages of a range, and writes those that are not zero, as many at a time as follow one another. */
static int write_range(struct capture *c, struct page_writer *to, const struct ram_range *range, struct image_written *w)
{
	const uint8_t *bytes = c->ram.bytes + range->at;
	uint64_t from = 0, at;
	int r = 0;

	for (at = 0; at < range->size && r == 0; at += PAGE_SIZE) {
		bool zero = !ram_copy_holds(&c->ram, range->at + at) || is_zero(bytes + at);

		if (zero && from < at)
			r = page_writer_put(to, range->gpa + from, bytes + from, at - from);
		if (zero)
			from = at + PAGE_SIZE;
		else if (r == 0)
			r = page_map_add(&c->sn.pages, range->gpa + at, checksum64(bytes + at, PAGE_SIZE));
		if (zero && r == 0 && c->sn.incremental)
			r = page_map_add_zero(&c->sn.pages, range->gpa + at);
		w->zero_pages += zero;
		w->pages += !zero;
	}
	return r == 0 && from < at ? page_writer_put(to, range->gpa + from, bytes + from, at - from) : r;
}

static int write_ranges(struct capture *c, int fd, struct image_written *w)
{
	struct page_writer to;
	int r = page_writer_open(&to, &c->sn, fd);

	if (r < 0)
		return r;
	for (size_t i = 0; i < c->ram.ranges && r == 0; i++)
		r = write_range(c, &to, &c->ram.range[i], w);
	if (r == 0)
		r = page_writer_finish(&to);
	w->bytes = to.bytes;
	page_writer_close(&to);
	return r;
}

static int write_memory(struct capture *c, const struct target *t, struct image_written *w, struct reason *why)
{
	int fd = target_file(t, image_file_names[FILE_MEMORY], why), r;

	if (fd < 0)
		return fd;
	r = write_ranges(c, fd, w);
	return finish_file(fd, t, FILE_MEMORY, r, why);
}

static int copy_image(struct capture *c, int fd, XXH3_state_t *hash)
{
	struct manifest *m = &c->sn.machine;
	uint8_t bytes[COPY_BYTES];
	ssize_t n;
	int r;

	for (m->image_size = 0; (n = pread(c->image_fd, bytes, sizeof(bytes), (off_t)m->image_size)) > 0;) {
		r = write_all(fd, bytes, (size_t)n, m->image_size);
		if (r < 0)
			return r;
		XXH3_128bits_update(hash, bytes, (size_t)n);
		m->image_size += (uint64_t)n;
	}
	return n < 0 ? -errno : 0;
}

static int write_image(struct capture *c, const struct target *t, struct reason *why)
{
	XXH3_state_t *hash = XXH3_createState();
	int fd, r;

	if (!hash)
		return reason_errno(why, ENOMEM, "%s", t->path);
	XXH3_128bits_reset(hash);
	fd = target_file(t, image_file_names[FILE_IMAGE], why);
	r = fd < 0 ? fd : finish_file(fd, t, FILE_IMAGE, copy_image(c, fd, hash), why);
	c->sn.machine.image_checksum = checksum128_of(XXH3_128bits_digest(hash));
	XXH3_freeState(hash);
	return r;
}

static int write_state(struct capture *c, const struct target *t, struct image_written *w, struct reason *why)
{
	uint8_t *bytes;
	size_t size;
	int fd, r = state_file_make(&c->sn, &bytes, &size, why);

	if (r < 0)
		return r;
	fd = target_file(t, image_file_names[FILE_STATE], why);
	r = fd < 0 ? fd : finish_file(fd, t, FILE_STATE, write_all(fd, bytes, size, 0), why);
	w->bytes += size + c->sn.machine.image_size;
	free(bytes);
	return r;
}

int image_write(struct capture *c, const char *path, struct image_written *w, struct reason *why)
{
	uint64_t start = host_ns();
	struct target t;
	int r = target_create(&t, path, why);

	*w = (struct image_written){0};
	if (r < 0)
		return r;
	r = write_memory(c, &t, w, why);
	if (r == 0 && !c->sn.incremental)
		r = write_image(c, &t, why);
	if (r == 0)
		r = write_state(c, &t, w, why);
	if (r == 0)
		r = target_commit(&t, why);
	else
		target_abandon(&t);
	w->ns = host_ns() - start;
	return r;
}
