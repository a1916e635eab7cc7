/*
 * Split virtqueues against a driver and an oracle of the test's own, which reads rings byte by byte and knows loops by the
 * descriptors it has seen; on good rings and on hostile ones.
 */
#include "vmm/virtqueue.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"
#include "vmm/state.h"
#include "vmm/virtqueue_io.h"

#define RAM MEM_MIN_BYTES
#define ROUNDS 30000

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* A driver's view: where it put things. */
struct driver {
	struct mem mem;
	struct virtqueue q;
	uint64_t table, available, used, indirect;
};

static uint64_t get(struct driver *d, uint64_t gpa, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++) {
		const uint8_t *byte = mem_at(&d->mem, gpa + i, 1, MEM_READ);

		value |= (uint64_t)*byte << (8 * i);
	}
	return value;
}

static void put(struct driver *d, uint64_t gpa, unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; i < size; i++) {
		uint8_t *byte = mem_at(&d->mem, gpa + i, 1, MEM_WRITE);

		*byte = (uint8_t)(value >> (8 * i));
	}
}

static void describe(struct driver *d, uint64_t table, unsigned int i, uint64_t gpa, uint32_t size, unsigned int flags,
		     unsigned int next)
{
	put(d, table + 16 * i, 8, gpa);
	put(d, table + 16 * i + 8, 4, size);
	put(d, table + 16 * i + 12, 2, flags);
	put(d, table + 16 * i + 14, 2, next);
}

static void make_available(struct driver *d, unsigned int head)
{
	uint64_t index = get(d, d->available + 2, 2);

	put(d, d->available + 4 + 2 * (index % d->q.size), 2, head);
	put(d, d->available + 2, 2, index + 1);
}

static void start(struct driver *d, unsigned int size)
{
	d->table = 0x10000;
	d->available = 0x20002;
	d->used = 0x30004;
	d->indirect = 0x40008;
	memset(mem_at(&d->mem, 0, RAM, MEM_WRITE), 0, RAM);
	virtqueue_init(&d->q, &d->mem);
	d->q.size = (uint16_t)size;
	d->q.descriptors = d->table;
	d->q.driver = d->available;
	d->q.device = d->used;
	ck_assert_int_eq(virtqueue_start(&d->q), 0);
}

static void setup(struct driver *d, unsigned int size)
{
	memset(d, 0, sizeof(*d));
	ck_assert_int_eq(mem_create(&d->mem, RAM, MEM_HUGE_NEVER), 0);
	start(d, size);
}

/* What a chain is by the letter of the standard; count -1: it is not one. */
struct expected {
	int count;
	unsigned int readable;
	struct virtqueue_buffer buffer[4096];
};

static bool oracle_table(struct driver *d, uint64_t table, uint64_t entries, unsigned int at, struct expected *e, bool top);

static bool oracle_entry(struct driver *d, uint64_t entry, struct expected *e, bool top, unsigned int *flags)
{
	uint64_t gpa = get(d, entry, 8), size = get(d, entry + 8, 4);

	*flags = (unsigned int)get(d, entry + 12, 2);
	if (*flags & INDIRECT) {
		if (!top || !d->q.indirect || *flags & NEXT || size == 0 || size % 16 || gpa > RAM || gpa + size > RAM)
			return false;
		*flags = 0;
		return oracle_table(d, gpa, size / 16, 0, e, false);
	}
	if (size == 0 || gpa >= RAM || size > RAM - gpa)
		return false;
	if (!(*flags & WRITE) && e->readable != (unsigned int)e->count)
		return false;
	e->buffer[e->count++] = (struct virtqueue_buffer){gpa, (uint32_t)size};
	e->readable += !(*flags & WRITE);
	return true;
}

static bool oracle_table(struct driver *d, uint64_t table, uint64_t entries, unsigned int at, struct expected *e, bool top)
{
	static bool seen[2][65536];
	unsigned int flags;

	memset(seen[top], 0, sizeof(seen[top]));
	do {
		if (at >= entries || seen[top][at])
			return false;
		seen[top][at] = true;
		if (!oracle_entry(d, table + 16 * at, e, top, &flags))
			return false;
		at = (unsigned int)get(d, table + 16 * at + 14, 2);
	} while (flags & NEXT);
	return true;
}

/* 1, 0 or -EINVAL, as virtqueue_pop(). */
static int oracle_pop(struct driver *d, struct expected *e)
{
	uint64_t waiting = (get(d, d->available + 2, 2) - d->q.next) & 0xffff;
	unsigned int head;

	if (d->q.broken || waiting > d->q.size)
		return -EINVAL;
	if (!waiting)
		return 0;
	head = (unsigned int)get(d, d->available + 4 + 2 * (d->q.next % d->q.size), 2);
	memset(e, 0, sizeof(*e));
	if (!oracle_table(d, d->table, d->q.size, head, e, true) || e->count > (int)VIRTQUEUE_MAX_BUFFERS)
		return -EINVAL;
	return 1;
}

static void expect_chain(const struct virtqueue_chain *c, const struct expected *e)
{
	uint64_t readable = 0, writable = 0;

	expect_eq(c->count, e->count);
	expect_eq(c->readable, e->readable);
	for (unsigned int i = 0; i < c->count; i++) {
		expect_eq(c->buffer[i].gpa, e->buffer[i].gpa);
		expect_eq(c->buffer[i].size, e->buffer[i].size);
		*(i < c->readable ? &readable : &writable) += c->buffer[i].size;
	}
	expect_eq(c->readable_bytes, readable);
	expect_eq(c->writable_bytes, writable);
}

/* A descriptor that is good most of the time. */
static void random_descriptor(struct driver *d, struct random *r, uint64_t table, unsigned int i, unsigned int entries, bool top,
			      unsigned int evil)
{
	bool bad = random_below(r, 100) < evil;
	uint64_t size = 1 + random_below(r, 5000), gpa = 0x50000 + random_below(r, 0x80000);
	unsigned int flags = (random_below(r, 3) ? NEXT : 0) | (random_below(r, entries) < i ? WRITE : 0);
	unsigned int next = i + 1 < entries ? i + 1 : 0;

	if (top && random_below(r, 6) == 0) {
		gpa = d->indirect;
		size = 16 * (1 + random_below(r, 140));
		flags = INDIRECT;
	}
	if (bad) {
		switch (random_below(r, 6)) {
		case 0: gpa = random_next(r) >> random_below(r, 64); break;
		case 1: size = random_next(r) >> random_below(r, 64) & 0xffffffff; break;
		case 2: flags = (unsigned int)random_next(r) & 7; break;
		case 3: next = (unsigned int)random_next(r) & 0xffff; break;
		case 4: gpa = RAM - random_below(r, 2) * size - random_below(r, 3); break;
		default: next = (unsigned int)random_below(r, entries); break;
		}
	}
	describe(d, table, i, gpa, (uint32_t)size, flags, next);
}

static void random_tables(struct driver *d, struct random *r, unsigned int evil)
{
	for (unsigned int i = 0; i < d->q.size; i++)
		random_descriptor(d, r, d->table, i, d->q.size, true, evil);
	for (unsigned int i = 0; i < 140; i++)
		random_descriptor(d, r, d->indirect, i, 140, false, evil);
}

START_TEST(random_rings)
{
	struct random r = random_start("virtqueue");
	unsigned int chains = 0, refused = 0, indirect = 0, kept = 0, full = 0;
	static struct expected e;
	struct virtqueue_chain c;
	struct driver d;

	setup(&d, 16);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int expected, got;

		if (d.q.broken || i % 64 == 0) {
			start(&d, 1u << random_below(&r, 8));
			d.q.indirect = random_below(&r, 4);
			/* Anywhere on the circle of indexes. */
			d.q.next = d.q.used = (uint16_t)random_next(&r);
			kept = 0;
			put(&d, d.available + 2, 2, d.q.next);
			random_tables(&d, &r, (unsigned int)random_below(&r, 4) * 3);
		}
		if (random_below(&r, 3))
			make_available(&d, (unsigned int)random_below(&r, random_below(&r, 50) ? d.q.size : 65536));
		if (random_below(&r, 300) == 0)
			put(&d, d.available + 2, 2, random_next(&r));
		for (; kept && random_below(&r, 5) > 1; kept--)
			virtqueue_push(&d.q, &c, 0);
		expected = oracle_pop(&d, &e);
		if (expected && kept == d.q.size) {
			expected = -EINVAL;
			full++;
		}
		got = virtqueue_pop(&d.q, &c);
		kept += got == 1;
		expect_msg(got == expected, "round %u: %d and not %d", i, got, expected);
		expect(got != -EINVAL || d.q.broken);
		if (got == 1) {
			expect_chain(&c, &e);
			indirect += c.count > d.q.size;
		}
		chains += got == 1;
		refused += got < 0;
	}
	printf("virtqueue: %u chains, %u of them longer than their ring, %u broken rings\n", chains, indirect, refused);
	expect(chains > ROUNDS / 10);
	expect(refused > 50);
	expect(indirect > 10);
	expect(full > 10);
	mem_destroy(&d.mem);
}
END_TEST

/* All of them: shapes that are no queue, and places that are not RAM. */
START_TEST(starts)
{
	struct driver d;

	setup(&d, 8);
	for (unsigned int size = 0; size <= 0xffff; size++) {
		bool good = size == 1 || size == 2 || size == 4 || size == 8 || size == 16 || size == 32 || size == 64 ||
			    size == 128;

		d.q.size = (uint16_t)size;
		expect_eq(virtqueue_start(&d.q) == 0, good);
		expect(d.q.broken == !good);
	}
	d.q.size = 8;
	for (unsigned int low = 0; low < 16; low++) {
		d.q.descriptors = d.table + low;
		expect_eq(virtqueue_start(&d.q) == 0, low == 0);
		d.q.descriptors = d.table;
		d.q.driver = 0x20000 + low;
		expect_eq(virtqueue_start(&d.q) == 0, low % 2 == 0);
		d.q.driver = d.available;
		d.q.device = 0x30000 + low;
		expect_eq(virtqueue_start(&d.q) == 0, low % 4 == 0);
		d.q.device = d.used;
	}
	/* The last place at which each fits, by its bytes: 16, 6 + 2 and 6 + 8 for each entry. */
	d.q.descriptors = RAM - 128;
	d.q.driver = RAM - 22;
	d.q.device = RAM - 72;
	ck_assert_int_eq(virtqueue_start(&d.q), 0);
	d.q.descriptors += 16;
	ck_assert_int_eq(virtqueue_start(&d.q), -EINVAL);
	d.q.descriptors = 0;
	d.q.driver += 2;
	ck_assert_int_eq(virtqueue_start(&d.q), -EINVAL);
	d.q.driver = 0;
	d.q.device += 4;
	ck_assert_int_eq(virtqueue_start(&d.q), -EINVAL);
	d.q.device = UINT64_MAX & ~3ull;
	ck_assert_int_eq(virtqueue_start(&d.q), -EINVAL);
	mem_destroy(&d.mem);
}
END_TEST

START_TEST(loops)
{
	struct virtqueue_chain c;
	struct driver d;

	setup(&d, 4);
	for (unsigned int i = 0; i < 4; i++)
		describe(&d, d.table, i, 0x50000, 16, NEXT, (i + 1) % 4);
	make_available(&d, 0);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), -EINVAL);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), -EINVAL);
	start(&d, 4);
	d.q.indirect = true;
	describe(&d, d.table, 0, d.indirect, 16, INDIRECT, 0);
	describe(&d, d.indirect, 0, 0x50000, 16, NEXT, 0);
	make_available(&d, 0);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), -EINVAL);
	start(&d, 4);
	d.q.indirect = true;
	describe(&d, d.table, 0, d.indirect, 16, INDIRECT, 0);
	describe(&d, d.indirect, 0, d.indirect, 16, INDIRECT, 0);
	make_available(&d, 0);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), -EINVAL);
	mem_destroy(&d.mem);
}
END_TEST

START_TEST(gives_back)
{
	struct random r = random_start("virtqueue used");
	struct virtqueue_chain c;
	struct driver d;

	setup(&d, 8);
	d.q.next = d.q.used = d.q.announced = 0xfff0;
	put(&d, d.available + 2, 2, 0xfff0);
	put(&d, d.used + 2, 2, 0xfff0);
	for (unsigned int i = 0; i < 1000; i++) {
		unsigned int head = (unsigned int)random_below(&r, 8);
		uint32_t written = (uint32_t)random_next(&r);
		uint64_t index = (0xfff0 + i) & 0xffff;

		describe(&d, d.table, head, 0x50000, 16, WRITE, 0);
		make_available(&d, head);
		expect_eq(virtqueue_pop(&d.q, &c), 1);
		expect_eq(c.head, head);
		virtqueue_put_back(&d.q);
		expect_eq(virtqueue_waiting(&d.q), 1);
		expect_eq(virtqueue_pop(&d.q, &c), 1);
		expect_eq(get(&d, d.used + 2, 2), index);
		virtqueue_push(&d.q, &c, written);
		expect_eq(get(&d, d.used + 2, 2), (index + 1) & 0xffff);
		expect_eq(get(&d, d.used + 4 + 8 * (index % 8), 4), head);
		expect_eq(get(&d, d.used + 8 + 8 * (index % 8), 4), written);
		expect_eq(virtqueue_pop(&d.q, &c), 0);
	}
	mem_destroy(&d.mem);
}
END_TEST

/* One by one: has the index stepped over the event? */
static bool oracle_passed(uint16_t event, uint16_t after, uint16_t before)
{
	for (uint16_t i = before; i != after; i++)
		if (i == event)
			return true;
	return false;
}

START_TEST(event_index)
{
	struct random r = random_start("event index");
	unsigned int yes = 0;

	for (unsigned int i = 0; i < 20000; i++) {
		uint16_t before = (uint16_t)random_next(&r), after = (uint16_t)(before + random_below(&r, 300));
		uint16_t event = (uint16_t)(before - 20 + random_below(&r, 340));
		bool passed = oracle_passed(event, after, before);

		expect_eq(virtqueue_passed(event, after, before), passed);
		yes += passed;
	}
	expect(yes > 1000 && yes < 19000);
}
END_TEST

static void complete_one(struct driver *d)
{
	struct virtqueue_chain c;

	describe(d, d->table, 0, 0x50000, 16, WRITE, 0);
	make_available(d, 0);
	expect_eq(virtqueue_pop(&d->q, &c), 1);
	virtqueue_push(&d->q, &c, 16);
}

START_TEST(interrupts)
{
	struct driver d;

	setup(&d, 8);
	expect(!virtqueue_wants_interrupt(&d.q));
	complete_one(&d);
	expect(virtqueue_wants_interrupt(&d.q));
	expect(!virtqueue_wants_interrupt(&d.q));
	put(&d, d.available, 2, 1);
	complete_one(&d);
	expect(!virtqueue_wants_interrupt(&d.q));
	d.q.event_index = true; /* then the flags do not count: 2.7.7.1 */
	put(&d, d.available + 4 + 16, 2, 3);
	complete_one(&d);
	expect(!virtqueue_wants_interrupt(&d.q));
	complete_one(&d);
	expect(virtqueue_wants_interrupt(&d.q));
	complete_one(&d);
	expect(!virtqueue_wants_interrupt(&d.q));
	put(&d, d.available + 4 + 16, 2, 6);
	complete_one(&d);
	complete_one(&d);
	expect(virtqueue_wants_interrupt(&d.q));
	mem_destroy(&d.mem);
}
END_TEST

START_TEST(notifications)
{
	struct driver d;

	setup(&d, 8);
	virtqueue_hush(&d.q);
	expect_eq(get(&d, d.used, 2), 1);
	expect(!virtqueue_listen(&d.q));
	expect_eq(get(&d, d.used, 2), 0);
	make_available(&d, 0);
	expect(virtqueue_listen(&d.q));
	d.q.event_index = true;
	complete_one(&d);
	virtqueue_hush(&d.q);
	expect_eq(get(&d, d.used, 2), 0);
	expect(virtqueue_listen(&d.q));
	expect_eq(get(&d, d.used + 4 + 64, 2), d.q.next);
	mem_destroy(&d.mem);
}
END_TEST

/* Bytes of a chain against the same bytes laid end to end. */
START_TEST(bytes_of_chains)
{
	struct random r = random_start("virtqueue bytes");
	static uint8_t flat[2][128 * 100], copy[128 * 100];
	static struct virtqueue_io io;
	struct virtqueue_chain c;
	struct driver d;

	setup(&d, 8);
	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t at, size, have, n, pinned = 0;
		unsigned int part = (unsigned int)random_below(&r, 2);

		memset(&c, 0, sizeof(c));
		c.count = (unsigned int)random_below(&r, 20);
		c.readable = (unsigned int)random_below(&r, c.count + 1);
		for (unsigned int i = 0; i < c.count; i++) {
			struct virtqueue_buffer *b = &c.buffer[i];
			uint64_t *bytes = i < c.readable ? &c.readable_bytes : &c.writable_bytes;

			*b = (struct virtqueue_buffer){0x50000 + 100 * i, 1 + (uint32_t)random_below(&r, 100)};
			for (unsigned int k = 0; k < b->size; k++) {
				uint8_t byte = (uint8_t)random_next(&r);

				put(&d, b->gpa + k, 1, byte);
				flat[i >= c.readable][(*bytes)++] = byte;
			}
		}
		have = part ? c.writable_bytes : c.readable_bytes;
		at = random_below(&r, have + 20);
		size = random_below(&r, have + 20);
		n = at >= have ? 0 : size < have - at ? size : have - at;
		if (part) {
			for (unsigned int k = 0; k < size; k++)
				copy[k] = (uint8_t)random_next(&r);
			expect_eq(virtqueue_write(&d.mem, &c, at, copy, size), n);
			memcpy(flat[1] + at, copy, n);
		} else {
			expect_eq(virtqueue_read(&d.mem, &c, at, copy, size), n);
			expect(!memcmp(copy, flat[0] + at, n));
		}
		atomic_store(&d.mem.lost, true);
		expect_eq(virtqueue_io_begin(&io, &d.mem, &c, part ? MEM_WRITE : MEM_READ, at < have ? at : 0, n), -EIO);
		expect(!mem_is_pinned(&d.mem, 0, RAM));
		atomic_store(&d.mem.lost, false);
		expect_eq(virtqueue_io_begin(&io, &d.mem, &c, part ? MEM_WRITE : MEM_READ, at < have ? at : 0, n), 0);
		for (unsigned int i = 0; i < io.count; i++) {
			expect(!memcmp(io.vector[i].iov_base, flat[part] + (at < have ? at : 0) + pinned, io.vector[i].iov_len));
			pinned += io.vector[i].iov_len;
		}
		expect_eq(pinned, n);
		expect_eq(mem_is_pinned(&d.mem, 0x50000, 0x1000), n > 0);
		virtqueue_io_end(&io);
		expect(!mem_is_pinned(&d.mem, 0, RAM));
	}
	mem_destroy(&d.mem);
}
END_TEST

/* Not set up, or broken: nothing is touched. */
START_TEST(dead_queues)
{
	struct virtqueue_chain c = {.head = 1};
	struct driver d;

	setup(&d, 8);
	make_available(&d, 9);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), -EINVAL);
	virtqueue_push(&d.q, &c, 1);
	virtqueue_hush(&d.q);
	expect(!virtqueue_listen(&d.q));
	expect(!virtqueue_wants_interrupt(&d.q));
	expect_eq(get(&d, d.used, 8), 0);
	virtqueue_init(&d.q, &d.mem);
	ck_assert_int_eq(virtqueue_pop(&d.q, &c), 0);
	expect(!virtqueue_listen(&d.q));
	mem_destroy(&d.mem);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		random_rings, starts, loops, gives_back, event_index, interrupts, notifications, bytes_of_chains,
		dead_queues,
	};

	return RUN_TESTS("virtqueue", tests);
}
