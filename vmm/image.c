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
#include "vmm/linux_image.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/multiboot_image.h"

#define MIB ((uint64_t)1 << 20)
#define DEFAULT_RAM (64 * MIB)
#define DEFAULT_RAM_PC (256 * MIB)
#define DEFAULT_RAM_SOLO5 (512 * MIB) /* as Solo5's own launcher gives */

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

/* Kernels are often kept so, and a loader that unpacks them would have to be trusted with it. */
static bool is_packed(const char *what)
{
	static const char *const formats[] = {"a gzip file", "a bzip2 file", "an xz file", "a zstd file", "an lz4 file"};

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(what, formats[i]))
			return true;
	return false;
}

static int read_kind(struct image *im, uint64_t file_size, struct image_reason *why)
{
	unsigned char head[MULTIBOOT_SEARCH];
	struct multiboot_header multiboot;
	ssize_t n = read_at(im->fd, head, sizeof(head), 0);
	bool is_multiboot, is_elf;

	if (n < 0)
		return refuse_errno(why, (int)-n);
	im->what = filetype_guess(head, n < FILETYPE_HEAD ? (size_t)n : FILETYPE_HEAD);
	is_multiboot = multiboot_find(head, (size_t)n, &multiboot);
	if (is_multiboot && multiboot_has_addresses(&multiboot))
		return multiboot_image_read(im, &multiboot, file_size, why);
	is_elf = n >= 4 && !memcmp(head, "\177ELF", 4);
	/* An ELF file may have any bytes where a bzImage has its magic. */
	if (!is_elf && linux_image_is(head, (size_t)n))
		return linux_image_read(im, file_size, head, (size_t)n, why);
	if (is_elf)
		return elf_image_read(im, file_size, head, (size_t)n, is_multiboot ? &multiboot : NULL, why);
	if (is_multiboot)
		return image_refuse(why, ENOEXEC, "a multiboot kernel that is no ELF file, nor says where it goes");
	return image_refuse(why, ENOEXEC, "not a guest image: it looks like %s%s", im->what,
			    is_packed(im->what) ? "; unpack it first" : "");
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

static const struct {
	const char *name, *protocol;
} kinds[] = {
	[IMAGE_PENUMBRA] = {"penumbra", "Penumbra's own guest interface, 64-bit entry"},
	[IMAGE_LINUX] = {"linux", "Linux boot protocol, 64-bit entry"},
	[IMAGE_PVH] = {"pvh", "PVH, 32-bit entry"},
	[IMAGE_MULTIBOOT] = {"multiboot", "multiboot 1, 32-bit entry"},
	[IMAGE_SOLO5] = {"solo5", "Solo5 hvt interface, version 2"},
};

const char *image_kind_name(const struct image *im)
{
	return kinds[im->kind].name;
}

const char *image_protocol(const struct image *im)
{
	if (im->kind == IMAGE_LINUX && im->enters_32)
		return "Linux boot protocol, 32-bit entry";
	return kinds[im->kind].protocol;
}

bool image_is_pc(const struct image *im)
{
	return im->kind == IMAGE_LINUX || im->kind == IMAGE_PVH || im->kind == IMAGE_MULTIBOOT;
}

uint64_t image_ram_default(const struct image *im)
{
	if (im->kind == IMAGE_SOLO5)
		return DEFAULT_RAM_SOLO5;
	return image_is_pc(im) ? DEFAULT_RAM_PC : DEFAULT_RAM;
}

uint64_t image_ram_needed(const struct image *im)
{
	uint64_t hole = im->top > ABI_HOLE_END ? ABI_HOLE_END - ABI_HOLE_START : 0;

	/* Such RAM is whole large pages, with a page for a stack. */
	if (im->kind == IMAGE_SOLO5)
		return (im->top + PAGE_SIZE + SOLO5_LARGE_PAGE - 1) / SOLO5_LARGE_PAGE * SOLO5_LARGE_PAGE;
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
