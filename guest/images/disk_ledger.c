/*
 * disk ledger: writes down on the disk, and says, what nobody can foresee: when it was, random bytes, and each line that was typed; and
 * between these how long nothing came. Each entry has a sector, and first reads what is there: the entry that once had it.
 * Whoever brings this guest back must not have it say or find anything else than it did.
 */
#include "guest/images/disk.h"

#include <stddef.h>

#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/timer.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define TICK_HZ 100
#define SECTORS_MOST 64u /* that it uses */
#define LINE_MOST 64u
#define FLUSH_EVERY 4u

struct entry {
	uint64_t number, clock, random;
	char text[LINE_MOST];
};

struct ledger {
	struct disk *d;
	struct virtio entropy;
	volatile uint64_t *random;
	uint64_t count; /* of entries */
	uint64_t used;	/* sectors */
	uint64_t wrong;
	struct entry at[SECTORS_MOST]; /* what a sector has */
	char line[LINE_MOST];
	size_t length;
};

static void on_input(void)
{
}

static uint64_t draw(struct ledger *l)
{
	virtio_describe(&l->entropy, 0, 0, l->random, sizeof(*l->random), VIRTIO_WRITE, 0);
	virtio_offer(&l->entropy, 0, 0);
	virtio_kick(&l->entropy, 0);
	virtio_wait(&l->entropy, 0, 1);
	return *l->random;
}

static bool is_there(struct ledger *l, uint64_t sector)
{
	return disk_do(l->d, DISK_READ, sector, DISK_SECTOR) == DISK_OK && !memcmp(l->d->data, &l->at[sector], sizeof(l->at[sector]));
}

static void write(struct ledger *l, uint64_t sector)
{
	memset(l->d->data, 0, DISK_SECTOR);
	memcpy(l->d->data, &l->at[sector], sizeof(l->at[sector]));
	if (disk_do(l->d, DISK_WRITE, sector, DISK_SECTOR) != DISK_OK)
		panic("write error at sector %lu", sector);
	if (l->count % FLUSH_EVERY == 0 && disk_do(l->d, DISK_FLUSH, 0, 0) != DISK_OK)
		panic("flush error");
}

static void say(const struct entry *e, bool right)
{
	kprintf("#%lu %lu %016lx %s%s\n", e->number, e->clock, e->random, e->text, right ? "" : " WRONG");
}

/* It says it first, or writes it first, in turn: either can be the last that was seen of it. */
static void enter(struct ledger *l, const char *text)
{
	uint64_t sector = l->count % l->used;
	bool right = l->count < l->used || is_there(l, sector), says_first = l->count % 2;
	struct entry *e = &l->at[sector];

	memset(e, 0, sizeof(*e));
	*e = (struct entry){ .number = l->count++, .clock = machine_clock(), .random = draw(l) };
	memcpy(e->text, text, strlen(text));
	l->wrong += !right;
	if (says_first)
		say(e, right);
	write(l, sector);
	if (!says_first)
		say(e, right);
}

static int end(struct ledger *l, uint64_t code)
{
	for (uint64_t i = 0; i < l->used && i < l->count; i++)
		l->wrong += !is_there(l, i);
	kprintf("ledger: %lu entries, %lu wrong\n", l->count, l->wrong);
	return l->wrong ? 1 : (int)code;
}

/* Whether that was the end; *code is the one to end with. */
static bool take(struct ledger *l, char byte, uint64_t *code)
{
	if (byte != '\n' && l->length < LINE_MOST - 1) {
		l->line[l->length++] = byte;
		return false;
	}
	l->line[l->length] = '\0';
	l->length = 0;
	enter(l, l->line);
	return !memcmp(l->line, "exit ", 5) && parse_number(l->line + 5, code);
}

int disk_ledger(struct disk *d, const char *args)
{
	static struct ledger l;
	uint64_t every = 3, code, then = 0;
	char byte;

	if (args[0] != '\0' && (!parse_number(args, &every) || !every))
		machine_usage("disk ledger [TICKS]");
	l.d = d;
	l.used = d->sectors < SECTORS_MOST ? d->sectors : SECTORS_MOST;
	l.random = page_pointer(page_alloc_zero());
	if (!virtio_find(&l.entropy, VIRTIO_ENTROPY, 0) || !virtio_start(&l.entropy, 0, 1))
		panic("no entropy device");
	timer_start(TICK_HZ, NULL);
	console_input_start(on_input);
	for (;;) {
		while (console_read(&byte, 1))
			if (take(&l, byte, &code))
				return end(&l, code);
		if (timer_ticks() >= then + every) {
			then = timer_ticks();
			enter(&l, "-");
		}
		cpu_wait();
	}
}
