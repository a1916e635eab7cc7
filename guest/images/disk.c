/* disk COMMAND: uses virtio disks, and the other virtio devices; `disk help` lists the commands. */
#include "guest/images/disk.h"

#include <stddef.h>

#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/pic.h"
#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

const struct program programs[] = { PROGRAMS_END };

#define CHUNK 0x10000u
#define WORDS_PER_SECTOR (DISK_SECTOR / 8)

void disk_open(struct disk *d, unsigned int nth)
{
	uint64_t got;

	if (!virtio_find(&d->v, VIRTIO_BLOCK, nth))
		panic("there is no disk %u", nth);
	d->features = virtio_features(&d->v) & ~VIRTIO_EVENT_IDX;
	if (!virtio_start(&d->v, d->features, 1))
		panic("disk %u does not start", nth);
	d->sectors = virtio_get(&d->v, VIRTIO_REG_CONFIG) | (uint64_t)virtio_get(&d->v, VIRTIO_REG_CONFIG + 4) << 32;
	d->header = page_pointer(page_alloc_zero());
	d->status = page_pointer(page_alloc_zero());
	d->data = page_pointer(page_alloc_run(DISK_DATA_BYTES / PAGE_SIZE, &got));
	if (got < DISK_DATA_BYTES / PAGE_SIZE)
		panic("too little RAM");
}

void disk_put(struct disk *d, unsigned int n, uint32_t type, uint64_t sector, uint64_t at, uint64_t size)
{
	unsigned int i = 3 * n, data = type == DISK_WRITE ? 0 : VIRTIO_WRITE;

	d->header[n] = (struct disk_header){ type, 0, sector };
	d->status[n] = DISK_NO_ANSWER;
	virtio_describe(&d->v, 0, i, &d->header[n], sizeof(d->header[n]), VIRTIO_NEXT, size > 0 ? i + 1 : i + 2);
	virtio_describe(&d->v, 0, i + 1, d->data + at, size, VIRTIO_NEXT | data, i + 2);
	virtio_describe(&d->v, 0, i + 2, &d->status[n], 1, VIRTIO_WRITE, 0);
	virtio_offer(&d->v, 0, i);
}

uint8_t disk_do(struct disk *d, uint32_t type, uint64_t sector, uint64_t size)
{
	uint64_t at = 0, part;

	do {
		part = size - at < DISK_MAX_REQUEST ? size - at : DISK_MAX_REQUEST;
		disk_put(d, 0, type, sector + at / DISK_SECTOR, at, part);
		virtio_kick(&d->v, 0);
		if (!virtio_wait(&d->v, 0, 1) || d->status[0] != DISK_OK)
			return d->status[0];
		at += part;
	} while (at < size);
	return DISK_OK;
}

/* What word k of the disk holds after `fill SEED`. */
static uint64_t pattern(uint64_t seed, uint64_t sector, uint64_t k)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15ull + sector;

	return random_next(&state) + k;
}

static void make_pattern(uint64_t *words, uint64_t seed, uint64_t sector, uint64_t size)
{
	for (uint64_t end = sector + size / DISK_SECTOR; sector < end; sector++) {
		uint64_t word = pattern(seed, sector, 0);

		for (unsigned int k = 0; k < WORDS_PER_SECTOR; k++)
			*words++ = word++;
	}
}

/* How many words of the sectors are not as they should be. */
static uint64_t wrong_words(const uint64_t *words, uint64_t seed, uint64_t sector, uint64_t size)
{
	uint64_t wrong = 0;

	for (uint64_t end = sector + size / DISK_SECTOR; sector < end; sector++) {
		uint64_t word = pattern(seed, sector, 0);

		for (unsigned int k = 0; k < WORDS_PER_SECTOR; k++)
			wrong += *words++ != word++;
	}
	return wrong;
}

/* Goes over the disk in pieces of many sizes; `each` gets sector and size. Returns the sector at which it failed, or the end. */
static uint64_t in_pieces(struct disk *d, uint64_t seed, bool (*each)(struct disk *, uint64_t, uint64_t, uint64_t))
{
	uint64_t state = seed, sector = 0, size;

	while (sector < d->sectors) {
		size = 1 + random_next(&state) % (CHUNK / DISK_SECTOR);
		size = size < d->sectors - sector ? size : d->sectors - sector;
		if (!each(d, seed, sector, size * DISK_SECTOR))
			break;
		sector += size;
	}
	return sector;
}

static bool fill_piece(struct disk *d, uint64_t seed, uint64_t sector, uint64_t size)
{
	make_pattern((uint64_t *)d->data, seed, sector, size);
	return disk_do(d, DISK_WRITE, sector, size) == DISK_OK;
}

static bool check_piece(struct disk *d, uint64_t seed, uint64_t sector, uint64_t size)
{
	return disk_do(d, DISK_READ, sector, size) == DISK_OK && wrong_words((uint64_t *)d->data, seed, sector, size) == 0;
}

static int fill(struct disk *d, const char *args)
{
	uint64_t seed = 1, end;

	if (args[0] != '\0' && !parse_number(args, &seed))
		machine_usage("disk fill [SEED]");
	end = in_pieces(d, seed, fill_piece);
	if (end < d->sectors) {
		kprintf("write error %u at sector %lu\n", d->status[0], end);
		return 1;
	}
	if (disk_do(d, DISK_FLUSH, 0, 0) != DISK_OK) {
		kprintf("flush error\n");
		return 1;
	}
	kprintf("filled %lu sectors\n", d->sectors);
	return 0;
}

static int check(struct disk *d, const char *args)
{
	uint64_t seed = 1, end;

	if (args[0] != '\0' && !parse_number(args, &seed))
		machine_usage("disk check [SEED]");
	end = in_pieces(d, seed, check_piece);
	if (end < d->sectors) {
		kprintf("wrong near sector %lu, status %u\n", end, d->status[0]);
		return 1;
	}
	kprintf("%lu sectors are right\n", d->sectors);
	return 0;
}

/* Writes its number into one sector after the other, and says it only when it is on the disk: whoever kills us can look. */
static int journal(struct disk *d, const char *args)
{
	uint64_t count = UINT64_MAX;

	if (args[0] != '\0' && !parse_number(args, &count))
		machine_usage("disk journal [COUNT]");
	for (uint64_t i = 1; i <= count; i++) {
		make_pattern((uint64_t *)d->data, i, 0, DISK_SECTOR);
		*(uint64_t *)d->data = i;
		if (disk_do(d, DISK_WRITE, i % d->sectors, DISK_SECTOR) != DISK_OK || disk_do(d, DISK_FLUSH, 0, 0) != DISK_OK) {
			kprintf("error at %lu\n", i);
			return 1;
		}
		kprintf("%lu\n", i);
	}
	return 0;
}

static int try_write(struct disk *d, const char *args)
{
	uint8_t status = disk_do(d, DISK_WRITE, 0, DISK_SECTOR);

	kprintf("write: status %u%s\n", status, (d->features & DISK_F_RO) != 0 ? ", a read-only disk" : "");
	return status == DISK_OK ? 0 : 1;
}

static int hostile(struct disk *d, const char *args)
{
	return disk_hostile(d);
}

static int list(void)
{
	struct virtio v;

	for (unsigned int n = 0; virtio_find(&v, VIRTIO_BLOCK, n); n++)
		kprintf("disk %u: slot %u, %u sectors%s\n", n, v.slot, virtio_get(&v, VIRTIO_REG_CONFIG),
			(virtio_features(&v) & DISK_F_RO) != 0 ? ", read-only" : "");
	if (virtio_find(&v, VIRTIO_ENTROPY, 0))
		kprintf("entropy: slot %u\n", v.slot);
	if (virtio_find(&v, VIRTIO_CONSOLE, 0))
		kprintf("console: slot %u\n", v.slot);
	if (virtio_find(&v, VIRTIO_BALLOON, 0))
		kprintf("balloon: slot %u\n", v.slot);
	return 0;
}

/* Two requests for random bytes, which should not be the same, and none of them all zero. */
static int entropy(void)
{
	volatile uint64_t *bytes = page_pointer(page_alloc_zero());
	struct virtio v;

	if (!virtio_find(&v, VIRTIO_ENTROPY, 0) || !virtio_start(&v, VIRTIO_EVENT_IDX, 1))
		panic("no entropy device");
	for (unsigned int i = 0; i < 2; i++) {
		virtio_describe(&v, 0, 0, bytes + 4 * i, 32, VIRTIO_WRITE, 0);
		virtio_offer(&v, 0, 0);
		virtio_kick(&v, 0);
		virtio_wait(&v, 0, 1);
	}
	for (unsigned int i = 0; i < 4; i++)
		if (bytes[i] == 0 || bytes[i] == bytes[4 + i])
			return 1;
	kprintf("entropy: %u and %u bytes\n", v.queue[0].used->entry[0].written, v.queue[0].used->entry[1].written);
	return 0;
}

/* Repeats on the virtio console what comes in there, until ^D. */
static int console(void)
{
	char *in = page_pointer(page_alloc_zero());
	struct virtio v;
	uint32_t n;
	bool end;

	if (!virtio_find(&v, VIRTIO_CONSOLE, 0) || !virtio_start(&v, 0, 2))
		panic("no virtio console");
	for (unsigned int i = 0;; i++) {
		virtio_describe(&v, 0, 0, in, 100, VIRTIO_WRITE, 0);
		virtio_offer(&v, 0, 0);
		virtio_wait(&v, 0, 1);
		n = v.queue[0].used->entry[i % VIRTIO_SIZE].written;
		end = n == 0 || in[n - 1] == 4;
		n -= n != 0 && end;
		if (n > 0) {
			virtio_describe(&v, 1, 0, in, n, 0, 0);
			virtio_offer(&v, 1, 0);
			virtio_kick(&v, 1);
			virtio_wait(&v, 1, 1);
		}
		if (end)
			return 0;
	}
}

static const struct command {
	const char *name, *what;
	int (*without)(void);
	int (*with)(struct disk *d, const char *args); /* a disk, the first one */
} commands[] = {
	{ "list", "the virtio devices", list, NULL },
	{ "fill", "[SEED] writes the whole disk, flushes", NULL, fill },
	{ "check", "[SEED] reads it and compares", NULL, check },
	{ "journal", "[COUNT] writes numbers, flushes, and prints each when that is done", NULL, journal },
	{ "ledger", "[TICKS] writes and says what nobody can foresee, every few ticks and for each line; `exit CODE` ends it", NULL, disk_ledger },
	{ "try-write", "writes one sector; exit 1 if it is refused", NULL, try_write },
	{ "measure", "SIZE COUNT DEPTH [random] reads, timed", NULL, disk_measure },
	{ "hostile", "what no driver should do; exit 0 if nothing came of it", NULL, hostile },
	{ "entropy", "random bytes", entropy, NULL },
	{ "console", "repeats what comes in by the virtio console, until ^D", console, NULL },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char *after_word(const char *args, const char *name)
{
	size_t length = strlen(name);

	if (strlen(args) < length || memcmp(args, name, length) != 0 || (args[length] != '\0' && args[length] != ' '))
		return NULL;
	return args[length] == '\0' ? args + length : args + length + 1;
}

static int run(const struct command *c, const char *args)
{
	static struct disk d;

	if (c->with == NULL)
		return c->without();
	disk_open(&d, 0);
	return c->with(&d, args);
}

int image_main(const char *args)
{
	const char *rest;

	pages_init();
	pic_init();
	for (size_t i = 0; i < COMMANDS; i++) {
		rest = after_word(args, commands[i].name);
		if (rest != NULL)
			return run(&commands[i], rest);
	}
	for (size_t i = 0; i < COMMANDS; i++)
		kprintf("%-10s %s\n", commands[i].name, commands[i].what);
	return strcmp(args, "help") == 0 ? 0 : EXIT_USAGE;
}
