#include "vmm/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/mem.h"

#define FLAGS (O_CLOEXEC | O_NONBLOCK)

/* The device serves those whom the system call refuses; a kernel before 6.1 does not have it. */
static int from_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd, error;

	if (device < 0)
		return -EPERM;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, FLAGS);
	error = errno;
	close(device);
	return fd < 0 ? -error : fd;
}

static int from_kernel(void)
{
	int fd = (int)syscall(SYS_userfaultfd, FLAGS);

	if (fd >= 0)
		return fd;
	return errno == EPERM ? from_device() : -errno;
}

static int refuse(int error)
{
	if (error == EPERM)
		return log_bad(error, "userfaultfd for guest RAM: not for this user: run as root, give the user /dev/userfaultfd, "
			       "or sudo sysctl vm.unprivileged_userfaultfd=1");
	if (error == ENOSYS)
		return log_bad(ENOTSUP, "userfaultfd for guest RAM: this kernel has none: it needs one with CONFIG_USERFAULTFD");
	return log_errno(error, "userfaultfd for guest RAM");
}

int uffd_open(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	int fd = from_kernel();

	if (fd < 0)
		return refuse(-fd);
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	close(fd);
	return log_bad(ENOTSUP, "userfaultfd for guest RAM: this kernel's cannot write-protect: it needs Linux 5.7 or later");
}

int uffd_register(int fd, void *hva, uint64_t size)
{
	struct uffdio_register r = {
		.range = {.start = (uintptr_t)hva, .len = size},
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(fd, UFFDIO_REGISTER, &r) ? log_errno(errno, "userfaultfd for guest RAM: register") : 0;
}

/*
 * The kernel wakes who waits before it forgets the range. Since faults are handled under the lock of a mapping alone (Linux 6.7),
 * a thread that was woken can be back, and wait again, before it does: so they are woken once more afterwards.
 */
int uffd_unregister(int fd, void *hva, uint64_t size)
{
	struct uffdio_range r = {.start = (uintptr_t)hva, .len = size};
	int error = ioctl(fd, UFFDIO_UNREGISTER, &r) ? -errno : 0;

	uffd_wake(fd, hva, size);
	return error;
}

int uffd_read(int fd, struct uffd_fault *faults)
{
	struct uffd_msg msg[UFFD_FAULTS];
	ssize_t n = read(fd, msg, sizeof(msg));
	int count = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < (size_t)n / sizeof(*msg); i++) {
		if (msg[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		faults[count++] = (struct uffd_fault){
			.hva = (uint8_t *)(uintptr_t)(msg[i].arg.pagefault.address & ~(PAGE_SIZE - 1)),
			.protect = msg[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP,
		};
	}
	return count;
}

/*
 * Where an ioctl on a range has got to. The kernel does it within one mapping only (UFFDIO_WRITEPROTECT before Linux 6.4, the others
 * everywhere), and RAM may be of many (userfault_exchange.h), whose borders are nobody's business but the kernel's: so it is tried
 * with less where it says ENOENT.
 */
struct progress {
	uint64_t at, size; /* of the range */
	uint64_t most;	   /* that are tried at a time */
};

static struct progress start(uint64_t size)
{
	return (struct progress){.size = size, .most = size};
}

static uint64_t next_size(const struct progress *p)
{
	uint64_t left = p->size - p->at;

	return left < p->most ? left : p->most;
}

static void advance(struct progress *p, uint64_t done)
{
	p->at += done;
	p->most = p->size;
}

/*
 * What the ioctl said: how far it got, in `done` (the kernel writes a negative errno there when it got nowhere). It stops at a page
 * that is present, which is passed over, and wherever it likes (EAGAIN), to be called again.
 */
static int go_on(struct progress *p, int64_t done, int error)
{
	if (done > 0)
		advance(p, (uint64_t)done);
	else if (error == EEXIST)
		advance(p, PAGE_SIZE);
	else if (error == ENOENT && next_size(p) > PAGE_SIZE)
		p->most = next_size(p) / PAGE_SIZE / 2 * PAGE_SIZE;
	else if (error != EAGAIN)
		return -error;
	return 0;
}

int uffd_copy(int fd, void *hva, const void *bytes, uint64_t size, bool protect)
{
	int r = 0;

	for (struct progress p = start(size); p.at < size && r == 0;) {
		struct uffdio_copy c = {
			.dst = (uintptr_t)hva + p.at, .src = (uintptr_t)bytes + p.at, .len = next_size(&p),
			.mode = protect ? UFFDIO_COPY_MODE_WP : 0,
		};

		if (!ioctl(fd, UFFDIO_COPY, &c))
			c.copy = (int64_t)c.len;
		r = go_on(&p, c.copy, errno);
	}
	return r;
}

int uffd_zero(int fd, void *hva, uint64_t size)
{
	int r = 0;

	for (struct progress p = start(size); p.at < size && r == 0;) {
		struct uffdio_zeropage z = {.range = {.start = (uintptr_t)hva + p.at, .len = next_size(&p)}};

		if (!ioctl(fd, UFFDIO_ZEROPAGE, &z))
			z.zeropage = (int64_t)z.range.len;
		r = go_on(&p, z.zeropage, errno);
	}
	return r;
}

int uffd_protect(int fd, void *hva, uint64_t size, bool on)
{
	int r = 0;

	for (struct progress p = start(size); p.at < size && r == 0;) {
		struct uffdio_writeprotect w = {
			.range = {.start = (uintptr_t)hva + p.at, .len = next_size(&p)},
			.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
		};
		int64_t done = ioctl(fd, UFFDIO_WRITEPROTECT, &w) ? 0 : (int64_t)w.range.len;

		r = go_on(&p, done, errno);
	}
	return r;
}

void uffd_wake(int fd, void *hva, uint64_t size)
{
	struct uffdio_range r = {.start = (uintptr_t)hva, .len = size};

	ioctl(fd, UFFDIO_WAKE, &r);
}
