/* disk measure: many reads, with several of them at once, and what they cost. */
#include <stddef.h>

#include "guest/images/disk.h"
#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

struct plan {
	uint64_t size, count, depth;
	bool random;
};

static bool read_plan(struct plan *p, const char *args)
{
	static char line[80];
	char *words[4];
	int n;

	if (strlen(args) >= sizeof(line))
		return false;
	memcpy(line, args, strlen(args) + 1);
	n = parse_words(line, words, 4);
	if (n < 3 || !parse_number(words[0], &p->size) || !parse_number(words[1], &p->count) || !parse_number(words[2], &p->depth))
		return false;
	p->random = n == 4 && strcmp(words[3], "random") == 0;
	return (n == 3 || p->random) && p->size > 0 && p->size % DISK_SECTOR == 0 && p->size <= DISK_MAX_REQUEST && p->depth > 0 &&
	       p->depth <= DISK_DEPTH && p->size * p->depth <= DISK_DATA_BYTES;
}

/* Offers up to `depth` reads and waits for all of them; whether they all succeeded. */
static bool batch(struct disk *d, const struct plan *p, uint64_t *sector, uint64_t *state, uint64_t n, uint64_t *kicks)
{
	uint64_t step = p->size / DISK_SECTOR, places = d->sectors / step;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t place = p->random ? random_next(state) % places : *sector / step % places;

		disk_put(d, i, DISK_READ, place * step, i * p->size, p->size);
		*sector += step;
	}
	*kicks += virtio_kick(&d->v, 0);
	if (!virtio_wait(&d->v, 0, (unsigned int)n))
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (d->status[i] != DISK_OK)
			return false;
	return true;
}

int disk_measure(struct disk *d, const char *args)
{
	uint64_t sector = 0, state = 1, kicks = 0, start, ns, n;
	struct plan p;

	if (!read_plan(&p, args) || p.size / DISK_SECTOR > d->sectors)
		machine_usage("disk measure SIZE COUNT DEPTH [random]; SIZE is at most 131072, SIZE * DEPTH 1 MiB, DEPTH 42");
	if (!virtio_start(&d->v, d->features | VIRTIO_EVENT_IDX, 1))
		panic("the disk does not start");
	start = machine_clock();
	for (uint64_t done = 0; done < p.count; done += n) {
		n = p.count - done < p.depth ? p.count - done : p.depth;
		if (!batch(d, &p, &sector, &state, n, &kicks))
			panic("a read failed");
	}
	ns = machine_clock() - start;
	kprintf("%lu reads of %lu bytes, %lu at once: %lu us, %lu notifications, %lu interrupts\n", p.count, p.size, p.depth,
		ns / 1000, kicks, virtio_interrupts());
	return 0;
}
