/*
 * Guest memory by gva against a naive oracle that takes every byte on its own: pages of every kind side by side, all
 * sizes, all kinds of access.
 */
#include "shadow/gmem.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/unit/shadow_guest.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define GVA 0x00007abcdef00000ull
#define PAGES 8u
#define ROUNDS 10000u

struct page {
	uint64_t gpa, flags;
};

struct field {
	struct guest guest;
	struct page page[PAGES];
};

static struct field field;

static bool is_device(const struct page *p)
{
	return p->gpa >= GUEST_DEVICE;
}

/* Any gpa of RAM or of no RAM, any rights; mostly present. */
static void random_pages(struct field *f, struct random *r)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		struct page *p = &f->page[i];

		p->gpa = random_below(r, 4) ? 0x200000 + PAGE_SIZE * random_below(r, 256)
					    : GUEST_DEVICE + PAGE_SIZE * random_below(r, 16);
		p->flags = (random_below(r, 6) ? PTE_P : 0) | (random_below(r, 4) ? PTE_W : 0) |
			   (random_below(r, 4) ? PTE_U : 0) | (random_below(r, 3) ? 0 : PTE_NX);
		guest_map(&f->guest, GVA + i * PAGE_SIZE, p->gpa, p->flags);
	}
}

/* The error code of a fault on one byte, or -1. */
static int fault_of(const struct page *p, unsigned int access, bool wp)
{
	bool write = access & MMU_WRITE, user = access & MMU_USER, exec = access & MMU_EXEC;
	int error = (write ? 2 : 0) | (user ? 4 : 0) | (exec ? 16 : 0);

	if (!(p->flags & PTE_P))
		return error;
	if (user && !(p->flags & PTE_U))
		return error | 1;
	if (write && !(p->flags & PTE_W) && (user || wp))
		return error | 1;
	if (exec && (p->flags & PTE_NX))
		return error | 1;
	return -1;
}

/* What should happen, byte by byte. */
struct expected {
	int error; /* of the first byte that faults, or -1 */
	uint64_t gva;
	struct access access[2 * GMEM_MAX];
	unsigned int accesses;
};

static const struct page *page_at(const struct field *f, uint64_t gva)
{
	return &f->page[(gva - GVA) / PAGE_SIZE];
}

static void expect(const struct field *f, uint64_t gva, uint32_t size, unsigned int access, const uint8_t *bytes,
		   struct expected *e)
{
	struct access *last = NULL;

	*e = (struct expected){.error = -1};
	for (uint32_t i = 0; i < size && e->error < 0; i++) {
		e->gva = gva + i;
		e->error = fault_of(page_at(f, gva + i), access, f->guest.cs.cr0 & CR0_WP);
	}
	for (uint32_t i = 0; i < size && e->error < 0; i++) {
		const struct page *p = page_at(f, gva + i);

		if ((gva + i) % PAGE_SIZE == 0)
			last = NULL;
		if (!is_device(p))
			continue;
		if (!last || last->size == 8) {
			last = &e->access[e->accesses++];
			last->addr = p->gpa + (gva + i) % PAGE_SIZE;
			last->kind = access & MMU_WRITE ? ACCESS_MMIO_WRITE : ACCESS_MMIO_READ;
		}
		last->value |= (uint64_t)bytes[i] << 8 * last->size++;
	}
}

static uint8_t *byte_at(struct field *f, uint64_t gva)
{
	return guest_ram(&f->guest, page_at(f, gva)->gpa + gva % PAGE_SIZE);
}

static void check_accesses(struct field *f, const struct expected *e)
{
	const struct guest *g = &f->guest;

	ck_assert_uint_eq(g->accesses, e->accesses);
	for (unsigned int i = 0; i < e->accesses; i++) {
		ck_assert_int_eq(g->access[i].kind, e->access[i].kind);
		ck_assert_uint_eq(g->access[i].addr, e->access[i].addr);
		ck_assert_uint_eq(g->access[i].size, e->access[i].size);
		if (e->access[i].kind == ACCESS_MMIO_WRITE)
			ck_assert_uint_eq(g->access[i].value, e->access[i].value);
	}
}

/* A and D of every page: set where a byte was touched and nothing faulted. */
static void check_marks(struct field *f, uint64_t gva, uint32_t size, unsigned int access, const struct expected *e)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t page = GVA + i * PAGE_SIZE, entry = *guest_entry(&f->guest, page, 1), marks = 0;

		if (e->error < 0 && gva < page + PAGE_SIZE && gva + size > page)
			marks = access & MMU_WRITE ? PTE_A | PTE_D : PTE_A;
		ck_assert_uint_eq(entry, f->page[i].gpa | f->page[i].flags | marks);
	}
}

/* Every byte of RAM written is told of, and nothing else is. */
static void check_stored(struct field *f, uint64_t gva, uint32_t size, bool stored)
{
	const struct guest *g = &f->guest;
	uint64_t told = 0;

	for (unsigned int i = 0; i < g->stores; i++)
		told += g->stored[i].size;
	for (uint32_t i = 0; i < size && stored; i++) {
		const struct page *p = page_at(f, gva + i);
		uint64_t gpa = p->gpa + (gva + i) % PAGE_SIZE;
		bool found = is_device(p);

		for (unsigned int k = 0; k < g->stores; k++)
			found |= gpa - g->stored[k].gpa < g->stored[k].size;
		ck_assert(found);
		told -= !is_device(p);
	}
	ck_assert_uint_eq(told, 0);
}

/* What a read should give for byte i: RAM's, or its part of the device's answer. */
static uint8_t expected_byte(struct field *f, uint64_t gva, uint32_t i, const struct expected *e)
{
	uint64_t gpa = page_at(f, gva + i)->gpa + (gva + i) % PAGE_SIZE;

	for (unsigned int k = 0; k < e->accesses; k++)
		if (gpa - e->access[k].addr < e->access[k].size)
			return (uint8_t)(guest_device_value(&f->guest, e->access[k].addr, e->access[k].size) >>
					 8 * (gpa - e->access[k].addr));
	return *byte_at(f, gva + i);
}

static void check_read(struct field *f, uint64_t gva, uint32_t size, unsigned int access)
{
	struct gfault fault = {0};
	uint8_t bytes[GMEM_MAX] = {0};
	struct expected e;
	int err;

	expect(f, gva, size, access, bytes, &e);
	err = gmem_read(&f->guest.gmem, gva, bytes, size, access, &fault);
	ck_assert_int_eq(err, e.error < 0 ? 0 : -EFAULT);
	if (err) {
		ck_assert_int_eq((int)fault.error, e.error);
		ck_assert_uint_eq(fault.gva, e.gva);
	}
	for (uint32_t i = 0; i < size; i++)
		ck_assert_uint_eq(bytes[i], err ? 0 : expected_byte(f, gva, i, &e));
	check_accesses(f, &e);
	check_marks(f, gva, size, access, &e);
	ck_assert_uint_eq(f->guest.stores, 0);
}

static void check_write(struct field *f, uint64_t gva, uint32_t size, unsigned int access, struct random *r)
{
	uint8_t bytes[GMEM_MAX], before[GMEM_MAX];
	struct gfault fault = {0};
	struct expected e;
	int err;

	for (uint32_t i = 0; i < size; i++) {
		bytes[i] = (uint8_t)random_next(r);
		before[i] = is_device(page_at(f, gva + i)) ? 0 : *byte_at(f, gva + i);
	}
	expect(f, gva, size, access | MMU_WRITE, bytes, &e);
	err = gmem_write(&f->guest.gmem, gva, bytes, size, access, &fault);
	ck_assert_int_eq(err, e.error < 0 ? 0 : -EFAULT);
	if (err) {
		ck_assert_int_eq((int)fault.error, e.error);
		ck_assert_uint_eq(fault.gva, e.gva);
	}
	/* Two pages may be one: then the later byte stands. */
	for (uint32_t i = 0; i < size; i++)
		if (!is_device(page_at(f, gva + i)) && page_at(f, gva)->gpa != page_at(f, gva + size - 1)->gpa)
			ck_assert_uint_eq(*byte_at(f, gva + i), err ? before[i] : bytes[i]);
	check_accesses(f, &e);
	check_marks(f, gva, size, access | MMU_WRITE, &e);
	check_stored(f, gva, size, !err);
}

static void random_access(struct field *f, struct random *r)
{
	uint32_t size = 1 + (uint32_t)random_below(r, GMEM_MAX);
	uint64_t border = GVA + PAGE_SIZE * (1 + random_below(r, PAGES - 1));
	uint64_t gva = random_below(r, 2) ? border - random_below(r, size + 1ull)
					  : GVA + random_below(r, PAGES * PAGE_SIZE - size);
	unsigned int access = random_below(r, 2) ? MMU_USER : 0;

	guest_forget(&f->guest);
	f->guest.device_seed = random_next(r);
	f->guest.cs.cr0 = CR0_PE | CR0_PG | (random_below(r, 2) ? CR0_WP : 0);
	if (random_below(r, 2))
		check_read(f, gva, size, access | (random_below(r, 3) ? 0 : MMU_EXEC));
	else
		check_write(f, gva, size, access, r);
}

START_TEST(agrees_byte_by_byte)
{
	struct random r = random_start("agrees_byte_by_byte");

	guest_create(&field.guest);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (i % 50 == 0)
			random_pages(&field, &r);
		random_access(&field, &r);
	}
	guest_destroy(&field.guest);
}
END_TEST

/* A store of 24 bytes is three accesses; the VM may end at each of them. */
START_TEST(the_vm_may_end_at_any_access)
{
	for (unsigned int end = 1; end <= 4; end++) {
		struct guest *g = &field.guest;
		uint8_t bytes[24] = {0};
		struct gfault fault;

		guest_create(g);
		guest_map(g, GVA, GUEST_DEVICE, PTE_P | PTE_W | PTE_U);
		g->end_at = end;
		ck_assert_int_eq(gmem_write(&g->gmem, GVA, bytes, sizeof(bytes), MMU_USER, &fault), end <= 3 ? -EIO : 0);
		ck_assert_uint_eq(g->accesses, end < 3 ? end : 3);
		g->accesses = 0;
		ck_assert_int_eq(gmem_read(&g->gmem, GVA, bytes, sizeof(bytes), MMU_USER, &fault), end <= 3 ? -EIO : 0);
		ck_assert_uint_eq(g->accesses, end < 3 ? end : 3);
		guest_destroy(g);
	}
}
END_TEST

START_TEST(canonical_at_both_ends)
{
	ck_assert(gmem_canonical(0, 1));
	ck_assert(gmem_canonical(0x00007fffffffffffull, 1));
	ck_assert(!gmem_canonical(0x00007fffffffffffull, 2));
	ck_assert(!gmem_canonical(0x0000800000000000ull, 1));
	ck_assert(!gmem_canonical(0xffff7fffffffffffull, 1));
	ck_assert(!gmem_canonical(0xffff7fffffffffffull, 2));
	ck_assert(gmem_canonical(0xffff800000000000ull, 1));
	ck_assert(gmem_canonical(0xfffffffffffffff8ull, 16));
}
END_TEST

/* The address space is a ring: an access over its end goes on at 0. */
START_TEST(wraps_at_the_end)
{
	struct guest *g = &field.guest;
	struct gfault fault;
	uint64_t value = 0;

	guest_create(g);
	guest_map(g, 0xfffffffffffff000ull, 0x200000, PTE_P | PTE_U);
	memcpy(guest_ram(g, 0x200ffc), "abcd", 4);
	ck_assert_int_eq(gmem_read(&g->gmem, 0xfffffffffffffffcull, &value, 8, MMU_USER, &fault), -EFAULT);
	ck_assert_uint_eq(fault.gva, 0);
	guest_map(g, 0, 0x240000, PTE_P | PTE_U);
	memcpy(guest_ram(g, 0x240000), "efgh", 4);
	ck_assert_int_eq(gmem_read(&g->gmem, 0xfffffffffffffffcull, &value, 8, MMU_USER, &fault), 0);
	ck_assert_int_eq(memcmp(&value, "abcdefgh", 8), 0);
	guest_destroy(g);
}
END_TEST

static struct {
	unsigned int walks, used;
	uint64_t gpa; /* of the last */
} told;

static void take_walk(struct gmem *g, const struct walk *w, bool used)
{
	told.walks++;
	told.used += used;
	told.gpa = w->gpa;
}

/* Of one walk a page, and of those that fault. */
START_TEST(walks_are_told_of)
{
	struct guest *g = &field.guest;
	struct gfault fault;
	uint64_t value = 0;

	guest_create(g);
	g->gmem.walked = take_walk;
	guest_map(g, GVA, 0x200000, PTE_P | PTE_U);
	ck_assert_int_eq(gmem_read(&g->gmem, GVA, &value, 8, MMU_USER, &fault), 0);
	ck_assert(told.walks == 1 && told.used == 1 && told.gpa == 0x200000);
	ck_assert_int_eq(gmem_write(&g->gmem, GVA, &value, 8, MMU_USER, &fault), -EFAULT);
	ck_assert(told.walks == 2 && told.used == 1);
	guest_map(g, GVA + PAGE_SIZE, 0x240000, PTE_P | PTE_U);
	ck_assert_int_eq(gmem_read(&g->gmem, GVA + PAGE_SIZE - 4, &value, 8, MMU_USER, &fault), 0);
	ck_assert(told.walks == 4 && told.used == 3 && told.gpa == 0x240000);
	guest_destroy(g);
}
END_TEST

START_TEST(cpl_is_that_of_ss)
{
	for (unsigned int cpl = 0; cpl <= 3; cpl++) {
		struct guest *g = &field.guest;

		guest_create(g);
		guest_set_cpl(g, cpl);
		ck_assert_uint_eq(gmem_cpl(&g->cs), cpl);
		ck_assert_uint_eq(gmem_user(&g->cs), cpl == 3 ? MMU_USER : 0);
		guest_destroy(g);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		agrees_byte_by_byte, the_vm_may_end_at_any_access, canonical_at_both_ends, wraps_at_the_end,
		walks_are_told_of, cpl_is_that_of_ss,
	};

	return RUN_TESTS("shadow_gmem", tests);
}
