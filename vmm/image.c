#include "vmm/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/abi.h"
#include "vmm/elf_image.h"
#include "vmm/filetype.h"
#include "vmm/log.h"
#include "vmm/mem.h"

#define MIB ((uint64_t)1 << 20)

int image_refuse(struct image_reason *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return -err;
}

static int refuse_errno(struct image_reason *why, int err)
{
	/* "a/b" where a is a file names nothing: no such image, not a failure of the host. */
	return image_refuse(why, err == ENOTDIR ? ENOENT : err, "%s", strerrordesc_np(err));
}

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return "a directory";
	case S_IFIFO: return "a FIFO";
	case S_IFCHR: return "a character device";
	case S_IFBLK: return "a block device";
	case S_IFSOCK: return "a socket";
	default: return "a file";
	}
}

static int check_regular(struct image *im, const struct stat *st, struct image_reason *why)
{
	im->what = kind_name(st->st_mode);
	if (!S_ISREG(st->st_mode))
		return image_refuse(why, ENOEXEC, "%s, not a guest image", im->what);
	if (!st->st_size)
		return image_refuse(why, ENOEXEC, "empty file");
	return 0;
}

/* Returns a descriptor of a regular file of st->st_size > 0 bytes. */
static int open_regular(struct image *im, struct stat *st, struct image_reason *why)
{
	int fd, err;

	/* First by name: opening a device may do something, a FIFO's writer sees a reader. */
	if (stat(im->path, st))
		return refuse_errno(why, errno);
	err = check_regular(im, st, why);
	if (err)
		return err;
	fd = open(im->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return refuse_errno(why, errno);
	err = fstat(fd, st) ? refuse_errno(why, errno) : check_regular(im, st, why);
	if (err)
		goto close;
	return fd;
close:
	close(fd);
	return err;
}

/* Like pread(), but stops early only at the end of the file. */
static ssize_t read_at(int fd, void *to, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)to + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int read_kind(struct image *im, uint64_t file_size, struct image_reason *why)
{
	unsigned char head[FILETYPE_HEAD];
	ssize_t n = read_at(im->fd, head, sizeof(head), 0);

	if (n < 0)
		return refuse_errno(why, (int)-n);
	im->what = filetype_guess(head, (size_t)n);
	if (n >= 4 && !memcmp(head, "\177ELF", 4))
		return elf_image_read(im, file_size, head, (size_t)n, why);
	return image_refuse(why, ENOEXEC, "not a guest image: it looks like %s", im->what);
}

int image_probe(struct image *im, const char *path, struct image_reason *why)
{
	struct stat st;
	int err;

	*im = (struct image){ .path = path };
	im->fd = open_regular(im, &st, why);
	if (im->fd < 0)
		return im->fd;
	err = read_kind(im, (uint64_t)st.st_size, why);
	if (err)
		image_close(im);
	return err;
}

int image_open(struct image *im, const char *path)
{
	struct image_reason why;
	int err = image_probe(im, path, &why);

	return err ? log_bad(-err, "%s: %s", *path ? path : "(empty name)", why.text) : 0;
}

void image_close(struct image *im)
{
	close(im->fd);
	im->fd = -1;
}

uint64_t image_ram_needed(const struct image *im)
{
	uint64_t hole = im->top > ABI_HOLE_END ? ABI_HOLE_END - ABI_HOLE_START : 0;

	return (im->top - hole + MIB - 1) / MIB * MIB;
}

int image_read(const struct image *im, uint64_t offset, void *to, size_t size)
{
	ssize_t n = read_at(im->fd, to, size, offset);

	if (n < 0)
		return log_errno((int)-n, "read %s", im->path);
	return (size_t)n < size ? log_bad(ENOEXEC, "%s: the file shrank while it was read", im->path) : 0;
}

static int load_segment(const struct image *im, const struct image_segment *s, struct mem *m)
{
	if (!s->file_size)
		return 0;
	return image_read(im, s->offset, mem_at(m, s->gpa, s->file_size, MEM_WRITE), s->file_size);
}

int image_load(const struct image *im, struct mem *m)
{
	for (unsigned int i = 0; i < im->segment_count; i++) {
		if (!mem_at(m, im->segment[i].gpa, im->segment[i].size, MEM_READ))
			return log_bad(ENOSPC, "%s: does not fit into %" PRIu64
				       " MiB of RAM: it needs at least --mem %" PRIu64 "M",
				       im->path, m->size / MIB, image_ram_needed(im) / MIB);
	}
	for (unsigned int i = 0; i < im->segment_count; i++) {
		int err = load_segment(im, &im->segment[i], m);

		if (err)
			return err;
	}
	return 0;
}
