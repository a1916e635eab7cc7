#include "compare/benchmark_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compare/benchmark_guest_image.h"
#include "vmm/log.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int write_all(int fd, const unsigned char *from, const unsigned char *end)
{
	while (from < end) {
		ssize_t n = write(fd, from, (size_t)(end - from));

		if (n < 0 && errno != EINTR)
			return -errno;
		from += n > 0 ? n : 0;
	}
	return 0;
}

int benchmark_guest_open(struct benchmark_guest *g)
{
	int r;

	g->fd = memfd_create("benchmark guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (g->fd < 0)
		return log_errno(errno, "memory for the benchmark guest");
	r = write_all(g->fd, benchmark_guest_image, benchmark_guest_image_end);
	if (r == 0 && fcntl(g->fd, F_ADD_SEALS, SEALS))
		r = -errno;
	if (r < 0) {
		close(g->fd);
		return log_errno(-r, "the benchmark guest, in memory");
	}
	snprintf(g->path, sizeof(g->path), "/proc/self/fd/%d", g->fd);
	return 0;
}

void benchmark_guest_close(struct benchmark_guest *g)
{
	close(g->fd);
}
