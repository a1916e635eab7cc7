/*
 * The bus against a map that gives every single byte its owner, and the access seam above it.
 */
#include "vmm/bus.h"

#include <check.h>
#include <signal.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/access.h"
#include "vmm/mem.h"
#include "vmm/state.h"

#define PORTS 0x10000u

/* Answers each byte with a number made of its range and offset, and remembers the last byte written to each address. */
struct mirror {
	struct device device;
	uint64_t base[4];
	uint8_t written[PORTS];
	unsigned int calls, resets;
	uint64_t last; /* value of the last write, whole */
	uint8_t max_size;
};

static uint8_t byte_at(unsigned int range, uint64_t offset)
{
	return (uint8_t)(range * 89 + offset * 7 + 3);
}

static void mirror_access(struct device *d, unsigned int range, struct access *a)
{
	struct mirror *m = (struct mirror *)d;
	uint64_t value = 0;

	m->calls++;
	if (a->size > m->max_size)
		m->max_size = a->size;
	for (unsigned int i = 0; i < a->size; i++) {
		value |= (uint64_t)byte_at(range, a->addr + i) << (8 * i);
		if (!access_is_read(a->kind))
			m->written[(m->base[range] + a->addr + i) % PORTS] = (uint8_t)(a->value >> (8 * i));
	}
	if (access_is_read(a->kind))
		a->value = value;
	else
		m->last = a->value;
}

static void mirror_reset(struct device *d)
{
	((struct mirror *)d)->resets++;
}

static void mirror_visit(struct device *d, struct state *s)
{
	struct mirror *m = (struct mirror *)d;

	state_begin(s, "mirror", 1);
	state_u8(s, &m->max_size);
	state_check(s, m->max_size < 9, "mirror: size");
	state_end(s);
}

static struct mirror mirrors[2];

static void setup(struct bus *b)
{
	memset(mirrors, 0, sizeof(mirrors));
	bus_init(b);
	for (unsigned int i = 0; i < 2; i++) {
		mirrors[i].device = (struct device){
			.name = "mirror", .byte_wide = i, .access = mirror_access, .reset = mirror_reset,
			.visit = mirror_visit,
		};
		bus_add(b, &mirrors[i].device);
	}
}

/* Oracle: for every port, its owner (0, 1, or -1) and what it reads. */
static int8_t owner[PORTS];
static uint8_t reads[PORTS];

static void claim_random(struct bus *b, struct random *r)
{
	memset(owner, -1, sizeof(owner));
	memset(reads, 0xff, sizeof(reads));
	for (unsigned int i = 0; i < 8; i++) {
		unsigned int d = i % 2, range = i / 2;
		uint64_t size = 1 + random_below(r, 12), base = random_below(r, 70) + (i > 5 ? PORTS - 81 : 0x100);
		bool taken = false;

		for (uint64_t p = base; p < base + size; p++)
			taken |= owner[p] >= 0;
		if (taken)
			continue;
		bus_claim(b, &mirrors[d].device, BUS_PORT, base, size, range);
		mirrors[d].base[range] = base;
		for (uint64_t p = base; p < base + size; p++) {
			owner[p] = (int8_t)d;
			reads[p] = byte_at(range, p - base);
		}
	}
}

static void check_read(struct bus *b, uint64_t port, uint8_t size)
{
	struct access a = { .kind = ACCESS_PORT_READ, .size = size, .addr = port, .value = 0x5555555555555555 };
	uint64_t expected = 0;

	for (unsigned int i = 0; i < size; i++)
		expected |= (uint64_t)(port + i < PORTS ? reads[port + i] : 0xff) << (8 * i);
	bus_access(b, &a);
	expect_eq(a.value, expected);
	expect_eq(a.addr, port);
}

static void check_write(struct bus *b, uint64_t port, uint8_t size, uint64_t value)
{
	struct access a = { .kind = ACCESS_PORT_WRITE, .size = size, .addr = port, .value = value };

	uint64_t first = port - 16, last = port + 24 < PORTS ? port + 24 : PORTS;

	for (unsigned int i = 0; i < 2; i++)
		memset(mirrors[i].written + first, 0, last - first);
	bus_access(b, &a);
	for (uint64_t p = first; p < last; p++) {
		bool hit = p >= port && p < port + size;

		for (int i = 0; i < 2; i++)
			expect_eq(mirrors[i].written[p],
					  hit && owner[p] == i ? (value >> (8 * (p - port)) & 0xff) : 0);
	}
}

START_TEST(every_byte_finds_its_owner)
{
	struct random r = random_start("bus");
	struct bus b;

	for (int round = 0; round < 40; round++) {
		setup(&b);
		claim_random(&b, &r);
		for (uint8_t size = 1; size <= 8; size++) {
			for (uint64_t port = 0xf0; port < 0x160; port++) {
				check_read(&b, port, size);
				check_write(&b, port, size, random_next(&r) | 0x0101010101010101);
			}
			for (uint64_t port = PORTS - 90; port < PORTS; port++) {
				check_read(&b, port, size);
				check_write(&b, port, size, random_next(&r) | 0x0101010101010101);
			}
		}
		expect(mirrors[1].max_size <= 1); /* the byte-wide one */
	}
}
END_TEST

START_TEST(a_whole_access_is_one_call)
{
	struct access a = { .kind = ACCESS_MMIO_READ, .size = 8, .addr = UINT64_MAX - 7 };
	struct bus b;

	setup(&b);
	bus_claim(&b, &mirrors[0].device, BUS_MMIO, UINT64_MAX - 15, 16, 0);
	bus_access(&b, &a);
	expect_eq(mirrors[0].calls, 1);
	expect_eq(a.value & 0xff, byte_at(0, 8));
	a = (struct access){ .kind = ACCESS_PORT_READ, .size = 2, .addr = UINT64_MAX - 7 };
	bus_access(&b, &a);
	expect_eq(a.value, 0xffff); /* another space */
}
END_TEST

START_TEST(finds_whole_ranges_only)
{
	struct bus b;

	setup(&b);
	bus_claim(&b, &mirrors[0].device, BUS_MMIO, 0x1000, 0x10, 3);
	expect_eq(bus_find(&b, BUS_MMIO, 0x1000, 0x10)->range, 3);
	ck_assert_ptr_nonnull(bus_find(&b, BUS_MMIO, 0x100f, 1));
	ck_assert_ptr_null(bus_find(&b, BUS_MMIO, 0x100f, 2));
	ck_assert_ptr_null(bus_find(&b, BUS_MMIO, 0xfff, 2));
	ck_assert_ptr_null(bus_find(&b, BUS_MMIO, 0x1000, 0));
	ck_assert_ptr_null(bus_find(&b, BUS_MMIO, 0x1008, UINT64_MAX - 4));
	ck_assert_ptr_null(bus_find(&b, BUS_PORT, 0x1000, 1));
}
END_TEST

START_TEST(ranges_may_not_overlap)
{
	static const struct { enum bus_space space; uint64_t base, size; } claims[] = {
		{ BUS_PORT, 0x100, 8 }, { BUS_PORT, 0x107, 1 }, { BUS_PORT, 0xff, 2 }, { BUS_PORT, 0xf0, 0x100 },
		{ BUS_PORT, 0xffff, 2 }, { BUS_PORT, 5, 0 }, { BUS_MMIO, 0, 0 }, { BUS_MMIO, UINT64_MAX, 2 },
	};
	struct bus b;

	setup(&b);
	bus_claim(&b, &mirrors[0].device, BUS_PORT, 0x100, 8, 0);
	bus_claim(&b, &mirrors[0].device, claims[_i].space, claims[_i].base, claims[_i].size, 1);
}
END_TEST

START_TEST(odd_accesses_are_our_bug)
{
	static const struct access bad[] = {
		{ .kind = ACCESS_PORT_READ, .size = 0 }, { .kind = ACCESS_PORT_WRITE, .size = 9 }, { .kind = ACCESS_HLT, .size = 1 },
	};
	struct access a = bad[_i];
	struct bus b;

	setup(&b);
	bus_access(&b, &a);
}
END_TEST

START_TEST(a_failed_load_resets_all)
{
	static const uint8_t bad[] = { 'm', 'i', 'r', 'r', 'o', 'r', 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 200 };
	struct state s, good;
	struct bus b;

	setup(&b);
	state_save_init(&s);
	bus_visit(&b, &s);
	ck_assert_ptr_null(state_error(&s));
	state_load_init(&good, s.bytes, s.size);
	bus_visit(&b, &good);
	ck_assert_ptr_null(state_error(&good));
	state_free(&s);
	expect_eq(mirrors[0].resets + mirrors[1].resets, 0);
	bus_reset(&b);
	expect_eq(mirrors[0].resets, 1);
	state_load_init(&s, bad, sizeof(bad));
	bus_visit(&b, &s);
	ck_assert_str_eq(state_error(&s), "mirror: size");
	expect_eq(mirrors[0].resets, 2);
	expect_eq(mirrors[1].resets, 2);
}
END_TEST

static bool odd_is_timed(const struct device *d, unsigned int range, uint64_t offset)
{
	return range == 3 && offset & 1;
}

/* An access is timed if a byte of it is, whoever answers the others. */
START_TEST(timed_accesses)
{
	struct bus b;

	setup(&b);
	bus_claim(&b, &mirrors[0].device, BUS_PORT, 0x100, 4, 3);
	bus_claim(&b, &mirrors[1].device, BUS_PORT, 0x104, 4, 4);
	mirrors[0].device.timed = odd_is_timed;
	for (uint64_t addr = 0xf8; addr < 0x110; addr++)
		for (uint8_t size = 1; size <= 8; size++) {
			struct access a = {.kind = addr & 4 ? ACCESS_PORT_READ : ACCESS_PORT_WRITE, .addr = addr, .size = size};
			bool want = (addr <= 0x101 && addr + size > 0x101) || (addr <= 0x103 && addr + size > 0x103);

			expect_eq(bus_is_timed(&b, &a), want);
			a.kind = ACCESS_MMIO_READ;
			expect_eq(bus_is_timed(&b, &a), false);
		}
	mirrors[0].device.timed = NULL;
}
END_TEST

/* A tap that writes down what it is told. */
struct diary {
	struct access_tap tap;
	char text[512];
};

static void note(struct access_tap *t, const char *what, uint64_t position, uint64_t value)
{
	struct diary *d = (struct diary *)t;
	size_t n = strlen(d->text);

	snprintf(d->text + n, sizeof(d->text) - n, "%s %d %" PRIx64 ";", what, (int)position, value);
}

static void note_access(struct access_tap *t, uint64_t position, const struct access *a)
{
	note(t, a->kind == ACCESS_HLT ? "hlt" : access_is_read(a->kind) ? "read" : "write", position, a->value);
}

static void note_external(struct access_tap *t, uint64_t position, enum access_source source, void *bytes, size_t size)
{
	note(t, "external", position, ((const uint8_t *)bytes)[0] + 0x100 * size);
}

static void note_before(struct access_tap *t, uint64_t position, const struct access *a)
{
	if (access_is_read(a->kind))
		note(t, "before", position, a->addr);
}

static void note_interrupt(struct access_tap *t, uint64_t position, uint8_t vector)
{
	note(t, "interrupt", position, vector);
}

static void some_accesses(struct access_port *p)
{
	struct access out = { .kind = ACCESS_PORT_WRITE, .size = 2, .addr = 0x100, .value = 0xdead1235 };
	struct access in = { .kind = ACCESS_PORT_READ, .size = 1, .addr = 0x102, .value = UINT64_MAX };
	struct access mmio = { .kind = ACCESS_MMIO_READ, .size = 8, .addr = 0x100 };
	struct access hlt = { .kind = ACCESS_HLT };
	char input[] = "A";

	access_complete(p, &out);
	access_external(p, ACCESS_CONSOLE, input, 1);
	access_complete(p, &in);
	access_complete(p, &mmio);
	access_interrupt(p, 0x20);
	access_complete(p, &hlt);
}

START_TEST(the_tap_hears_all_in_order)
{
	struct diary d = { .tap = { .before = note_before, .access = note_access, .external = note_external, .interrupt = note_interrupt } };
	struct bus b;
	struct access_port p = { .bus = &b, .tap = &d.tap };

	setup(&b);
	bus_claim(&b, &mirrors[0].device, BUS_PORT, 0x100, 8, 0);
	some_accesses(&p);
	ck_assert_str_eq(d.text, "write 1 1235;external 1 141;before 1 102;read 2 11;before 2 100;"
				 "read 3 ffffffffffffffff;interrupt 3 20;hlt 4 0;");
	expect_eq(mirrors[0].last, 0x1235);
	expect_eq(p.position, 4);
}
END_TEST

START_TEST(no_tap_and_deaf_taps_count_the_same)
{
	struct access_tap deaf = { 0 };
	struct bus b;
	struct access_port p = { .bus = &b };

	setup(&b);
	some_accesses(&p);
	expect_eq(p.position, 4);
	p.tap = &deaf;
	some_accesses(&p);
	expect_eq(p.position, 8);
}
END_TEST

/* What a guest without its RAM does has no effect, and nobody hears of it. */
START_TEST(no_access_without_ram)
{
	struct access_tap deaf = { 0 };
	struct mem m = { 0 };
	struct bus b;
	struct access_port p = { .bus = &b, .tap = &deaf, .mem = &m };
	struct access in = { .kind = ACCESS_PORT_READ, .addr = 0x9, .size = 2 };

	setup(&b);
	some_accesses(&p);
	expect_eq(p.position, 4);
	atomic_store(&m.lost, true);
	some_accesses(&p);
	access_complete(&p, &in);
	expect_eq(p.position, 4);
	expect_eq(in.value, 0xffff);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("bus");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, every_byte_finds_its_owner);
	tcase_add_test(tcase, a_whole_access_is_one_call);
	tcase_add_test(tcase, finds_whole_ranges_only);
	tcase_add_test(tcase, a_failed_load_resets_all);
	tcase_add_test(tcase, timed_accesses);
	tcase_add_test(tcase, the_tap_hears_all_in_order);
	tcase_add_test(tcase, no_access_without_ram);
	tcase_add_test(tcase, no_tap_and_deaf_taps_count_the_same);
	if (suite_forks()) {
		tcase_add_loop_test_raise_signal(tcase, ranges_may_not_overlap, SIGABRT, 0, 8);
		tcase_add_loop_test_raise_signal(tcase, odd_accesses_are_our_bug, SIGABRT, 0, 3);
	}
	return run_case("bus", tcase);
}
