#include "snapshot/read_all.h"

#include <errno.h>
#include <unistd.h>

int read_all(int fd, void *to, uint64_t size, uint64_t at)
{
	uint8_t *bytes = to;

	while (size) {
		ssize_t n = pread(fd, bytes, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		bytes += n;
		at += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}
