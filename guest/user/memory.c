#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/user/memory_pages.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define SUM_START 0xcbf29ce484222325ull
#define STORM_MARK 0x53746f726d21ull /* changes a word of a page */
#define STORM_VERSION 0x5aull
#define STORM_WHOLE 2

struct options {
	uint64_t pages[MEMORY_KINDS];
	uint64_t rounds; /* 0 = without end */
	uint64_t seed;
	uint64_t pause;	 /* ticks between rounds */
	uint64_t group;	 /* of similar pages with the same base; 0 = all of them */
	uint64_t verify; /* what rests is looked at in every so manyeth round; 0 = in the last one only */
	uint64_t slice;	 /* instead: so many pages of it in every round; 0 = no */
	uint64_t report; /* every so manyeth round says something */
	uint64_t lull;	 /* up to so many rounds pass before a page of churn is rewritten */
	uint64_t storm;	 /* the last round first writes into every page; STORM_WHOLE: all of it */
	uint64_t guest;	 /* whose pages these are */
};

struct option {
	const char *name;
	uint64_t *value;
};

struct memory {
	struct options options;
	struct memory_area areas[MEMORY_KINDS];
	uint64_t resting; /* pages of the kinds that rest */
	uint64_t next;	  /* of them, for slices */
	bool stormed;
};

/* Those that are rewritten or read in every round, and those that are left alone until the last one. */
static bool is_busy(enum memory_kind kind)
{
	return kind == MEMORY_HOT || kind == MEMORY_READ || kind == MEMORY_CHURN;
}

static bool is_rewritten(enum memory_kind kind)
{
	return kind == MEMORY_HOT || kind == MEMORY_CHURN;
}

static bool rests(enum memory_kind kind)
{
	return !is_busy(kind) && kind != MEMORY_COLD;
}

static uint64_t *page_words(const struct memory_area *area, uint64_t page)
{
	return area->words + page * MEMORY_PAGE_WORDS;
}

/* What a page holds in a round, 0 being the first filling: the number of the round in which it was written last. */
static uint64_t version_in(const struct memory *m, const struct memory_area *area, uint64_t page, uint64_t round)
{
	if (area->kind == MEMORY_CHURN)
		return round - round % (1 + page % m->options.lull);
	return is_rewritten(area->kind) ? round : 0;
}

static void write_area(const struct memory *m, const struct memory_area *area, uint64_t round)
{
	for (uint64_t page = 0; page < area->pages; page++)
		if (version_in(m, area, page, round) == round)
			memory_make_page(area, page, round, page_words(area, page));
}

static void storm_page(const struct memory *m, const struct memory_area *area, uint64_t page, uint64_t *words)
{
	struct memory_area random = *area;

	random.kind = MEMORY_UNIQUE;
	if (m->options.storm == STORM_WHOLE)
		memory_make_page(&random, page, STORM_VERSION, words);
	else
		words[page % MEMORY_PAGE_WORDS] ^= STORM_MARK;
}

/* Compares with contents made anew; adds to the checksum. */
static void verify_page(const struct memory *m, const struct memory_area *area, uint64_t page, uint64_t version, uint64_t *sum)
{
	static uint64_t expected[MEMORY_PAGE_WORDS];
	const uint64_t *words = page_words(area, page);

	memory_make_page(area, page, version, expected);
	if (m->stormed)
		storm_page(m, area, page, expected);
	for (uint64_t i = 0; i < MEMORY_PAGE_WORDS; i++) {
		if (words[i] != expected[i]) {
			print("memory: kind %d page %lu word %lu: %016lx, not %016lx\n", area->kind, page, i, words[i], expected[i]);
			exit(1);
		}
		*sum = (*sum ^ words[i]) * 0x100000001b3ull;
	}
}

static void verify_area(const struct memory *m, const struct memory_area *area, uint64_t round, uint64_t *sum)
{
	for (uint64_t page = 0; page < area->pages; page++)
		verify_page(m, area, page, version_in(m, area, page, round), sum);
}

/* As fast as that can be. */
static void storm(struct memory *m)
{
	for (int kind = 0; kind < MEMORY_KINDS; kind++) {
		const struct memory_area *area = &m->areas[kind];

		for (uint64_t page = 0; page < area->pages; page++)
			storm_page(m, area, page, page_words(area, page));
	}
	m->stormed = true;
}

/* The next page of those that rest, over all their kinds. */
static void verify_next(struct memory *m, uint64_t *sum)
{
	uint64_t page = m->next++ % m->resting;

	for (int kind = 0; kind < MEMORY_KINDS; kind++) {
		const struct memory_area *area = &m->areas[kind];

		if (!rests(area->kind))
			continue;
		if (page < area->pages) {
			verify_page(m, area, page, 0, sum);
			return;
		}
		page -= area->pages;
	}
}

static void verify_slice(struct memory *m, uint64_t *sum)
{
	for (uint64_t n = 0; n < m->options.slice && n < m->resting; n++)
		verify_next(m, sum);
}

static bool is_verified(const struct options *o, enum memory_kind kind, uint64_t round, bool last)
{
	if (last || is_busy(kind))
		return true;
	return rests(kind) && o->slice == 0 && o->verify > 0 && round % o->verify == 0;
}

static void run_round(struct memory *m, uint64_t round, bool last)
{
	const struct options *o = &m->options;
	uint64_t sum = SUM_START;

	for (int kind = 0; kind < MEMORY_KINDS; kind++) {
		if (is_rewritten(m->areas[kind].kind))
			write_area(m, &m->areas[kind], round);
	}
	if (last && o->storm)
		storm(m);
	for (int kind = 0; kind < MEMORY_KINDS; kind++) {
		const struct memory_area *area = &m->areas[kind];

		if (is_verified(o, area->kind, round, last))
			verify_area(m, area, round, &sum);
	}
	if (!last)
		verify_slice(m, &sum);
	if (last || round % o->report == 0)
		print("round %lu: checksum %016lx\n", round, sum);
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	uint64_t *pages = options->pages;
	const struct option known[] = {
		{ "zero", &pages[MEMORY_ZERO] },     { "dup", &pages[MEMORY_DUP] },
		{ "similar", &pages[MEMORY_SIMILAR] }, { "unique", &pages[MEMORY_UNIQUE] },
		{ "hot", &pages[MEMORY_HOT] },	     { "cold", &pages[MEMORY_COLD] },
		{ "twin", &pages[MEMORY_TWIN] },     { "text", &pages[MEMORY_TEXT] },
		{ "read", &pages[MEMORY_READ] },     { "churn", &pages[MEMORY_CHURN] },
		{ "rounds", &options->rounds },	     { "seed", &options->seed },
		{ "pause", &options->pause },	     { "group", &options->group },
		{ "verify", &options->verify },	     { "slice", &options->slice },
		{ "report", &options->report },	     { "lull", &options->lull },
		{ "storm", &options->storm },	     { "guest", &options->guest },
	};

	for (int i = 1; i < argc; i++) {
		size_t j = 0;

		while (j < sizeof(known) / sizeof(known[0]) && !parse_option(argv[i], known[j].name, known[j].value))
			j++;
		if (j == sizeof(known) / sizeof(known[0]))
			return false;
	}
	return options->report > 0 && options->lull > 0;
}

static void fill(struct memory *m)
{
	uint64_t state = m->options.seed, total = 0;

	for (int kind = 0; kind < MEMORY_KINDS; kind++) {
		uint64_t pages = m->options.pages[kind], shared_seed = random_next(&state);

		m->areas[kind] = (struct memory_area){
			.kind = (enum memory_kind)kind,
			.words = grow(pages, true),
			.pages = pages,
			.shared_seed = shared_seed,
			.seed = memory_own_seed(shared_seed, m->options.guest),
			.group = m->options.group,
		};
		write_area(m, &m->areas[kind], 0);
		total += pages;
		m->resting += rests((enum memory_kind)kind) ? pages : 0;
	}
	print("memory: %lu pages filled\n", total);
}

/*
 * memory [KIND=PAGES]... [OPTION=NUMBER]...: fills that many pages of each kind (memory_pages.h), rewrites those that are hot in
 * every round, verifies them in every round, the others as the options say and all of them in the last one, and prints a checksum
 * of what was verified.
 */
int memory_main(int argc, char **argv)
{
	struct memory m = {
		.options = {
			.pages = { 64, 64, 64, 64, 16, 64 },
			.rounds = 3,
			.seed = 1,
			.verify = 1,
			.report = 1,
			.lull = 1,
			.guest = guest_number(),
		},
	};
	const struct options *o = &m.options;

	if (!parse_options(argc, argv, &m.options))
		usage("memory [zero|dup|similar|unique|hot|cold|twin|text|read|churn|rounds|seed|pause|group|verify|slice|report|"
		      "lull|storm|guest=NUMBER]...");
	fill(&m);
	for (uint64_t round = 1; o->rounds == 0 || round <= o->rounds; round++) {
		run_round(&m, round, round == o->rounds);
		if (o->pause > 0 && round != o->rounds)
			sleep_ticks(o->pause);
	}
	print("memory: all good\n");
	return 0;
}
