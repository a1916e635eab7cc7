#include "tests/bench/bare_fault.h"

#include <err.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/mem.h"
#include "vmm/uffd.h"
#include "vmm/watchdog.h"

static void answer(const struct bare_faults *b, const struct uffd_msg *m)
{
	uint64_t at = (m->arg.pagefault.address & ~(PAGE_SIZE - 1)) - (uintptr_t)b->ram;
	struct uffdio_copy copy = {.dst = (uintptr_t)b->ram + at, .src = (uintptr_t)b->source + at, .len = PAGE_SIZE};
	struct uffdio_writeprotect open = {.range = {.start = (uintptr_t)b->ram + at, .len = PAGE_SIZE}};

	if (!(m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)) {
		if (ioctl(b->fd, UFFDIO_COPY, &copy))
			err(1, "UFFDIO_COPY");
		return;
	}
	memcpy(b->saved + at, b->ram + at, PAGE_SIZE);
	if (ioctl(b->fd, UFFDIO_WRITEPROTECT, &open))
		err(1, "UFFDIO_WRITEPROTECT");
}

static void *serve(void *arg)
{
	struct bare_faults *b = arg;
	struct pollfd fds[] = {{.fd = b->fd, .events = POLLIN}, {.fd = b->stop[0], .events = POLLIN}};
	struct uffd_msg m;

	for (;;) {
		poll(fds, 2, -1);
		if (fds[1].revents)
			return NULL;
		if (read(b->fd, &m, sizeof(m)) == sizeof(m)) {
			uint64_t since = watchdog_now();

			answer(b, &m);
			latency_add(&b->answer, watchdog_now() - since);
		}
	}
}

void bare_faults_start(struct bare_faults *b, uint64_t size, const uint8_t *source, uint8_t *saved)
{
	*b = (struct bare_faults){.source = source, .saved = saved, .size = size};
	b->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(b->ram, size, MADV_NOHUGEPAGE);
	b->fd = uffd_open();
	if (b->fd < 0 || uffd_register(b->fd, b->ram, size) < 0 || pipe(b->stop) || pthread_create(&b->thread, NULL, serve, b))
		errx(1, "no userfaultfd");
}

void bare_faults_stop(struct bare_faults *b)
{
	if (write(b->stop[1], "", 1) != 1)
		err(1, "pipe");
	pthread_join(b->thread, NULL);
	close(b->fd);
	close(b->stop[0]);
	close(b->stop[1]);
	munmap(b->ram, b->size);
}
