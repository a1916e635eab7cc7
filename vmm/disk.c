#include "vmm/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vmm/log.h"

/* Opening it for writing succeeds all the same, and then every write fails. */
static bool is_read_only_device(const struct disk *d, const struct stat *st)
{
	int read_only = 0;

	return S_ISBLK(st->st_mode) && !ioctl(d->fd, BLKROGET, &read_only) && read_only;
}

static int measure(struct disk *d, const struct stat *st)
{
	d->bytes = (uint64_t)st->st_size;
	if (S_ISREG(st->st_mode))
		return 0;
	if (!S_ISBLK(st->st_mode))
		return log_bad(EINVAL, "%s: a disk must be a regular file or a block device", d->path);
	return ioctl(d->fd, BLKGETSIZE64, &d->bytes) ? log_errno(errno, "%s: size", d->path) : 0;
}

static int lock(const struct disk *d)
{
	bool shared = d->use != DISK_READ_WRITE;

	if (!flock(d->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return log_errno(errno, "%s: lock", d->path);
	return log_bad(EBUSY, shared ? "%s: another VM writes this disk"
				     : "%s: another VM uses this disk; only one given by --disk FILE,ro can be shared", d->path);
}

/*
 * A page of the file that is mapped into a guest shows what becomes of the file, and is gone when the file gets shorter: a
 * touch then ends the process. So it has to be a file of which the kernel says that it stays as it is.
 */
static bool stays_as_it_is(const struct disk *d)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK;
	struct statvfs fs;
	int flags = 0, sealed = fcntl(d->fd, F_GET_SEALS);

	if (sealed >= 0 && (sealed & seals) == seals)
		return true;
	if (!ioctl(d->fd, FS_IOC_GETFLAGS, &flags) && flags & (FS_IMMUTABLE_FL | FS_VERITY_FL))
		return true;
	return !fstatvfs(d->fd, &fs) && fs.f_flag & ST_RDONLY;
}

static bool is_in_memory(const struct disk *d)
{
	struct statfs fs;

	return !fstatfs(d->fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static int check(struct disk *d)
{
	struct stat st;
	int r;

	if (fstat(d->fd, &st))
		return log_errno(errno, "%s: fstat", d->path);
	r = measure(d, &st);
	if (r < 0)
		return r;
	d->in_memory = S_ISREG(st.st_mode) && is_in_memory(d);
	d->sectors = d->bytes / DISK_SECTOR;
	if (!d->sectors)
		return log_bad(EINVAL, "%s: a disk needs at least %u bytes", d->path, DISK_SECTOR);
	if (d->use == DISK_READ_WRITE && is_read_only_device(d, &st))
		return log_bad(EROFS, "%s: the device is read-only: it can only be given by --disk FILE,ro", d->path);
	if (d->use == DISK_REMAP && !(S_ISREG(st.st_mode) && stays_as_it_is(d)))
		return log_bad(EPERM, "%s: only a file that cannot change can be remapped: one that is immutable (chattr +i), "
			       "sealed, or on a read-only file system", d->path);
	return lock(d);
}

int disk_open(struct disk *d, const char *path, enum disk_use use)
{
	int r;

	*d = (struct disk){.path = path, .use = use};
	/* O_NONBLOCK: the name may be a FIFO's, which nobody else has open. */
	d->fd = open(path, (use == DISK_READ_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (d->fd < 0)
		return log_errno(errno, "%s", path);
	r = check(d);
	if (r < 0)
		close(d->fd);
	return r;
}

void disk_make_absent(struct disk *d, const char *path, enum disk_use use)
{
	*d = (struct disk){.path = path, .use = use, .fd = -1, .absent = true};
}

void disk_close(struct disk *d)
{
	close(d->fd);
	d->fd = -1;
}

static int failed(struct disk *d, int error, const char *what, uint64_t at)
{
	if (!atomic_exchange(&d->said, true))
		log_errno(error, "%s: %s at byte %" PRIu64 " (the guest is told; further failures are not)", d->path, what, at);
	return -error;
}

/* Takes `done` bytes off the front; how many vectors are left, at *v. */
static unsigned int advance(struct iovec **v, unsigned int count, size_t done)
{
	while (count && done >= (*v)->iov_len) {
		done -= (*v)->iov_len;
		(*v)++;
		count--;
	}
	if (count) {
		(*v)->iov_base = (uint8_t *)(*v)->iov_base + done;
		(*v)->iov_len -= done;
	}
	return count;
}

typedef ssize_t (*disk_io)(int fd, const struct iovec *v, int count, off_t at);

/* A file system that cannot tell may have to wait each time. */
static ssize_t read_cached(int fd, const struct iovec *v, int count, off_t at)
{
	ssize_t n = preadv2(fd, v, count, at, RWF_NOWAIT);

	if (n < 0 && errno == EOPNOTSUPP)
		errno = EAGAIN;
	return n;
}

/* All of it, or up to where it fails; what is done is taken off. */
static int transfer(struct disk *d, struct iovec **v, unsigned int *count, uint64_t *at, const char *what, disk_io io)
{
	while (*count) {
		ssize_t n = io(d->fd, *v, (int)*count, (off_t)*at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && io == read_cached)
			return -EAGAIN;
		if (n <= 0)
			return failed(d, n < 0 ? errno : EIO, what, *at);
		*at += (uint64_t)n;
		*count = advance(v, *count, (size_t)n);
	}
	return 0;
}

/* One vector is what small requests have, and the kernel is quicker with it when it is told so. */
static ssize_t read_some(int fd, const struct iovec *v, int count, off_t at)
{
	return count == 1 ? pread(fd, v->iov_base, v->iov_len, at) : preadv(fd, v, count, at);
}

static ssize_t write_some(int fd, const struct iovec *v, int count, off_t at)
{
	return count == 1 ? pwrite(fd, v->iov_base, v->iov_len, at) : pwritev(fd, v, count, at);
}

int disk_read_cached(struct disk *d, struct iovec **v, unsigned int *count, uint64_t *at)
{
	return transfer(d, v, count, at, "read", d->in_memory ? read_some : read_cached);
}

int disk_read(struct disk *d, struct iovec *v, unsigned int count, uint64_t at)
{
	return transfer(d, &v, &count, &at, "read", read_some);
}

int disk_write(struct disk *d, struct iovec *v, unsigned int count, uint64_t at)
{
	return transfer(d, &v, &count, &at, "write", write_some);
}

int disk_flush(struct disk *d)
{
	int none = 0, error = atomic_load(&d->flush_error);

	if (error)
		return -error;
	while (fdatasync(d->fd)) {
		if (errno == EINTR)
			continue;
		error = errno;
		atomic_compare_exchange_strong(&d->flush_error, &none, error);
		return failed(d, error, "flush", 0);
	}
	return 0;
}
