/*
 * report hostile: what no driver should do to a balloon. After each case it must have said so (DEVICE_NEEDS_RESET) or gone on, no page
 * may have changed that was not reported rightly, and after a reset it must work.
 */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/report.h"
#include "guest/kernel/console.h"
#include "guest/kernel/pages.h"
#include "guest/lib/random.h"

#define NOWHERE 0x7f00000000ull
#define INFLATE 0u
#define DEFLATE 1u
#define PAGE_POISON (1ull << 4)

/* What a case may come to. */
enum { BROKEN = 1, FINE = 2 };

/* One buffer anywhere. */
static void send(struct field *f, unsigned int queue, uint64_t gpa, uint64_t size, unsigned int flags)
{
	virtio_describe(&f->balloon, queue, 0, page_pointer(gpa), size, flags, 0);
	field_send(f, queue);
}

static uint64_t gpa_of(const struct field *f, uint64_t page)
{
	return (uint64_t)(f->page + page * PAGE_SIZE);
}

static void outside(struct field *f)
{
	send(f, f->queue, NOWHERE, PAGE_SIZE, VIRTIO_WRITE);
}

static void in_device(struct field *f)
{
	send(f, f->queue, ABI_VIRTIO_MMIO, PAGE_SIZE, VIRTIO_WRITE);
}

static void at_the_end(struct field *f)
{
	send(f, f->queue, UINT64_MAX - 100, PAGE_SIZE, VIRTIO_WRITE);
}

static void gigantic(struct field *f)
{
	send(f, f->queue, gpa_of(f, 0), 0xfffff000u, VIRTIO_WRITE);
}

static void empty(struct field *f)
{
	send(f, f->queue, gpa_of(f, 0), 0, VIRTIO_WRITE);
}

/* A good buffer, and then one that is none: nothing of the chain is done. */
static void half_good(struct field *f)
{
	field_describe(f, f->queue, 0, 0, PAGE_SIZE, VIRTIO_WRITE | VIRTIO_NEXT);
	virtio_describe(&f->balloon, f->queue, 1, page_pointer(NOWHERE), PAGE_SIZE, VIRTIO_WRITE, 0);
	field_send(f, f->queue);
}

static void loop(struct field *f)
{
	virtio_describe(&f->balloon, f->queue, 0, f->page, PAGE_SIZE, VIRTIO_WRITE | VIRTIO_NEXT, 0);
	field_send(f, f->queue);
}

static void index_jumps(struct field *f)
{
	f->balloon.queue[f->queue].available->index += 1000;
	virtio_set(&f->balloon, VIRTIO_REG_NOTIFY, f->queue);
}

static void within_a_page(struct field *f)
{
	send(f, f->queue, gpa_of(f, 2) + 1, PAGE_SIZE - 1, VIRTIO_WRITE);
	send(f, f->queue, gpa_of(f, 3), PAGE_SIZE - 1, VIRTIO_WRITE);
	send(f, f->queue, gpa_of(f, 4) + 1, 2 * PAGE_SIZE - 2, VIRTIO_WRITE);
}

static void not_aligned(struct field *f)
{
	send(f, f->queue, gpa_of(f, 2) + 17, 3 * PAGE_SIZE - 1, VIRTIO_WRITE);
	field_forget(f, 2 * PAGE_SIZE + 17, 3 * PAGE_SIZE - 1);
}

static void to_be_read(struct field *f)
{
	send(f, f->queue, gpa_of(f, 0), 4 * PAGE_SIZE, 0);
}

static void mixed(struct field *f)
{
	field_describe(f, f->queue, 0, 0, PAGE_SIZE, VIRTIO_NEXT);
	field_describe(f, f->queue, 1, 5 * PAGE_SIZE, PAGE_SIZE, VIRTIO_WRITE);
	field_forget(f, 5 * PAGE_SIZE, PAGE_SIZE);
	field_send(f, f->queue);
}

static void written_first(struct field *f)
{
	field_describe(f, f->queue, 0, 0, PAGE_SIZE, VIRTIO_WRITE | VIRTIO_NEXT);
	field_describe(f, f->queue, 1, 5 * PAGE_SIZE, PAGE_SIZE, 0);
	field_send(f, f->queue);
}

/* The whole field, as often as a chain can have it. */
static void over_and_over(struct field *f)
{
	for (unsigned int i = 0; i < VIRTIO_SIZE; i++)
		field_describe(f, f->queue, i, 0, f->pages * PAGE_SIZE, VIRTIO_WRITE | (i + 1 < VIRTIO_SIZE ? VIRTIO_NEXT : 0));
	field_forget(f, 0, f->pages * PAGE_SIZE);
	field_send(f, f->queue);
}

/* Pages that the device itself works with. */
static void own_table(struct field *f)
{
	send(f, f->queue, (uint64_t)f->balloon.queue[f->queue].descriptor, PAGE_SIZE, VIRTIO_WRITE);
}

static void own_rings(struct field *f)
{
	struct virtio_rings *q = &f->balloon.queue[f->queue];

	virtio_describe(&f->balloon, f->queue, 0, q->used, PAGE_SIZE, VIRTIO_WRITE | VIRTIO_NEXT, 1);
	virtio_describe(&f->balloon, f->queue, 1, q->available, PAGE_SIZE, VIRTIO_WRITE, 0);
	virtio_offer(&f->balloon, f->queue, 0);
	virtio_set(&f->balloon, VIRTIO_REG_NOTIFY, f->queue);
}

/* Page numbers, as a balloon takes them that is asked to grow. */
static void give_numbers(struct field *f, unsigned int queue)
{
	static uint32_t numbers[4];

	for (unsigned int i = 0; i < 4; i++)
		numbers[i] = i < 3 ? (uint32_t)(gpa_of(f, i) / PAGE_SIZE) : UINT32_MAX;
	send(f, queue, (uint64_t)numbers, sizeof(numbers), 0);
	send(f, queue, (uint64_t)numbers, 3, 0);
	send(f, queue, gpa_of(f, 1), PAGE_SIZE, VIRTIO_WRITE);
}

static void inflate(struct field *f)
{
	give_numbers(f, INFLATE);
}

static void deflate(struct field *f)
{
	give_numbers(f, DEFLATE);
}

/* Hints, which were never asked for. */
static void hints(struct field *f)
{
	send(f, 3, gpa_of(f, 0), PAGE_SIZE, VIRTIO_WRITE);
}

static void no_queues(struct field *f)
{
	for (uint32_t n = VIRTIO_QUEUES; n < 40; n++)
		virtio_set(&f->balloon, VIRTIO_REG_NOTIFY, n);
	virtio_set(&f->balloon, VIRTIO_REG_NOTIFY, UINT32_MAX);
}

/* Who has not taken the feature has no such queue. */
static void not_negotiated(struct field *f)
{
	virtio_start(&f->balloon, 0, VIRTIO_QUEUES);
	send(f, f->queue, gpa_of(f, 0), PAGE_SIZE, VIRTIO_WRITE);
}

static void not_offered(struct field *f)
{
	if (virtio_start(&f->balloon, BALLOON_REPORTING | PAGE_POISON, VIRTIO_QUEUES))
		f->value[0] = 1; /* it was not declined */
}

static void config(struct field *f)
{
	for (uint32_t at = 0; at < 32; at += 4) {
		virtio_set(&f->balloon, VIRTIO_REG_CONFIG + at, UINT32_MAX);
		virtio_get(&f->balloon, VIRTIO_REG_CONFIG + at);
	}
	if (virtio_get(&f->balloon, VIRTIO_REG_CONFIG) != 0)
		f->value[0] = 1;
}

static void registers(struct field *f)
{
	uint64_t state = 1;

	for (unsigned int i = 0; i < 300; i++) {
		uint64_t random = random_next(&state);
		uint32_t reg = (uint32_t)(random >> 32) % 0x120 & ~3u;

		virtio_set(&f->balloon, reg, random & 1 ? (uint32_t)random : (uint32_t)random % 16);
		virtio_get(&f->balloon, reg);
	}
}

static const struct hostile_case {
	const char *name;
	void (*commit)(struct field *f);
	unsigned int allowed;
} cases[] = {
	{ "outside", outside, BROKEN },
	{ "in-device", in_device, BROKEN },
	{ "at-the-end", at_the_end, BROKEN },
	{ "gigantic", gigantic, BROKEN },
	{ "empty", empty, BROKEN },
	{ "half-good", half_good, BROKEN },
	{ "loop", loop, BROKEN },
	{ "index-jumps", index_jumps, BROKEN },
	{ "within-a-page", within_a_page, FINE },
	{ "not-aligned", not_aligned, FINE },
	{ "to-be-read", to_be_read, FINE },
	{ "mixed", mixed, FINE },
	{ "written-first", written_first, BROKEN },
	{ "over-and-over", over_and_over, FINE },
	{ "own-table", own_table, FINE },
	{ "own-rings", own_rings, BROKEN | FINE },
	{ "inflate", inflate, FINE },
	{ "deflate", deflate, FINE },
	{ "hints", hints, FINE },
	{ "no-queues", no_queues, FINE },
	{ "not-negotiated", not_negotiated, FINE },
	{ "not-offered", not_offered, FINE },
	{ "config", config, FINE },
	{ "registers", registers, BROKEN | FINE },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static void fill(struct field *f)
{
	for (uint64_t page = 0; page < f->pages; page++)
		field_write(f, page, (page + 1) << 32);
}

static bool works_again(struct field *f)
{
	if (!virtio_start(&f->balloon, BALLOON_REPORTING, VIRTIO_QUEUES))
		return false;
	send(f, f->queue, gpa_of(f, 1), PAGE_SIZE, VIRTIO_WRITE);
	field_forget(f, PAGE_SIZE, PAGE_SIZE);
	return field_wrong(f) == 0;
}

static unsigned int outcome(const struct field *f)
{
	return (virtio_get(&f->balloon, VIRTIO_REG_STATUS) & VIRTIO_STATUS_NEEDS_RESET) != 0 ? BROKEN : FINE;
}

int report_hostile(struct field *f)
{
	unsigned int bad = 0;

	for (size_t i = 0; i < CASES; i++) {
		unsigned int got;
		uint64_t wrong;

		fill(f);
		cases[i].commit(f);
		got = outcome(f);
		wrong = field_wrong(f);
		if ((got & cases[i].allowed) == 0 || wrong != 0 || !works_again(f)) {
			kprintf("BAD %s: %u, %lu pages\n", cases[i].name, got, wrong);
			bad++;
		}
		f->queue = f->queue == BALLOON_REPORTS ? BALLOON_REPORTS_COMPACT : BALLOON_REPORTS;
	}
	kprintf("report: %lu hostile cases, %u bad\n", CASES, bad);
	return bad != 0;
}
