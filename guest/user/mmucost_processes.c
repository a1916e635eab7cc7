/* mmucost: operations of ring 3 that are whole processes. */
#include "guest/user/mmucost.h"

#include <stddef.h>

#include "guest/lib/lcg.h"
#include "guest/lib/parse.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define FORK_PAGES 256u
#define FORK_STATUS 7

#define UNIT_PAGES 24u
#define UNIT_WORDS 64u /* of each page */
#define UNIT_STEPS 20000u
#define UNIT_SEEDS 100u

/* Forks, has the child exit, and waits for it. */
static bool fork_once(void)
{
	int status = -1;

	if (fork() == 0)
		exit(FORK_STATUS);
	return wait(&status) > 0 && status == FORK_STATUS;
}

static bool fork_many(uint64_t count, uint64_t unused)
{
	volatile char *pages = grow(FORK_PAGES, true);
	bool right = true;

	for (uint64_t i = 0; i < FORK_PAGES; i++)
		pages[i * PAGE_SIZE] = 1;
	begin_mark();
	for (uint64_t i = 0; i < count; i++)
		right &= fork_once();
	end_mark();
	return right;
}

/* Each number is made of what memory holds of the one before. */
static uint64_t fill(volatile uint64_t *pages, uint64_t state)
{
	for (uint64_t page = 0; page < UNIT_PAGES; page++) {
		volatile uint64_t *words = pages + page * (PAGE_SIZE / sizeof(*pages));

		for (uint64_t i = 0; i < UNIT_WORDS; i++) {
			words[i] = lcg_next(state);
			state = words[i];
		}
	}
	return state;
}

static int status_of(uint64_t state)
{
	return (int)(state >> 57);
}

/*
 * unit SEED: for mmucost: a process such as a compiler's is, in small. Takes memory as it goes, fills it, computes, and
 * ends with what came of it.
 */
int unit_main(int argc, char **argv)
{
	uint64_t state;

	if (argc != 2 || !parse_number(argv[1], &state))
		usage("unit SEED");
	state = fill(grow(UNIT_PAGES, false), state);
	for (uint64_t i = 0; i < UNIT_STEPS; i++) {
		state = lcg_next(state);
		__asm__ volatile("" : "+r"(state));
	}
	return status_of(state);
}

static bool unit_once(uint64_t number)
{
	uint64_t seed = number % UNIT_SEEDS;
	char line[] = "unit 00";
	int status = -1;

	line[5] = (char)('0' + seed / 10);
	line[6] = (char)('0' + seed % 10);
	if (fork() == 0) {
		exec(line);
		exit(1);
	}
	return wait(&status) > 0 && status == status_of(lcg_after(seed, UNIT_PAGES * UNIT_WORDS + UNIT_STEPS));
}

/* One process after another, as `make` starts them: forked, made another program, waited for. */
static bool units(uint64_t count, uint64_t unused)
{
	bool right = unit_once(count);

	begin_mark();
	for (uint64_t i = 0; i < count; i++)
		right &= unit_once(i);
	end_mark();
	return right;
}

const struct user_operation process_operations[] = {
	{ "fork", fork_many, false },
	{ "units", units, false },
	{ NULL, NULL, false },
};
