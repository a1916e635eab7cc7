/*
 * What is behind a guest's disk, a virtio one or a unikernel's: a file or a block device of the host.
 *
 * A disk that can be written belongs to one VM of one process: it is locked (flock) for as long as it is open. A read-only one
 * may be shared. I/O goes straight between the file and the caller's vectors. Once writing back has failed, the kernel may
 * have dropped what was to be written and say so only once; so from then on every flush fails.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define DISK_SECTOR 512u
#define DISK_MAX 4u /* of one VM */

enum disk_use {
	DISK_READ_WRITE,
	DISK_READ_ONLY,
	DISK_REMAP, /* read-only, and whole pages are mapped into the guest instead of being read */
};

struct disk {
	const char *path;
	enum disk_use use;
	int fd;
	bool absent;	/* there is no file: a recording knows what was read of it (disk_make_absent()) */
	bool in_memory; /* the file is kept in the host's memory only (tmpfs, ramfs): nothing waits for it */
	uint64_t bytes; /* of the file or device; what is after the last whole sector is not part of the disk */
	uint64_t sectors;
	_Atomic int flush_error; /* errno of the first flush that failed; 0 = none */
	_Atomic bool said;	 /* a failure has been logged: one line is enough */
};

/*
 * Opens `path`, which must outlive the disk. Returns 0 or a logged -errno: also for what is neither a regular file nor a block
 * device, for one without a whole sector, for one that another VM writes (-EBUSY), and for one to be remapped that might
 * change (-EPERM).
 */
int disk_open(struct disk *d, const char *path, enum disk_use use);
void disk_close(struct disk *d);

/* In place of disk_open(). How large it is, the state of its device says. */
void disk_make_absent(struct disk *d, const char *path, enum disk_use use);

/*
 * Reads what the host has in its page cache, from the front on, without waiting for the disk: takes it off *v, *count and *at.
 * Returns 0 if that is all, -EAGAIN if the rest has to be waited for, or -errno as below.
 */
int disk_read_cached(struct disk *d, struct iovec **v, unsigned int *count, uint64_t *at);

/*
 * Reads or writes all that the vectors hold, from byte `at` on; the vectors are used up. Returns 0, or -errno, the first one
 * of a disk logged: -EIO where the file has become shorter. Any thread.
 */
int disk_read(struct disk *d, struct iovec *v, unsigned int count, uint64_t at);
int disk_write(struct disk *d, struct iovec *v, unsigned int count, uint64_t at);

/* All that was written is on the disk, or -errno as above. Any thread. */
int disk_flush(struct disk *d);
