/*
 * RAM gets ready for exchanges: all of it present or absent, and registered for good.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/uffd.h"
#include "vmm/userfault_exchange.h"

/* Whether pages of a memfd can be registered, which this kernel may not do for pages that are to be protected. */
static int try_to_show(int userfaultfd)
{
	int fd = memfd_create("penumbra-try", MFD_CLOEXEC), r;
	void *page = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, PAGE_SIZE) == 0)
		page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	r = page == MAP_FAILED ? log_errno(errno, "a page of shared memory") : uffd_register(userfaultfd, page, PAGE_SIZE);
	if (page != MAP_FAILED)
		munmap(page, PAGE_SIZE);
	if (fd >= 0)
		close(fd);
	return r == -EINVAL ? log_bad(ENOTSUP, "pages that guests share: this kernel cannot protect them: it needs Linux 5.19 or later") : r;
}

/* RAM that is mapped from a file: of a memfd it can be registered. */
static int check_backing(const struct mem *m)
{
	struct statfs st;

	if (!m->backed)
		return 0;
	if (fstatfs(m->backing, &st))
		return log_errno(errno, "the file that guest RAM is mapped from");
	return st.f_type == TMPFS_MAGIC ? 0 :
	       log_bad(ENOTSUP, "guest RAM that is mapped from a file on a disk (--ram=mapped) cannot be exchanged: give --ram=lazy or "
			       "--ram=now");
}

/* Under the lock. RAM that was backed is paged from now on, as any other. */
static int register_ram(struct userfault *u)
{
	struct mem *m = u->mem;
	bool backed = m->backed;
	int r;

	if (backed)
		m->overlaid = m->backed = false;
	r = userfault_need(u);
	if (r < 0 && backed)
		m->overlaid = m->backed = true;
	return r;
}

static int begin(struct userfault *u, struct pager *p)
{
	int i = userfault_source_add(u, p), r;

	if (i < 0)
		return i;
	ensure(u->brings < 0 || u->brings == i);
	if (!u->shown)
		u->shown = calloc(userfault_words(u), sizeof(*u->shown));
	if (!u->shown)
		return log_errno(ENOMEM, "a bit for each page of guest RAM");
	r = register_ram(u);
	if (r == 0) {
		u->brings = i;
		u->exchanging = true;
	}
	return r;
}

enum filling { LEAVE, FILL, FILL_PROTECTED };

static enum filling filling_of(struct userfault *u, uint64_t page, bool touched)
{
	if (touched || userfault_source_of(u, page) || userfault_claimed(u, page, 1))
		return LEAVE;
	return userfault_guards_of(u, page) ? FILL_PROTECTED : FILL;
}

/* Under the lock: at most USERFAULT_RUN pages. */
static int fill_some(struct userfault *u, uint64_t first, unsigned int pages)
{
	bool touched[USERFAULT_RUN];
	enum filling f[USERFAULT_RUN];
	int r = userfault_touched(u, first, pages, touched);

	for (unsigned int n = 0; n < pages; n++)
		f[n] = r < 0 ? LEAVE : filling_of(u, first + n, touched[n]);
	for (unsigned int n = 0, end; n < pages && r == 0; n = end) {
		for (end = n + 1; end < pages && f[end] == f[n];)
			end++;
		if (f[n] != LEAVE)
			r = userfault_zero(u, first + n, end - n, f[n] == FILL_PROTECTED);
	}
	return r;
}

static int fill(struct userfault *u, uint64_t gpa, uint64_t size)
{
	uint64_t page = mem_page_number(u->mem, gpa), end = page + size / PAGE_SIZE;
	int r = 0;

	for (uint64_t pages; page < end && r == 0; page += pages) {
		pages = end - page < USERFAULT_RUN ? end - page : USERFAULT_RUN;
		pthread_mutex_lock(&u->lock);
		r = u->failing ? -ECANCELED : fill_some(u, page, (unsigned int)pages);
		pthread_mutex_unlock(&u->lock);
	}
	return r < 0 ? log_errno(-r, "guest RAM: zero pages") : 0;
}

/* The file's pages are there, whether they are in the page table or not; where it has holes there is nothing. */
static int fill_holes(struct userfault *u, const struct mem_region *region)
{
	uint64_t end = region->gpa + region->size;
	int r = 0;

	for (uint64_t at = region->gpa, stop; at < end && r == 0;) {
		off_t data, hole = lseek(u->mem->backing, (off_t)at, SEEK_HOLE);

		if (hole < 0 || (uint64_t)hole >= end)
			return hole < 0 ? log_errno(errno, "the file that guest RAM is mapped from") : 0;
		data = lseek(u->mem->backing, hole, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return log_errno(errno, "the file that guest RAM is mapped from");
		stop = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;
		r = fill(u, (uint64_t)hole, stop - (uint64_t)hole);
		at = stop;
	}
	return r;
}

static void show_all(struct userfault *u)
{
	pthread_mutex_lock(&u->lock);
	memset(u->shown, 0xff, userfault_words(u) * sizeof(*u->shown));
	pthread_mutex_unlock(&u->lock);
}

static int open_all(struct userfault *u)
{
	int r = check_backing(u->mem);

	if (r == 0)
		r = userfault_open_pagemap(u);
	if (r == 0)
		r = userfault_open(u);
	return r < 0 ? r : try_to_show(u->fd);
}

int userfault_exchange_begin(struct userfault *u, struct pager *p)
{
	const struct mem *m = u->mem;
	bool backed = m->backed;
	int r = open_all(u);

	if (r < 0)
		return r;
	pthread_mutex_lock(&u->lock);
	r = begin(u, p);
	pthread_mutex_unlock(&u->lock);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < m->region_count && r == 0; i++)
		r = backed ? fill_holes(u, &m->region[i]) : fill(u, m->region[i].gpa, m->region[i].size);
	if (backed)
		show_all(u);
	return r;
}

void userfault_exchange_end(struct userfault *u)
{
	pthread_mutex_lock(&u->lock);
	u->exchanging = false;
	pthread_mutex_unlock(&u->lock);
}
