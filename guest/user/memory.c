#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define WORDS (PAGE_SIZE / 8)
#define SIMILAR_CHANGES 4 /* words in which a similar page differs from its base */

enum kind { ZERO, DUP, SIMILAR, UNIQUE, HOT, COLD, KINDS };

struct options {
	uint64_t pages[KINDS];
	uint64_t rounds; /* 0 = without end */
	uint64_t seed;
	uint64_t pause; /* ticks between rounds */
};

struct option {
	const char *name;
	uint64_t *value;
};

/* The pages of one kind, and the seed their contents come from. */
struct area {
	uint64_t *words;
	uint64_t pages;
	uint64_t seed;
};

static uint64_t page_seed(const struct area *area, uint64_t page, uint64_t version)
{
	return area->seed ^ (page + 1) * 0xd6e8feb86659fd93ull ^ version << 48;
}

static void fill_random(uint64_t *words, uint64_t seed)
{
	for (uint64_t i = 0; i < WORDS; i++)
		words[i] = random_next(&seed);
}

/* What page `page` of a kind holds, in its `version` (only hot pages have more than one). */
static void make_page(const struct area *area, enum kind kind, uint64_t page, uint64_t version, uint64_t *words)
{
	uint64_t seed = page_seed(area, page, version);

	switch (kind) {
	case ZERO:
		memset(words, 0, PAGE_SIZE);
		break;
	case DUP:
		fill_random(words, area->seed);
		break;
	case SIMILAR:
		fill_random(words, area->seed);
		for (int i = 0; i < SIMILAR_CHANGES; i++) {
			uint64_t at = random_next(&seed) % WORDS;

			words[at] = random_next(&seed);
		}
		break;
	default:
		fill_random(words, seed);
		break;
	}
}

static void fill_area(const struct area *area, enum kind kind, uint64_t version)
{
	for (uint64_t page = 0; page < area->pages; page++)
		make_page(area, kind, page, version, area->words + page * WORDS);
}

/* Compares with contents made anew; adds to the checksum. */
static void verify_area(const struct area *area, enum kind kind, uint64_t version, uint64_t *sum)
{
	static uint64_t expected[WORDS];

	for (uint64_t page = 0; page < area->pages; page++) {
		const uint64_t *words = area->words + page * WORDS;

		make_page(area, kind, page, version, expected);
		for (uint64_t i = 0; i < WORDS; i++) {
			if (words[i] != expected[i]) {
				print("memory: kind %d page %lu word %lu: %016lx, not %016lx\n", kind, page, i,
				      words[i], expected[i]);
				exit(1);
			}
			*sum = (*sum ^ words[i]) * 0x100000001b3ull;
		}
	}
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	const struct option known[] = {
		{ "zero", &options->pages[ZERO] },       { "dup", &options->pages[DUP] },
		{ "similar", &options->pages[SIMILAR] }, { "unique", &options->pages[UNIQUE] },
		{ "hot", &options->pages[HOT] },         { "cold", &options->pages[COLD] },
		{ "rounds", &options->rounds },          { "seed", &options->seed },
		{ "pause", &options->pause },
	};

	for (int i = 1; i < argc; i++) {
		size_t j = 0;

		while (j < sizeof(known) / sizeof(known[0]) &&
		       !parse_option(argv[i], known[j].name, known[j].value))
			j++;
		if (j == sizeof(known) / sizeof(known[0]))
			return false;
	}
	return true;
}

static void run_round(struct area *areas, uint64_t round, bool last)
{
	uint64_t sum = 0xcbf29ce484222325ull;

	fill_area(&areas[HOT], HOT, round);
	for (int kind = 0; kind < KINDS; kind++) {
		/* Cold pages are left alone until the end. */
		if (kind != COLD || last)
			verify_area(&areas[kind], kind, kind == HOT ? round : 0, &sum);
	}
	print("round %lu: checksum %016lx\n", round, sum);
}

/*
 * memory [zero=N] [dup=N] [similar=N] [unique=N] [hot=N] [cold=N] [rounds=N] [seed=N] [pause=TICKS]: fills that many
 * pages of each kind: zeros, all the same, differing from one another in a few words, all different, rewritten every
 * round, not looked at until the last round; verifies them in every round and prints a checksum.
 */
int memory_main(int argc, char **argv)
{
	struct options options = {
		.pages = { 64, 64, 64, 64, 16, 64 },
		.rounds = 3,
		.seed = 1,
	};
	struct area areas[KINDS];
	uint64_t state;
	uint64_t total = 0;

	if (!parse_options(argc, argv, &options))
		usage("memory [zero|dup|similar|unique|hot|cold|rounds|seed|pause=NUMBER]...");
	state = options.seed;
	for (int kind = 0; kind < KINDS; kind++) {
		areas[kind] = (struct area){
			.words = grow(options.pages[kind], true),
			.pages = options.pages[kind],
			.seed = random_next(&state),
		};
		fill_area(&areas[kind], kind, 0);
		total += options.pages[kind];
	}
	print("memory: %lu pages filled\n", total);
	for (uint64_t round = 1; options.rounds == 0 || round <= options.rounds; round++) {
		run_round(areas, round, round == options.rounds);
		if (options.pause > 0)
			sleep_ticks(options.pause);
	}
	print("memory: all good\n");
	return 0;
}
