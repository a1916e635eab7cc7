/*
 * The index of equal pages against a table that remembers everything: what it must find, what it must not, and how much of what
 * it is given it refuses as its ids change again and again.
 */
#include "dedup/same_index.h"

#include <stdlib.h>
#include <time.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"

/* The owner: a hash for each id, 0 = nothing to be found. */
struct owner {
	uint32_t *hash;
	uint32_t ids; /* 1..ids */
};

static bool hash_of(void *arg, uint32_t id, uint32_t *hash)
{
	struct owner *o = arg;

	expect(id >= 1 && id <= o->ids);
	*hash = o->hash[id];
	return *hash != 0;
}

static struct owner owner_of(uint32_t ids)
{
	struct owner o = {.hash = calloc(ids + 1ull, sizeof(uint32_t)), .ids = ids};

	ck_assert_ptr_nonnull(o.hash);
	return o;
}

static struct same_index *index_of(uint64_t pages, struct owner *o)
{
	struct same_index *x = same_index_create(pages, hash_of, o);

	ck_assert_ptr_nonnull(x);
	expect_msg(pages < 100 || same_index_bytes(x) * 10 <= pages * 54, "%" PRIu64 " bytes for %" PRIu64 " pages",
		   same_index_bytes(x), pages);
	return x;
}

#define HASHES 300u /* few, so that ids meet */
#define IDS 200u

/*
 * `last`: which id was added last for each hash, if it has had it ever since: that, or another one that has it again, must be
 * found.
 */
static void check_all(const struct same_index *x, const struct owner *o, const uint32_t *last, uint32_t scale)
{
	for (uint32_t hash = 1; hash <= HASHES; hash++) {
		uint32_t id = same_index_find(x, hash * scale);

		expect_msg(id || !last[hash], "%u is not found", last[hash]);
		expect(!id || o->hash[id] == hash * scale);
	}
}

/* The one that has the hash stays; one that is added is found. Returns what has it then, 0: there was no room. */
static uint32_t find_or_add(struct same_index *x, uint32_t hash, uint32_t id)
{
	uint32_t before = same_index_find(x, hash);

	expect_eq(same_index_find_or_add(x, hash, id), before);
	expect(!before || same_index_find(x, hash) == before);
	return same_index_find(x, hash);
}

START_TEST(oracle)
{
	struct random r = random_start("dedup_same_index");

	for (int round = 0; round < 40; round++) {
		uint64_t pages = round % 4 ? IDS * (1 + random_below(&r, 4)) : 1 + random_below(&r, 100);
		/* Hashes that are numbers one after the other, and hashes whose low bits are all the same. */
		uint32_t scale = round % 3 ? 1 : 1u << 20, refused = 0;
		struct owner o = owner_of(IDS);
		struct same_index *x = index_of(pages, &o);
		uint32_t last[HASHES + 1] = {0};

		for (int step = 0; step < 4000; step++) {
			uint32_t id = 1 + (uint32_t)random_below(&r, IDS), hash = 1 + (uint32_t)random_below(&r, HASHES);

			if (last[o.hash[id] / scale] == id)
				last[o.hash[id] / scale] = 0;
			o.hash[id] = random_below(&r, 8) ? hash * scale : 0;
			if (!o.hash[id] || !random_below(&r, 4))
				continue;
			if (random_below(&r, 3) == 0) {
				last[hash] = find_or_add(x, o.hash[id], id);
				refused += !last[hash];
			} else if (same_index_add(x, o.hash[id], id)) {
				last[hash] = id;
				expect_eq(same_index_find(x, o.hash[id]), id);
			} else {
				refused++;
			}
			if (step % 50 == 0)
				check_all(x, &o, last, scale);
		}
		check_all(x, &o, last, scale);
		expect_msg(pages < IDS || refused < 10, "%u refused of %" PRIu64 " pages", refused, pages);
		same_index_destroy(x);
		free(o.hash);
	}
}
END_TEST

START_TEST(refuses_when_full)
{
	struct owner o = owner_of(1000);
	struct same_index *x = index_of(100, &o);
	unsigned int added = 0, found = 0;

	for (uint32_t id = 1; id <= o.ids; id++) {
		o.hash[id] = id * 7;
		added += same_index_add(x, id * 7, id);
	}
	for (uint32_t id = 1; id <= o.ids; id++) {
		uint32_t got = same_index_find(x, id * 7);

		expect(!got || got == id);
		found += got == id;
	}
	expect_eq(added, found);
	expect_msg(added >= 90 && added <= 108, "%u of 100", added);
	same_index_destroy(x);
	free(o.hash);
}
END_TEST

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Hashes change all the time. Not found in the end are those that were refused, and one of two of the same hash by chance. */
static void churn(struct random *r, uint32_t pages, unsigned int percent, unsigned int rounds, double most)
{
	struct owner o = owner_of(pages);
	struct same_index *x = index_of(pages, &o);
	uint32_t live = (uint32_t)((uint64_t)pages * percent / 100), missing = 0;
	uint64_t refused = 0, adds = 0;
	double start = cpu_seconds(), adding;

	for (uint64_t n = 0; n < (uint64_t)live * rounds; n++) {
		/* Only `live` of the ids have a hash, but not always the same ones. */
		uint32_t id = 1 + (uint32_t)random_below(r, live);

		o.hash[id] = (uint32_t)random_next(r) | 1;
		adds++;
		refused += !same_index_add(x, o.hash[id], id);
	}
	adding = cpu_seconds() - start;
	for (uint32_t id = 1; id <= live; id++)
		missing += o.hash[id] && !same_index_find(x, o.hash[id]);
	start = cpu_seconds();
	for (uint32_t n = 0; n < pages; n++)
		expect(!(same_index_find(x, (uint32_t)random_next(r) & ~1u)));
	printf("%u pages, %u%% of them live, %" PRIu64 " adds: %" PRIu64 " refused (%.4f%%), %u not found; ", pages, percent, adds,
	       refused, 100. * (double)refused / (double)adds, missing);
	printf("%.0f ns an add, %.0f ns a find\n", adding / (double)adds * 1e9, (cpu_seconds() - start) / pages * 1e9);
	expect_msg((double)refused <= most * (double)adds, "%" PRIu64 " of %" PRIu64 " refused", refused, adds);
	expect_msg(missing <= most * live + 10, "%u of %u missing", missing, live);
	same_index_destroy(x);
	free(o.hash);
}

START_TEST(does_not_degrade)
{
	struct random r = random_start("dedup_same_index");

	churn(&r, 1 << 16, 50, 20, 0);
	churn(&r, 1 << 16, 85, 50, .001);
	churn(&r, 1 << 16, 100, 20, .004);
	churn(&r, 1000, 85, 500, .01);
}
END_TEST

/* Whole generations of pages go, and others come. */
START_TEST(generations)
{
	struct random r = random_start("dedup_same_index");
	struct owner o = owner_of(20000);
	struct same_index *x = index_of(10000, &o);

	for (int generation = 0; generation < 40; generation++) {
		uint32_t first = 1 + (uint32_t)random_below(&r, 10000), refused = 0;

		for (uint32_t id = 1; id <= o.ids; id++)
			o.hash[id] = 0;
		for (uint32_t id = first; id < first + 8500; id++) {
			o.hash[id] = (uint32_t)random_next(&r) | 1;
			refused += !same_index_add(x, o.hash[id], id);
		}
		expect_msg(refused <= 8, "%u refused", refused);
	}
	same_index_destroy(x);
	free(o.hash);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dedup_same_index");
	TCase *tcase = tcase_create("dedup_same_index");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, oracle);
	tcase_add_test(tcase, refuses_when_full);
	tcase_add_test(tcase, does_not_degrade);
	tcase_add_test(tcase, generations);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
