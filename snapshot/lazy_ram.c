#include "snapshot/lazy_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (256u << 10)
#define FEW 32u /* the set is written anew if the guest has touched more than one page for so many that were known */

/* Pages [gpa, gpa + size) of one extent. A wrong one behind the first is left to who touches it. */
static int read_pages(const struct extent *x, uint64_t gpa, unsigned int pages, void *buffer)
{
	const uint64_t *checksum = x->checksum + (gpa - x->gpa) / PAGE_SIZE;
	struct reason why = {0};

	if (image_reader_pages(x->part, gpa, pages * PAGE_SIZE, checksum, buffer, &why) == 0)
		return (int)pages;
	why = (struct reason){0};
	if (image_reader_pages(x->part, gpa, PAGE_SIZE, checksum, buffer, &why) == 0)
		return 1;
	return log_bad(EIO, "%s", why.text);
}

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	const struct lazy_ram *l = (const struct lazy_ram *)((const char *)p - offsetof(struct lazy_ram, pager));
	uint64_t end;
	const struct extent *x = extents_find(&l->extents, gpa, &end);

	if (x)
		end = x->gpa + x->pages * PAGE_SIZE;
	if (pages > (end - gpa) / PAGE_SIZE)
		pages = (unsigned int)((end - gpa) / PAGE_SIZE);
	*bytes = x ? buffer : NULL;
	return x ? read_pages(x, gpa, pages, buffer) : (int)pages;
}

/* Not while the guest stands still: then it is being saved, and all of its RAM is looked at. */
static void touched(struct pager *p, uint64_t gpa, unsigned int pages)
{
	struct lazy_ram *l = (struct lazy_ram *)((char *)p - offsetof(struct lazy_ram, pager));

	pthread_mutex_lock(&l->lock);
	if (!l->stop && !atomic_load(&l->vm->paused))
		working_set_add(&l->set, gpa, pages);
	pthread_mutex_unlock(&l->lock);
}

static int open_directory(struct lazy_ram *l, struct reason *why)
{
	l->directory = open(l->reader->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return l->directory < 0 ? reason_errno(why, errno, "%s", l->reader->path) : 0;
}

/* A bad one is as good as none. */
static void read_set(struct lazy_ram *l)
{
	struct reason why = {0};
	int err = working_set_read(&l->set, l->directory, l->reader->path, &l->reader->sn.id, &why);

	if (err < 0 && err != -ENOENT)
		log_print(LOG_WARN, "%s; the guest starts without it", why.text);
	l->known = l->set.pages;
}

static void init_lock(struct lazy_ram *l)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->stopped, &attr);
	pthread_condattr_destroy(&attr);
}

int lazy_ram_open(struct lazy_ram *l, const struct image_reader *r, struct reason *why)
{
	int err;

	*l = (struct lazy_ram){.pager = {.name = r->path, .ahead = LAZY_AHEAD, .fetch = fetch, .touched = touched}, .reader = r};
	err = open_directory(l, why);
	if (err < 0)
		return err;
	err = extents_make(&l->extents, r);
	if (err == 0)
		err = working_set_init(&l->set, r->sn.machine.ram);
	if (err < 0) {
		extents_free(&l->extents);
		close(l->directory);
		return reason_errno(why, -err, "%s", r->path);
	}
	init_lock(l);
	read_set(l);
	return 0;
}

/* While there are absent pages, first touches are faults, too, that the program answers. The kernel has zero pages cheaper. */
static void touch_set(const struct lazy_ram *l, struct mem *m)
{
	uint64_t gpa = 0, pages = 0;

	while (working_set_next(&l->set, gpa + pages * PAGE_SIZE, &gpa, &pages))
		/* Only advice. */
		madvise(mem_at(m, gpa, pages * PAGE_SIZE, MEM_READ), pages * PAGE_SIZE, MADV_POPULATE_READ);
}

/* From extent *i on, parts of a chain make one range where they meet. */
static void next_range(const struct lazy_ram *l, size_t *i, uint64_t *gpa, uint64_t *size)
{
	const struct extent *x = l->extents.extent;
	size_t n = *i;

	*gpa = x[n].gpa;
	*size = 0;
	while (n < l->extents.count && x[n].gpa == *gpa + *size)
		*size += x[n++].pages * PAGE_SIZE;
	*i = n;
}

static int make_absent(struct lazy_ram *l, struct userfault *u)
{
	uint64_t gpa, size;
	int r = 0;

	for (size_t i = 0; i < l->extents.count && r == 0;) {
		next_range(l, &i, &gpa, &size);
		r = userfault_absent(u, &l->pager, gpa, size);
	}
	return r;
}

/* What cannot be brought stays absent, and matters only if the guest touches it. That it cannot is said once. */
static int bring_set(struct lazy_ram *l, struct userfault *u)
{
	void *buffer = l->known ? aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE) : NULL;
	uint64_t gpa = 0, pages = 0;
	int64_t brought = 0;

	if (l->known && !buffer)
		return log_errno(ENOMEM, "%s", l->reader->path);
	while (l->known && brought >= 0 && working_set_next(&l->set, gpa + pages * PAGE_SIZE, &gpa, &pages))
		brought = userfault_prefetch(u, gpa, pages * PAGE_SIZE, buffer);
	free(buffer);
	return 0;
}

/* Where nothing can be written the next guest is as slow as this one, and that is all. */
static void write_set(struct lazy_ram *l)
{
	struct reason why = {0};

	if (l->set.pages - l->known <= l->known / FEW)
		return;
	if (working_set_write(&l->set, l->directory, l->reader->path, &l->reader->sn.id, &why) < 0)
		log_print(LOG_INFO, "%s: what the guest needs first is not noted", why.text);
}

static struct timespec deadline(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += LAZY_NOTE_MS / 1000;
	return t;
}

/* Until the first seconds are over, or the guest is gone. */
static void *note(void *arg)
{
	struct lazy_ram *l = arg;
	struct timespec when = deadline();

	pthread_mutex_lock(&l->lock);
	while (!l->stop && pthread_cond_timedwait(&l->stopped, &l->lock, &when) == 0)
		;
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	write_set(l);
	return NULL;
}

static int start_noting(struct lazy_ram *l)
{
	int r = worker_thread_start(&l->thread, STACK_BYTES, false, note, l);

	l->noting = r == 0;
	return r < 0 ? log_errno(-r, "the thread that notes what the guest touches") : 0;
}

int lazy_ram_attach(struct lazy_ram *l, struct vm *vm)
{
	int r;

	l->vm = vm;
	touch_set(l, &vm->mem);
	r = make_absent(l, &vm->userfault);
	if (r == 0)
		r = bring_set(l, &vm->userfault);
	return r < 0 ? r : start_noting(l);
}

void lazy_ram_close(struct lazy_ram *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->stopped);
	pthread_mutex_unlock(&l->lock);
	if (l->noting)
		pthread_join(l->thread, NULL);
	pthread_cond_destroy(&l->stopped);
	pthread_mutex_destroy(&l->lock);
	working_set_free(&l->set);
	extents_free(&l->extents);
	close(l->directory);
}
