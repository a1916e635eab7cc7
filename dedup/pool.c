#include "dedup/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dedup/slot_map.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"

struct slot {
	uint32_t count, hash;
};

struct pool {
	int fd;
	uint64_t slots, taken, needs;
	const uint8_t *pages; /* the whole memfd, to read; filled by pwrite(), which fails where a store would be a SIGBUS */
	struct slot *slot;
	struct slot_map map;
	struct pool_waiting waiting; /* for their page to be given back; those with a count were taken again */
	bool complained;
};

/* Its size is that of all slots from the start, so no slot can be mapped behind its end; holes cost nothing. */
static int create_file(struct pool *p)
{
	uint64_t size = p->slots * PAGE_SIZE;
	struct rlimit limit;

	/* Beyond the limit ftruncate() would not only fail, but raise SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size)
		return log_errno(EFBIG, "shared pages: a memory file of %" PRIu64 " MiB", size >> 20);
	p->fd = memfd_create("penumbra-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->fd < 0)
		return log_errno(errno, "shared pages: memory file");
	if (ftruncate(p->fd, (off_t)size) < 0 || fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return log_errno(errno, "shared pages: a memory file of %" PRIu64 " MiB", size >> 20);
	return 0;
}

static int map(struct pool *p)
{
	uint64_t size = p->slots * PAGE_SIZE;
	void *pages, *slots;

	pages = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, p->fd, 0);
	if (pages == MAP_FAILED)
		return log_errno(errno, "shared pages: map %" PRIu64 " MiB", size >> 20);
	p->pages = pages;
	size = p->slots * sizeof(*p->slot);
	slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slots == MAP_FAILED)
		return log_errno(errno, "shared pages: reserve their counts");
	/* Only advice: a few counts must not take 2 MiB. */
	madvise(slots, size, MADV_NOHUGEPAGE);
	p->slot = slots;
	return slot_map_init(&p->map, p->slots);
}

struct pool *pool_create(uint64_t slots)
{
	struct pool *p = calloc(1, sizeof(*p));

	ensure(slots > 0 && slots < 1u << 29);
	if (!p) {
		log_errno(ENOMEM, "shared pages");
		return NULL;
	}
	*p = (struct pool){.fd = -1, .slots = slots};
	if (create_file(p) < 0 || map(p) < 0) {
		pool_destroy(p);
		return NULL;
	}
	return p;
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	slot_map_destroy(&p->map);
	if (p->slot)
		munmap(p->slot, p->slots * sizeof(*p->slot));
	if (p->pages)
		munmap((void *)(uintptr_t)p->pages, p->slots * PAGE_SIZE);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

int pool_fd(const struct pool *p)
{
	return p->fd;
}

/* A hole that cannot be made costs memory, nothing else: who takes the slot next fills all of it. */
static void punch(const struct pool *p, uint64_t slot, uint64_t n)
{
	fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(slot * PAGE_SIZE), (off_t)(n * PAGE_SIZE));
}

static int by_slot(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void pool_take_waiting(struct pool *p, unsigned int least, struct pool_waiting *w)
{
	w->count = 0;
	if (p->waiting.count < least)
		return;
	for (unsigned int i = 0; i < p->waiting.count; i++)
		if (!p->slot[p->waiting.slot[i]].count)
			w->slot[w->count++] = p->waiting.slot[i];
	p->waiting.count = 0;
}

void pool_give_back_taken(const struct pool *p, struct pool_waiting *w)
{
	uint64_t first, end;

	if (!w->count)
		return;
	qsort(w->slot, w->count, sizeof(*w->slot), by_slot);
	/* One flush of what processors remember of the mapping, instead of one a hole. Who reads there has it mapped again. */
	first = w->slot[0];
	end = w->slot[w->count - 1] + 1ull;
	madvise((void *)(uintptr_t)(p->pages + first * PAGE_SIZE), (end - first) * PAGE_SIZE, MADV_DONTNEED);
	end = first;
	for (unsigned int i = 0; i < w->count; i++) {
		uint64_t slot = w->slot[i];

		if (slot > end) {
			punch(p, first, end - first);
			first = slot;
		}
		end = slot + 1;
	}
	punch(p, first, end - first);
}

void pool_give_back(struct pool *p)
{
	struct pool_waiting w;

	pool_take_waiting(p, 0, &w);
	pool_give_back_taken(p, &w);
}

static int fill(struct pool *p, uint64_t slot, const uint8_t *bytes, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t n = pwrite(p->fd, bytes + done, size - done, (off_t)(slot * PAGE_SIZE + done));

		if (n <= 0 && errno != EINTR)
			return n < 0 ? -errno : -EIO;
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static void give_up(struct pool *p, uint64_t slot, unsigned int n, int err)
{
	punch(p, slot, n);
	for (unsigned int i = 0; i < n; i++)
		slot_map_give(&p->map, slot + i);
	if (!p->complained)
		log_errno(-err, "shared pages: fill %u of them; pages stay unshared", n);
	p->complained = true;
}

uint32_t pool_add(struct pool *p, const void *bytes, unsigned int n, const uint32_t *hash)
{
	uint64_t slot = slot_map_take(&p->map, n);
	int r;

	if (slot == SLOT_MAP_NONE)
		return POOL_NONE;
	r = fill(p, slot, bytes, n * PAGE_SIZE);
	if (r < 0) {
		give_up(p, slot, n, r);
		return POOL_NONE;
	}
	for (unsigned int i = 0; i < n; i++)
		p->slot[slot + i] = (struct slot){.count = 1, .hash = hash[i]};
	p->taken += n;
	p->needs += n;
	return (uint32_t)slot;
}

const void *pool_page(const struct pool *p, uint32_t slot)
{
	ensure(slot < p->slots);
	return p->pages + slot * PAGE_SIZE;
}

uint32_t pool_hash(const struct pool *p, uint32_t slot)
{
	ensure(slot < p->slots && p->slot[slot].count);
	return p->slot[slot].hash;
}

uint32_t pool_count(const struct pool *p, uint32_t slot)
{
	ensure(slot < p->slots);
	return p->slot[slot].count;
}

void pool_need(struct pool *p, uint32_t slot)
{
	ensure(slot < p->slots && p->slot[slot].count && p->slot[slot].count < UINT32_MAX);
	p->slot[slot].count++;
	p->needs++;
}

bool pool_release(struct pool *p, uint32_t slot)
{
	ensure(slot < p->slots && p->slot[slot].count);
	p->needs--;
	if (--p->slot[slot].count)
		return false;
	p->taken--;
	slot_map_give(&p->map, slot);
	p->waiting.slot[p->waiting.count++] = slot;
	if (p->waiting.count == POOL_WAITING)
		pool_give_back(p);
	return true;
}

void pool_stats(const struct pool *p, struct pool_stats *stats)
{
	*stats = (struct pool_stats){
		.slots = p->taken,
		.needs = p->needs,
		.metadata = p->map.most * sizeof(struct slot) + slot_map_bytes(&p->map) + sizeof(*p),
	};
}
