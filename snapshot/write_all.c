#include "snapshot/write_all.h"

#include <errno.h>
#include <unistd.h>

int write_all(int fd, const void *bytes, uint64_t size, uint64_t at)
{
	const unsigned char *from = bytes;

	while (size) {
		ssize_t n = pwrite(fd, from, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		at += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}
