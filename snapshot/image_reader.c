#include "snapshot/image_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/block_reader.h"
#include "snapshot/ram_layout.h"
#include "snapshot/read_all.h"
#include "snapshot/reason.h"
#include "snapshot/state_file.h"

#define PIECE (1u << 20) /* bytes read and checked at a time: they are still in the cache then */

static int give(const struct image_reader *r, enum image_file file, int err, const char *what, struct reason *why)
{
	return reason_give(why, err, "%s/%s: %s", r->path, image_file_names[file], what);
}

static int give_errno(const struct image_reader *r, enum image_file file, int err, struct reason *why)
{
	return reason_errno(why, err, "%s/%s: read", r->path, image_file_names[file]);
}

/* Opens one of the files: a regular one, not by a link to elsewhere. */
static int open_file(struct image_reader *r, int directory, enum image_file file, uint64_t *size, struct reason *why)
{
	struct stat st;

	r->fd[file] = openat(directory, image_file_names[file], O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (r->fd[file] < 0)
		return reason_errno(why, errno, "%s/%s", r->path, image_file_names[file]);
	if (fstat(r->fd[file], &st))
		return give_errno(r, file, errno, why);
	if (!S_ISREG(st.st_mode))
		return give(r, file, EINVAL, "not a regular file", why);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int parse_state(struct image_reader *r, const uint8_t *bytes, uint64_t size, struct reason *why)
{
	struct reason what = {0};
	int err = state_file_parse(&r->sn, bytes, size, &what);

	return err < 0 ? give(r, FILE_STATE, -err, what.text, why) : 0;
}

static int read_state(struct image_reader *r, int directory, struct reason *why)
{
	uint8_t *bytes;
	uint64_t size;
	int err = open_file(r, directory, FILE_STATE, &size, why);

	if (err < 0)
		return err;
	bytes = malloc(size + 1);
	if (!bytes)
		return give(r, FILE_STATE, ENOMEM, "out of memory", why);
	err = read_all(r->fd[FILE_STATE], bytes, size, 0);
	err = err < 0 ? give_errno(r, FILE_STATE, -err, why) : parse_state(r, bytes, size, why);
	free(bytes);
	close(r->fd[FILE_STATE]);
	r->fd[FILE_STATE] = -1;
	return err;
}

static int open_memory(struct image_reader *r, int directory, struct reason *why)
{
	uint64_t size;
	int err = open_file(r, directory, FILE_MEMORY, &size, why);

	if (err == 0 && size != (r->sn.compressed ? r->sn.blocks.bytes : ram_end(r->sn.machine.ram)))
		return give(r, FILE_MEMORY, EINVAL, "damaged: its size is wrong", why);
	if (err < 0 || !r->sn.compressed)
		return err;
	r->blocks = block_reader_new(&r->sn.blocks, r->sn.pages.checksums, r->fd[FILE_MEMORY]);
	return r->blocks ? 0 : give(r, FILE_MEMORY, ENOMEM, "out of memory", why);
}

static int hash_file(int fd, uint64_t size, struct checksum128 *sum)
{
	XXH3_state_t *hash = XXH3_createState();
	uint8_t bytes[1u << 16];
	int err = hash ? 0 : -ENOMEM;

	if (hash)
		XXH3_128bits_reset(hash);
	for (uint64_t at = 0, n; at < size && err == 0; at += n) {
		n = size - at < sizeof(bytes) ? size - at : sizeof(bytes);
		err = read_all(fd, bytes, n, at);
		if (err == 0)
			XXH3_128bits_update(hash, bytes, n);
	}
	if (err == 0)
		*sum = checksum128_of(XXH3_128bits_digest(hash));
	XXH3_freeState(hash);
	return err;
}

static int open_image(struct image_reader *r, int directory, struct reason *why)
{
	struct checksum128 sum;
	uint64_t size;
	int err = open_file(r, directory, FILE_IMAGE, &size, why);

	if (err < 0)
		return err;
	if (size != r->sn.machine.image_size)
		return give(r, FILE_IMAGE, EINVAL, "damaged: its size is wrong", why);
	err = hash_file(r->fd[FILE_IMAGE], size, &sum);
	if (err < 0)
		return give_errno(r, FILE_IMAGE, -err, why);
	if (memcmp(sum.byte, r->sn.machine.image_checksum.byte, sizeof(sum.byte)) != 0)
		return give(r, FILE_IMAGE, EINVAL, "damaged: its checksum is wrong", why);
	return 0;
}

int image_reader_open_alone(struct image_reader *r, const char *path, struct reason *why)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	*r = (struct image_reader){.fd = {-1, -1, -1}, .path = strdup(path)};
	if (directory < 0)
		err = reason_errno(why, errno, "%s", path);
	else
		err = r->path ? read_state(r, directory, why) : reason_errno(why, ENOMEM, "%s", path);
	if (err == 0)
		err = open_memory(r, directory, why);
	if (err == 0 && !r->sn.incremental)
		err = open_image(r, directory, why);
	if (directory >= 0)
		close(directory);
	if (err < 0)
		image_reader_close(r);
	return err;
}

/* Identities are random, and the checksum stands for every byte: nothing else can pass for the parent. */
static int check_parent(const struct image_reader *r, struct reason *why)
{
	const struct snapshot *child = &r->sn, *parent = &r->parent->sn;

	if (memcmp(&child->parent, &parent->id, sizeof(parent->id)) != 0)
		return reason_give(why, EINVAL, "%s: not the snapshot that %s was made on", r->parent->path, r->path);
	if (memcmp(&child->parent_checksum, &parent->checksum, sizeof(parent->checksum)) != 0)
		return reason_give(why, EINVAL, "%s: it was changed since %s was made on it", r->parent->path, r->path);
	if (child->machine.ram != parent->machine.ram)
		return reason_give(why, EINVAL, "%s: RAM of another size than in %s", r->path, r->parent->path);
	return 0;
}

/* All of a chain are beside the one that was named, `leaf`. */
static int open_parent(struct image_reader *r, const char *leaf, struct reason *why)
{
	struct image_reader *parent = malloc(sizeof(*parent));
	char path[PATH_MAX];
	int err;

	if (!parent)
		return reason_errno(why, ENOMEM, "%s", r->path);
	/* A name beside it, and nothing else: a chain can be moved, and leads nowhere else. */
	err = strchr(r->sn.parent_path, '/') || snprintf(path, sizeof(path), "%s/../%s", leaf, r->sn.parent_path) >= PATH_MAX ?
	      reason_give(why, EINVAL, "%s: bad name of its parent", r->path) : image_reader_open_alone(parent, path, why);
	if (err < 0) {
		free(parent);
		return err;
	}
	r->parent = parent;
	return check_parent(r, why);
}

int image_reader_open(struct image_reader *r, const char *path, struct reason *why)
{
	struct image_reader *last = r;
	int err = image_reader_open_alone(r, path, why);

	if (err < 0)
		return err;
	for (unsigned int n = 1; last->sn.incremental && err == 0; n++) {
		err = n < CHAIN_MAX ? open_parent(last, path, why) : reason_give(why, EINVAL, "%s: a chain that is too long", path);
		last = last->parent ? last->parent : last;
	}
	if (err < 0)
		image_reader_close(r);
	return err;
}

static void close_one(struct image_reader *r)
{
	for (unsigned int i = 0; i < IMAGE_FILES; i++)
		if (r->fd[i] >= 0)
			close(r->fd[i]);
	block_reader_free(r->blocks);
	free(r->path);
	snapshot_free(&r->sn);
}

void image_reader_close(struct image_reader *r)
{
	struct image_reader *parent = r->parent;

	close_one(r);
	while (parent) {
		struct image_reader *next = parent->parent;

		close_one(parent);
		free(parent);
		parent = next;
	}
	*r = (struct image_reader){.fd = {-1, -1, -1}};
}

const struct image_reader *image_reader_root(const struct image_reader *r)
{
	while (r->parent)
		r = r->parent;
	return r;
}

static int read_memory(const struct image_reader *r, uint64_t gpa, uint64_t size, const uint64_t *checksum, void *to)
{
	if (r->blocks)
		return block_reader_read(r->blocks, (uint64_t)(checksum - r->sn.pages.checksum), size / PAGE_SIZE, to);
	return read_all(r->fd[FILE_MEMORY], to, size, gpa);
}

int image_reader_pages(const struct image_reader *r, uint64_t gpa, uint64_t size, const uint64_t *checksum, void *to,
		       struct reason *why)
{
	const uint8_t *bytes = to;
	int err = read_memory(r, gpa, size, checksum, to);

	if (err == -EBADMSG)
		return reason_give(why, EINVAL, "%s/%s: damaged: a block with pages from 0x%" PRIx64 " on is wrong", r->path,
				   image_file_names[FILE_MEMORY], gpa);
	if (err < 0)
		return give_errno(r, FILE_MEMORY, -err, why);
	for (uint64_t at = 0; at < size; at += PAGE_SIZE)
		if (checksum64(bytes + at, PAGE_SIZE) != checksum[at / PAGE_SIZE])
			return reason_give(why, EINVAL, "%s/%s: damaged: the checksum of the page at 0x%" PRIx64 " is wrong", r->path,
					   image_file_names[FILE_MEMORY], gpa + at);
	return 0;
}

static int load_run(const struct image_reader *r, struct image_sink *sink, const struct page_run *run, struct reason *why)
{
	const uint64_t *checksum = r->sn.pages.checksum + run->checksum, size = run->pages * PAGE_SIZE;
	int err = 0;

	for (uint64_t at = 0, n; at < size && err == 0; at += n) {
		n = size - at < PIECE ? size - at : PIECE;
		err = image_reader_pages(r, run->gpa + at, n, checksum + at / PAGE_SIZE, sink->place(sink, run->gpa + at, n),
					 why);
		progress_add(&sink->progress, n);
	}
	return err;
}

static bool all_zero(const uint8_t *bytes, uint64_t size)
{
	return !size || (!bytes[0] && !memcmp(bytes, bytes + 1, size - 1));
}

static int check_zero(const struct image_reader *r, uint64_t from, uint64_t to, struct reason *why)
{
	uint8_t bytes[1u << 16];

	for (uint64_t n; from < to; from += n) {
		int err;

		n = to - from < sizeof(bytes) ? to - from : sizeof(bytes);
		err = read_all(r->fd[FILE_MEMORY], bytes, n, from);
		if (err < 0)
			return give_errno(r, FILE_MEMORY, -err, why);
		if (!all_zero(bytes, n))
			return reason_give(why, EINVAL, "%s/%s: damaged: something between 0x%" PRIx64 " and 0x%" PRIx64
					   ", where there is nothing", r->path, image_file_names[FILE_MEMORY], from, from + n);
	}
	return 0;
}

/* Only what the file system has stored is looked at: the rest is a hole. A compressed file has no gaps. */
static int check_gap(const struct image_reader *r, uint64_t from, uint64_t to, struct reason *why)
{
	int fd = r->fd[FILE_MEMORY], err = 0;

	while (!r->blocks && from < to && err == 0) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? data : lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return give_errno(r, FILE_MEMORY, errno, why);
		if ((uint64_t)data >= to)
			return 0;
		from = (uint64_t)hole < to ? (uint64_t)hole : to;
		err = check_zero(r, (uint64_t)data, from, why);
	}
	return err;
}

/* Pages that the parent has otherwise. */
static void load_zeros(struct image_sink *sink, const struct page_run *run)
{
	uint64_t size = run->pages * PAGE_SIZE;

	for (uint64_t at = 0, n; at < size; at += n) {
		n = size - at < PIECE ? size - at : PIECE;
		memset(sink->place(sink, run->gpa + at, n), 0, n);
	}
}

/* What this one has itself. */
static int load_one(const struct image_reader *r, struct image_sink *sink, struct reason *why)
{
	uint64_t end = 0;
	int err = 0;

	for (size_t i = 0; i < r->sn.pages.runs && err == 0; i++) {
		const struct page_run *run = &r->sn.pages.run[i];

		if (run->zero) {
			if (r->parent)
				load_zeros(sink, run);
			continue;
		}
		err = check_gap(r, end, run->gpa, why);
		if (err == 0)
			err = load_run(r, sink, run, why);
		end = run->gpa + run->pages * PAGE_SIZE;
	}
	return err < 0 ? err : check_gap(r, end, ram_end(r->sn.machine.ram), why);
}

static uint64_t bytes_to_load(const struct image_reader *r)
{
	uint64_t pages = 0;

	for (; r; r = r->parent)
		pages += r->sn.pages.checksums;
	return pages * PAGE_SIZE;
}

/* From the oldest to the newest: what is newer goes over what is older. */
int image_reader_load(const struct image_reader *r, struct image_sink *sink, struct reason *why)
{
	const struct image_reader *next = image_reader_root(r), *done = NULL;
	int err = 0;

	sink->progress = (struct progress){0};
	if (!r->quiet)
		progress_begin(&sink->progress, r->path, bytes_to_load(r));
	while (done != r && err == 0) {
		err = load_one(next, sink, why);
		done = next;
		for (next = r; next != done && next->parent != done;)
			next = next->parent;
	}
	progress_end(&sink->progress);
	return err;
}

struct check_sink {
	struct image_sink sink;
	uint8_t *bytes;
};

static uint8_t *place_for_check(struct image_sink *sink, uint64_t gpa, uint64_t size)
{
	return ((struct check_sink *)sink)->bytes;
}

int image_reader_check(const struct image_reader *r, struct reason *why)
{
	struct check_sink to = {.sink.place = place_for_check, .bytes = malloc(PIECE)};
	int err = to.bytes ? image_reader_load(r, &to.sink, why) : reason_errno(why, ENOMEM, "%s", r->path);

	free(to.bytes);
	return err;
}
