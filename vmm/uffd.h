/*
 * Thin layer over the kernel's userfaultfd (Linux, Documentation/admin-guide/mm/userfaultfd.rst): every ioctl that the project
 * uses, once. What uses it is userfault.h.
 *
 * Sizes are whole pages. Unless said otherwise a function returns 0 or a -errno that it does not log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct uffd_fault {
	uint8_t *hva; /* start of the page */
	bool protect; /* a write to a protected page; otherwise a touch of one that is not there */
};

#define UFFD_FAULTS 16u

/*
 * A userfaultfd for faults of user code and of the kernel (KVM, pread() into RAM), not inherited by exec. Returns the
 * descriptor or a logged -errno that says what is missing and what to do.
 */
int uffd_open(void);

/* Has the descriptor report touches of absent pages and writes to protected ones. -errno is logged. */
int uffd_register(int fd, void *hva, uint64_t size);

/* Ends that for the range: threads that wait go on, absent pages are zero, and protected ones writable. */
int uffd_unregister(int fd, void *hva, uint64_t size);

/* Reads at most UFFD_FAULTS faults. Returns how many, 0 = none waits. */
int uffd_read(int fd, struct uffd_fault *faults);

/*
 * Makes absent pages present and wakes who waits for them: a copy of `bytes`, or zero. Pages that are present stay as they are.
 * With `protect` they come protected.
 */
int uffd_copy(int fd, void *hva, const void *bytes, uint64_t size, bool protect);
int uffd_zero(int fd, void *hva, uint64_t size);

/* Protects present pages from writes, or lets them be written and wakes who waits. Absent pages are left alone. */
int uffd_protect(int fd, void *hva, uint64_t size, bool on);

/* Has who waits in the range look again. */
void uffd_wake(int fd, void *hva, uint64_t size);
