/*
 * report: a driver of the balloon that says which pages it has freed. They must be zero, and all others as they were; `report help`
 * lists what there is.
 */
#include "guest/images/report.h"

#include <stddef.h>

#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/pic.h"
#include "guest/kernel/timer.h"
#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define WORDS (PAGE_SIZE / sizeof(uint64_t))
#define BUFFERS 8u    /* of a chain, at most */
#define RUN 12u	      /* pages of a buffer, at most */
#define EDITS 24u     /* of a round */
#define SAY_EVERY 8u  /* rounds */
#define FAMILIES 5u   /* values that many pages have */

const struct program programs[] = { PROGRAMS_END };

/* Words that are looked at, the others are zero: a host may interpret this code. */
static const unsigned int places[] = { 0, 1, WORDS / 2, WORDS - 1 };

#define PLACES (sizeof(places) / sizeof(places[0]))

static uint64_t *words_of(const struct field *f, uint64_t page)
{
	return (uint64_t *)(f->page + page * PAGE_SIZE);
}

/* At the upper end of RAM, which the page allocator, going up from the image, does not come to. */
void field_open(struct field *f, uint64_t pages)
{
	const struct abi_region *low = &machine_boot()->region[0];
	const uint64_t size = pages * (PAGE_SIZE + sizeof(*f->value));
	uint64_t gpa = (low->base + low->size - size) & ~(LARGE_PAGE_SIZE - 1);

	if (!virtio_find(&f->balloon, VIRTIO_BALLOON, 0) || !virtio_start(&f->balloon, BALLOON_REPORTING, VIRTIO_QUEUES))
		panic("no balloon");
	f->queue = BALLOON_REPORTS;
	if (size > low->size / 2 || gpa < low->base + low->size / 4)
		panic("no room for %lu pages", pages);
	for (uint64_t at = gpa; at < gpa + size; at += LARGE_PAGE_SIZE)
		paging_map_ram(at);
	f->pages = pages;
	f->page = page_pointer(gpa);
	f->value = page_pointer(gpa + pages * PAGE_SIZE);
}

void field_write(struct field *f, uint64_t page, uint64_t value)
{
	f->value[page] = value;
	for (unsigned int i = 0; i < PLACES; i++)
		words_of(f, page)[places[i]] = value == 0 ? 0 : value + i;
}

uint64_t field_wrong(const struct field *f)
{
	uint64_t wrong = 0;

	for (uint64_t page = 0; page < f->pages; page++) {
		const uint64_t *words = words_of(f, page), value = f->value[page];
		bool right = true;

		for (unsigned int i = 0; i < PLACES; i++)
			right = right && words[places[i]] == (value == 0 ? 0 : value + i);
		wrong += !right;
	}
	return wrong;
}

void field_describe(struct field *f, unsigned int queue, unsigned int i, uint64_t at, uint64_t size, unsigned int flags)
{
	virtio_describe(&f->balloon, queue, i, f->page + at, size, flags, i + 1);
}

void field_forget(struct field *f, uint64_t at, uint64_t size)
{
	for (uint64_t page = (at + PAGE_SIZE - 1) / PAGE_SIZE; page < (at + size) / PAGE_SIZE; page++)
		f->value[page] = 0;
}

bool field_send(struct field *f, unsigned int queue)
{
	virtio_offer(&f->balloon, queue, 0);
	virtio_kick(&f->balloon, queue);
	return virtio_wait(&f->balloon, queue, 1);
}

static void report_some(struct field *f, uint64_t *state)
{
	unsigned int buffers = 1 + random_next(state) % BUFFERS;

	for (unsigned int i = 0; i < buffers; i++) {
		uint64_t page = random_next(state) % f->pages, run = 1 + random_next(state) % RUN;
		uint64_t at = page * PAGE_SIZE, size = (run < f->pages - page ? run : f->pages - page) * PAGE_SIZE;

		/* Now and then parts of pages, which stay. */
		if (random_next(state) % 4 == 0) {
			at += 1 + random_next(state) % (PAGE_SIZE - 1);
			size -= PAGE_SIZE - 1;
		}
		field_describe(f, f->queue, i, at, size, VIRTIO_WRITE | (i + 1 < buffers ? VIRTIO_NEXT : 0));
		field_forget(f, at, size);
	}
	if (!field_send(f, f->queue))
		panic("a good report broke the balloon");
}

static void edit(struct field *f, uint64_t *state)
{
	for (unsigned int i = 0; i < EDITS; i++) {
		uint64_t random = random_next(state), page = random_next(state) % f->pages;

		field_write(f, page, random % 2 ? random | 1ull << 63 : 1 + random / 2 % FAMILIES);
	}
}

static uint64_t checksum(const struct field *f)
{
	uint64_t sum = 0;

	for (uint64_t page = 0; page < f->pages; page++)
		sum = sum * 31 + words_of(f, page)[0];
	return sum;
}

/* A while in which a scavenger finds pages idle. */
static void rest(uint64_t ticks)
{
	for (uint64_t end = timer_ticks() + ticks; timer_ticks() < end;)
		cpu_wait();
}

static int random_edits(struct field *f, const uint64_t *number)
{
	uint64_t state = number[0], wrong;

	timer_start(TIMER_HZ, NULL);
	for (uint64_t round = 1; round <= number[1]; round++) {
		edit(f, &state);
		report_some(f, &state);
		f->queue = round % 3 ? BALLOON_REPORTS : BALLOON_REPORTS_COMPACT;
		wrong = field_wrong(f);
		if (wrong != 0) {
			kprintf("round %lu: %lu pages are wrong\n", round, wrong);
			return 1;
		}
		if (round % SAY_EVERY == 0)
			kprintf("round %lu: %lx\n", round, checksum(f));
		rest(number[3]);
	}
	return 0;
}

/* await_key() looks by itself. */
static void on_key(void)
{
}

static void await_key(void)
{
	char key;

	while (console_read(&key, 1) == 0)
		cpu_wait();
}

/* All of the field, as large buffers as there can be. */
static int give(struct field *f, const uint64_t *number)
{
	const uint64_t size = f->pages * PAGE_SIZE;

	console_input_start(on_key);
	for (uint64_t page = 0; page < f->pages; page++) {
		uint64_t state = number[0] + page % number[1];

		field_write(f, page, random_next(&state) | 1);
	}
	kprintf("filled\n");
	await_key();
	field_describe(f, f->queue, 0, 0, size, VIRTIO_WRITE);
	field_forget(f, 0, size);
	if (!field_send(f, f->queue))
		panic("a good report broke the balloon");
	kprintf("given\n");
	await_key();
	kprintf("%lu pages are wrong\n", field_wrong(f));
	return field_wrong(f) != 0;
}

/* Its own code: whatever becomes of this guest, it is the guest's doing. */
static int give_all(struct field *f, const uint64_t *number)
{
	virtio_describe(&f->balloon, f->queue, 0, page_pointer(0), number[1] << 20, VIRTIO_WRITE, 0);
	field_send(f, f->queue);
	kprintf("still there\n");
	return 1;
}

static int hostile(struct field *f, const uint64_t *number)
{
	return report_hostile(f);
}

static const struct command {
	const char *name, *what;
	int (*run)(struct field *f, const uint64_t *number);
} commands[] = {
	{ "random", "pages are written and reported at random; exit 1 if one is not as it must be", random_edits },
	{ "give", "fills all pages, of which ROUNDS in a row differ; at a key it reports them, at another one it looks at them", give },
	{ "give-all", "reports the first ROUNDS MiB, with the kernel in them", give_all },
	{ "hostile", "what no driver should do; exit 0 if nothing came of it", hostile },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int usage(void)
{
	kprintf("report COMMAND [SEED [ROUNDS [PAGES [REST]]]], REST in hundredths of a second:\n");
	for (size_t i = 0; i < COMMANDS; i++)
		kprintf("%-10s %s\n", commands[i].name, commands[i].what);
	return EXIT_USAGE;
}

int image_main(const char *args)
{
	static struct field f;
	uint64_t number[] = { 1, 32, 512, 2 };
	char line[80], *words[6];
	int count;

	pages_init();
	pic_init();
	memcpy(line, args, strlen(args) < sizeof(line) ? strlen(args) + 1 : sizeof(line));
	line[sizeof(line) - 1] = '\0';
	count = parse_words(line, words, 6);
	for (int i = 1; i < count && i <= 4; i++)
		if (!parse_number(words[i], &number[i - 1]))
			return usage();
	for (size_t i = 0; count > 0 && i < COMMANDS; i++)
		if (strcmp(words[0], commands[i].name) == 0 && number[1] != 0 && number[2] != 0) {
			field_open(&f, number[2]);
			return commands[i].run(&f, number);
		}
	return usage() * (count == 0 || strcmp(words[0], "help") != 0);
}
