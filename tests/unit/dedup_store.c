/* The store against a list of what was put in, under random work, without room, and on a host that has no memory. */
#include "dedup/store.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "dedup/size_class.h"
#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define BLOCK (32u << 10)
#define OBJECTS 6000u
#define STEPS 150000u
#define ROOM (64ull << 20)

/* What the host refuses: these calls, after so many that it grants. */
static struct {
	bool mmap, mprotect, calloc;
	unsigned int after;
} host;

void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset);
int __real_mprotect(void *at, size_t size, int protection);
int __wrap_mprotect(void *at, size_t size, int protection);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool refuses(bool call)
{
	return call && !(host.after && host.after--);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
	if (!refuses(host.mmap))
		return __real_mmap64(at, size, protection, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __wrap_mprotect(void *at, size_t size, int protection)
{
	if (!refuses(host.mprotect))
		return __real_mprotect(at, size, protection);
	errno = ENOMEM;
	return -1;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuses(host.calloc) ? NULL : __real_calloc(n, size);
}

struct object {
	uint32_t handle; /* STORE_NONE: none */
	unsigned int size;
	uint64_t seed;
};

struct model {
	struct store *store;
	struct object object[OBJECTS];
	uint64_t objects, bytes;
};

static struct model m;

static void fill(uint8_t *bytes, unsigned int size, uint64_t seed)
{
	struct random r = {seed};

	for (unsigned int i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i % 8 ? bytes[i - 1] * 5u + 1 : random_next(&r));
}

static void check_object(const struct object *o)
{
	uint8_t bytes[STORE_MOST];
	const void *got;
	unsigned int size;

	fill(bytes, o->size, o->seed);
	got = store_get(m.store, o->handle, &size);
	expect_eq(size, o->size);
	expect(!memcmp(got, bytes, size));
}

static void check_all(void)
{
	struct store_stats stats;

	for (unsigned int i = 0; i < OBJECTS; i++)
		if (m.object[i].handle)
			check_object(&m.object[i]);
	store_stats(m.store, &stats);
	expect_eq(stats.objects, m.objects);
	expect_eq(stats.bytes, m.bytes);
	expect(stats.held >= stats.bytes && stats.held % BLOCK == 0);
}

/* False: it was not taken. */
static bool put(struct object *o, unsigned int size, uint64_t seed)
{
	uint8_t bytes[STORE_MOST];

	*o = (struct object){.size = size, .seed = seed};
	fill(bytes, size, seed);
	o->handle = store_put(m.store, bytes, size);
	if (!o->handle)
		return false;
	m.objects++;
	m.bytes += size;
	return true;
}

static void take_out(struct object *o)
{
	check_object(o);
	store_remove(m.store, o->handle);
	m.objects--;
	m.bytes -= o->size;
	o->handle = STORE_NONE;
}

static void start(uint64_t most)
{
	memset(&host, 0, sizeof(host));
	m = (struct model){.store = store_create(most)};
	ck_assert_ptr_nonnull(m.store);
}

static void end(void)
{
	struct store_stats stats;

	check_all();
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (m.object[i].handle)
			take_out(&m.object[i]);
	store_stats(m.store, &stats);
	expect_eq(stats.objects, 0);
	expect_eq(stats.bytes, 0);
	expect_eq(stats.held, 0);
	ck_assert(!store_compact(m.store, 1));
	store_destroy(m.store);
}

static unsigned int some_size(struct random *r)
{
	static const unsigned int likely[] = {28, 64, 100, 700, 2972, STORE_MOST};

	switch (random_below(r, 3)) {
	case 0: return likely[random_below(r, 6)];
	case 1: return 1 + (unsigned int)random_below(r, 1 + random_below(r, STORE_MOST));
	default: return 1 + (unsigned int)random_below(r, STORE_MOST);
	}
}

static void compact_some(struct random *r)
{
	unsigned int most = (unsigned int)random_below(r, 100);
	struct store_stats before, after;
	bool more;

	store_stats(m.store, &before);
	more = store_compact(m.store, most);
	store_stats(m.store, &after);
	expect(after.moved - before.moved <= most);
	expect(!more || after.moved - before.moved == most);
	expect(after.held <= before.held);
	expect_eq(after.bytes, before.bytes);
}

/* Fuller and emptier by turns; moved together at any moment. */
START_TEST(random_work)
{
	struct random r = random_start("random_work");

	start(ROOM);
	for (unsigned int i = 0; i < STEPS; i++) {
		struct object *o = &m.object[random_below(&r, OBJECTS)];
		bool fuller = i / 20000 % 2 == 0;

		if (o->handle && random_below(&r, fuller ? 3 : 1) == 0)
			take_out(o);
		else if (!o->handle && random_below(&r, fuller ? 1 : 8) == 0)
			expect(put(o, some_size(&r), random_next(&r)));
		if (random_below(&r, 64) == 0)
			compact_some(&r);
		if (i % 10000 == 0)
			check_all();
	}
	end();
}
END_TEST

START_TEST(every_size)
{
	start(ROOM);
	for (unsigned int size = 1; size <= STORE_MOST; size++)
		expect(put(&m.object[size - 1], size, size));
	check_all();
	while (store_compact(m.store, 10))
		;
	end();
}
END_TEST

/* What a block has for each of its objects. */
START_TEST(little_waste)
{
	struct size_class c[SIZE_CLASSES_MOST];
	unsigned int last = size_classes(c, BLOCK, STORE_MOST, 4) - 1;
	double bytes = 0, held = 0;

	for (unsigned int size = 64; size <= STORE_MOST; size++) {
		while (c[last].size < size)
			last--;
		expect(c[last].size - size <= UINT8_MAX);
		expect((c[last].size + 4u) * c[last].slots <= BLOCK);
		bytes += size;
		held += (double)BLOCK / c[last].slots;
	}
	ck_assert_double_lt(held / bytes, 1.06);
}
END_TEST

/* As few blocks remain as can be, and not one object too many is moved at a time. */
START_TEST(moved_together)
{
	struct random r = random_start("moved_together");
	unsigned int size = 64 + (unsigned int)random_below(&r, STORE_MOST - 64), slots;
	struct store_stats before, after;
	bool more = true;

	start(ROOM);
	expect(put(&m.object[0], size, 0));
	store_stats(m.store, &before);
	for (slots = 1; slots < OBJECTS; slots++) {
		expect(put(&m.object[slots], size, slots));
		store_stats(m.store, &after);
		if (after.held != before.held)
			break;
	}
	for (unsigned int i = slots + 1; i < OBJECTS; i++)
		expect(put(&m.object[i], size, i));
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (random_below(&r, 5))
			take_out(&m.object[i]);
	while (more) {
		store_stats(m.store, &before);
		more = store_compact(m.store, 7);
		store_stats(m.store, &after);
		expect(after.moved <= before.moved + 7 && (!more || after.moved > before.moved));
	}
	expect_eq(after.held, (m.objects + slots - 1) / slots * BLOCK);
	end();
}
END_TEST

static unsigned int fill_up(unsigned int size)
{
	unsigned int n = 0;

	while (n < OBJECTS && put(&m.object[n], size, n))
		n++;
	return n;
}

START_TEST(no_room)
{
	struct store_stats stats;
	unsigned int n;

	start(1 << 20);
	n = fill_up(1000);
	ck_assert_uint_ge(n, 1000);
	ck_assert_uint_lt(n, OBJECTS);
	expect(!put(&m.object[n], 1000, 0) && !put(&m.object[n], 64, 0));
	store_stats(m.store, &stats);
	expect_eq(stats.held, 1 << 20);
	check_all();
	take_out(&m.object[5]);
	expect(!put(&m.object[n], 64, 0));
	expect(put(&m.object[5], 1000, 99));
	for (unsigned int i = 0; i < n; i++)
		take_out(&m.object[i]);
	expect(fill_up(1000) == n);
	end();
	start(BLOCK - 1);
	expect(!put(&m.object[0], 1, 0));
	end();
}
END_TEST

static bool is_there(const void *p)
{
	void *page = (void *)((uintptr_t)p & ~(PAGE_SIZE - 1));
	unsigned char resident;

	ck_assert_int_eq(mincore(page, PAGE_SIZE, &resident), 0);
	return resident & 1;
}

START_TEST(gives_back)
{
	const void *bytes;
	unsigned int size;

	start(ROOM);
	expect(put(&m.object[0], 3000, 1));
	bytes = store_get(m.store, m.object[0].handle, &size);
	ck_assert(is_there(bytes));
	take_out(&m.object[0]);
	ck_assert(!is_there(bytes));
	end();
}
END_TEST

/* Of an object, beside its bytes: its handle, and what a block's list needs. */
START_TEST(little_metadata)
{
	struct store_stats empty, stats;
	unsigned int n;

	start(ROOM);
	store_stats(m.store, &empty);
	n = fill_up(500);
	store_stats(m.store, &stats);
	ck_assert_uint_le(stats.metadata - empty.metadata, 2 * PAGE_SIZE + 5 * n);
	for (unsigned int i = 0; i < n; i++)
		take_out(&m.object[i]);
	store_stats(m.store, &stats);
	ck_assert_uint_le(stats.metadata - empty.metadata, 2 * PAGE_SIZE);
	end();
}
END_TEST

START_TEST(cannot_begin)
{
	struct capture c;

	for (unsigned int i = 0; i < 5; i++) {
		host.calloc = i == 4;
		host.mmap = i < 4;
		host.after = i % 4;
		capture_begin(&c);
		ck_assert_ptr_null(store_create(ROOM));
		assert_one_line(capture_end(&c), "Cannot allocate memory");
	}
}
END_TEST

static void check_unchanged(const struct store_stats *before)
{
	struct store_stats now;

	store_stats(m.store, &now);
	expect_eq(now.objects, before->objects);
	expect_eq(now.bytes, before->bytes);
	expect_eq(now.held, before->held);
	check_all();
}

/* The host refuses each of the calls that the first object needs, and then what further ones need. */
START_TEST(cannot_grow)
{
	struct store_stats before;
	unsigned int n = 0;

	start(ROOM);
	for (unsigned int call = 0; call < 4; call++) {
		store_stats(m.store, &before);
		host.mprotect = true;
		host.after = call ? 1 : 0; /* what was granted once is not asked for again */
		expect(!put(&m.object[0], 100, 7));
		check_unchanged(&before);
		host.mprotect = false;
	}
	for (; n < 2000; n++)
		expect(put(&m.object[n], 3000, n));
	host.mprotect = true;
	host.after = 0;
	while (put(&m.object[n], 3000, n))
		n++;
	store_stats(m.store, &before);
	expect(!put(&m.object[n], 3000, 1));
	check_unchanged(&before);
	host.mprotect = false;
	expect(put(&m.object[n], 3000, 1));
	end();
}
END_TEST

START_TEST(unknown_handle)
{
	unsigned int size;

	start(ROOM);
	expect(put(&m.object[0], 10, 0) && put(&m.object[1], 10, 0));
	store_remove(m.store, m.object[0].handle);
	store_get(m.store, m.object[0].handle, &size);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("dedup_store");

	tcase_add_test(tcase, random_work);
	tcase_add_test(tcase, every_size);
	tcase_add_test(tcase, little_waste);
	tcase_add_test(tcase, moved_together);
	tcase_add_test(tcase, no_room);
	tcase_add_test(tcase, gives_back);
	tcase_add_test(tcase, little_metadata);
	tcase_add_test(tcase, cannot_begin);
	tcase_add_test(tcase, cannot_grow);
	if (suite_forks())
		tcase_add_test_raise_signal(tcase, unknown_handle, SIGABRT);
	tcase_set_timeout(tcase, 0);
	return run_case("dedup_store", tcase);
}
