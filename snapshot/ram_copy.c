#include "snapshot/ram_copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/array_room.h"
#include "snapshot/read_all.h"
#include "snapshot/reason.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define LARGE (8ull << 20)
#define WORD_BITS 64u

static uint64_t words(const struct ram_copy *c)
{
	return (c->room / PAGE_SIZE + WORD_BITS - 1) / WORD_BITS;
}

/* The mapping becomes the copy's. */
static int init(struct ram_copy *c, struct mem *m, void *bytes, uint64_t room)
{
	if (bytes == MAP_FAILED)
		return -errno;
	*c = (struct ram_copy){.mem = m, .bytes = bytes, .room = room, .source = -1};
	c->held = calloc(words(c), sizeof(*c->held));
	if (c->held)
		return 0;
	munmap(bytes, room);
	*c = (struct ram_copy){0};
	return -ENOMEM;
}

int ram_copy_reserve(struct ram_copy *c, struct mem *m, uint64_t expected)
{
	void *p = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (init(c, m, p, m->size) < 0)
		return -ENOMEM;
	/* Only advice, all of it. Large pages pay where there is much. */
	if (expected >= LARGE)
		madvise(p, m->size, MADV_HUGEPAGE);
	if (expected <= RAM_COPY_AT_ONCE_IN_CHAIN)
		madvise(p, expected < m->size ? expected : m->size, MADV_POPULATE_WRITE);
	return 0;
}

static void stop_protecting(struct ram_copy *c)
{
	if (c->behind)
		userfault_guard_remove(c->behind, &c->guard);
	c->behind = NULL;
}

void ram_copy_free(struct ram_copy *c)
{
	stop_protecting(c);
	if (c->bytes)
		munmap(c->bytes, c->room);
	free(c->held);
	free(c->range);
	*c = (struct ram_copy){0};
}

static int add(struct ram_copy *c, uint64_t gpa, uint64_t size, uint64_t at)
{
	if (array_room((void **)&c->range, &c->range_room, c->ranges, sizeof(*c->range)) < 0)
		return -ENOMEM;
	ensure(size <= c->room - at);
	c->range[c->ranges++] = (struct ram_range){.gpa = gpa, .size = size, .at = at};
	c->used += size;
	return 0;
}

int ram_copy_add(struct ram_copy *c, uint64_t gpa, uint64_t size)
{
	return add(c, gpa, size, c->used);
}

static void hold(struct ram_copy *c, uint64_t at, uint64_t size)
{
	/* Several threads save, each other pages, which may share a word. */
	for (uint64_t page = at / PAGE_SIZE; page < (at + size) / PAGE_SIZE; page++)
		atomic_fetch_or(&c->held[page / WORD_BITS], 1ull << page % WORD_BITS);
}

static int add_data(struct ram_copy *c, int fd)
{
	off_t data = 0, hole = 0;
	int r = 0;

	while (r == 0 && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		hole = lseek(fd, data, SEEK_HOLE);
		r = hole < 0 ? -errno : add(c, (uint64_t)data, (uint64_t)(hole - data), (uint64_t)data);
		if (r == 0)
			hold(c, (uint64_t)data, (uint64_t)(hole - data));
	}
	return r < 0 || errno == ENXIO ? r : -errno;
}

int ram_copy_of_file(struct ram_copy *c, int fd, uint64_t size)
{
	int r = init(c, NULL, mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), size);

	if (r == 0)
		r = add_data(c, fd);
	if (r < 0)
		ram_copy_free(c);
	return r;
}

static void keep(struct ram_copy *c, uint64_t at, const void *bytes, uint64_t size)
{
	memcpy(c->bytes + at, bytes, size);
	hold(c, at, size);
}

static int by_gpa(const void *key, const void *element)
{
	const struct ram_range *r = element;
	uint64_t gpa = *(const uint64_t *)key;

	return gpa < r->gpa ? -1 : gpa >= r->gpa + r->size;
}

/* Where the page goes. */
static uint64_t place(const struct ram_copy *c, uint64_t gpa)
{
	const struct ram_range *r = bsearch(&gpa, c->range, c->ranges, sizeof(*c->range), by_gpa);

	ensure(r);
	return r->at + (gpa - r->gpa);
}

void ram_copy_of_paged(struct ram_copy *c, struct userfault *u)
{
	c->paged = u;
}

static int copy_paged(struct ram_copy *c, uint64_t gpa, uint64_t size, void *buffer)
{
	int n = 0;

	for (uint64_t at = 0, pages; at < size && n >= 0; at += (unsigned int)n * PAGE_SIZE) {
		const void *bytes;

		pages = (size - at) / PAGE_SIZE;
		n = userfault_peek(c->paged, gpa + at, pages < USERFAULT_RUN ? (unsigned int)pages : USERFAULT_RUN, buffer, &bytes);
		if (n > 0 && bytes)
			keep(c, place(c, gpa + at), bytes, (unsigned int)n * PAGE_SIZE);
	}
	return n < 0 ? -EIO : 0;
}

static int copy_part(struct ram_copy *c, uint64_t gpa, uint64_t size)
{
	const void *from = mem_at(c->mem, gpa, size, MEM_READ);
	void *buffer;
	int r;

	ensure(from);
	if (!c->paged) {
		keep(c, place(c, gpa), from, size);
		return 0;
	}
	buffer = malloc(USERFAULT_RUN * PAGE_SIZE);
	r = buffer ? copy_paged(c, gpa, size, buffer) : -ENOMEM;
	free(buffer);
	return r;
}

int ram_copy_part(struct ram_copy *c, uint64_t gpa, uint64_t size)
{
	int r = copy_part(c, gpa, size);

	c->copied += size / PAGE_SIZE;
	/* After the last byte was read: what was read before this is what the guest had. */
	return mem_is_lost(c->mem) ? -EIO : r;
}

void ram_copy_rest(struct ram_copy *c, int fd)
{
	c->source = fd;
}

static int copy_now(struct ram_copy *c, struct reason *why)
{
	int r = 0;

	for (size_t i = 0; i < c->ranges && r == 0; i++)
		r = ram_copy_part(c, c->range[i].gpa, c->range[i].size);
	return r == -EIO ? reason_give(why, EIO, "copy of the guest's RAM: a page of it is lost") :
	       r < 0 ? reason_errno(why, -r, "copy of the guest's RAM") : 0;
}

/* Pages that are saved together may be of several ranges, between which none is missing. */
static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	struct ram_copy *c = (struct ram_copy *)g;

	if (!bytes)
		return;
	for (unsigned int i = 0; i < pages; i++)
		keep(c, place(c, gpa + i * PAGE_SIZE), (const uint8_t *)bytes + i * PAGE_SIZE, PAGE_SIZE);
}

bool ram_copy_behind(struct ram_copy *c, struct vm *vm)
{
	int r;

	if (vm->mem.overlaid || vm->saves.refused)
		return false;
	c->guard.save = save;
	r = userfault_guard_add(&vm->userfault, &c->guard);
	if (r == 0) {
		c->behind = &vm->userfault;
		return true;
	}
	vm->saves.refused = r != -EBUSY && r != -ENOMEM;
	log_print(LOG_WARN, "so the guest stands still until all of its RAM is copied");
	return false;
}

static int protect_all(struct ram_copy *c, struct reason *why)
{
	int r = 0;

	for (size_t i = 0; i < c->ranges && r == 0; i++)
		r = userfault_protect(c->behind, &c->guard, c->range[i].gpa, c->range[i].size);
	c->protected = c->used / PAGE_SIZE;
	return r < 0 ? reason_errno(why, -r, "protection of the guest's RAM") : 0;
}

int ram_copy_take(struct ram_copy *c, struct reason *why)
{
	if (c->source >= 0)
		return 0;
	return c->behind ? protect_all(c, why) : copy_now(c, why);
}

/* Pages of [gpa, end) of one range that are not held. */
static int read_run(struct ram_copy *c, uint64_t gpa, uint64_t end)
{
	uint64_t at = place(c, gpa), size;
	int r = 0;

	for (uint64_t stop = at + (end - gpa); at < stop && r == 0; at += size) {
		bool held = ram_copy_holds(c, at);

		for (size = PAGE_SIZE; at + size < stop && ram_copy_holds(c, at + size) == held;)
			size += PAGE_SIZE;
		if (!held)
			r = read_all(c->source, c->bytes + at, size, end - (stop - at));
		if (!held && r == 0)
			hold(c, at, size);
	}
	return r;
}

/* Where the file has holes there is nothing. */
static int read_range(struct ram_copy *c, const struct ram_range *range)
{
	uint64_t end = range->gpa + range->size;
	int r = 0;

	for (uint64_t at = range->gpa, stop; at < end && r == 0; at = stop) {
		off_t data = lseek(c->source, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? data : lseek(c->source, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		/* Whole pages, whatever the blocks of the file system are. */
		at = (uint64_t)data & ~(PAGE_SIZE - 1);
		stop = ((uint64_t)hole + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		stop = stop < end ? stop : end;
		if (at < stop)
			r = read_run(c, at, stop);
	}
	return r;
}

static int read_rest(struct ram_copy *c, struct reason *why)
{
	int r = 0;

	for (size_t i = 0; i < c->ranges && r == 0; i++)
		r = read_range(c, &c->range[i]);
	return r < 0 ? reason_errno(why, -r, "copy of the guest's RAM: the file that it is mapped from") : 0;
}

int ram_copy_finish(struct ram_copy *c, struct reason *why)
{
	int64_t left = 1;
	void *buffer;

	if (c->source >= 0)
		return read_rest(c, why);
	if (!c->behind)
		return 0;
	buffer = malloc(USERFAULT_RUN * PAGE_SIZE);
	if (!buffer)
		return reason_errno(why, ENOMEM, "copy of the guest's RAM");
	while (left > 0)
		left = userfault_save(c->behind, &c->guard, buffer);
	free(buffer);
	stop_protecting(c);
	/* After the last byte was read: what was read before this is what the guest had. */
	if (left < 0 || mem_is_lost(c->mem))
		return reason_give(why, EIO, "copy of the guest's RAM: a page of it is lost");
	return 0;
}
