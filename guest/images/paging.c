/*
 * paging [codes|show] [exhaustive [PART PARTS] | random N SEED | GROUP]: what the processor makes of page-table entries. Every case
 * (paging_cases.h) is performed for real, and a checksum of the results printed, by group; with `codes` the results
 * themselves, with `show` every case in words. Which results are right is for others to say.
 */
#include <stddef.h>

#include "guest/images/paging_cases.h"
#include "guest/images/paging_try.h"
#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define USAGE "paging [codes|show] [exhaustive [PART PARTS] | random N SEED | GROUP]"
#define DEFAULT_RANDOM 2000
#define RANDOM_MAX 1000000u
#define MAX_WORDS 5
#define LINE_CASES 64u
#define VERDICTS 33 /* no fault, and each error code */

static struct {
	struct paging_plan plan;
	unsigned int first, last; /* groups */
	bool codes, show;
	uint64_t cases, sum;
	char line[LINE_CASES * PAGING_DIGITS + 1];
	size_t length;
} run;

/* The result as a digit string, collected into lines that begin with '|'. */
static void put_code(uint32_t result, bool last)
{
	for (int i = 0; i < PAGING_DIGITS; i++)
		run.line[run.length++] = (char)(PAGING_DIGIT + (result >> 6 * i & 63));
	if (!last && run.length + PAGING_DIGITS < sizeof(run.line))
		return;
	run.line[run.length] = '\0';
	kprintf("|%s\n", run.line);
	run.length = 0;
}

static void put_entry(char text[10], uint16_t says)
{
	static const struct {
		uint16_t bit;
		char letter;
	} letters[] = {
		{ SAYS_P, 'P' }, { SAYS_W, 'W' }, { SAYS_U, 'U' }, { SAYS_A, 'A' }, { SAYS_D, 'D' },
		{ SAYS_PS, 'S' }, { SAYS_LOW, 'l' }, { SAYS_HIGH, 'h' }, { SAYS_NX, 'X' },
	};

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		*text++ = says & letters[i].bit ? letters[i].letter : '-';
	*text = '\0';
}

static void show(uint64_t index, const struct paging_case *c, uint32_t result)
{
	static const char *const kinds[] = { "read", "write", "fetch" };
	static const char *const places[] = { "nowhere", "page", "large page", "elsewhere" };
	char text[PAGING_LEVELS + 1][10];

	for (int level = 1; level <= PAGING_LEVELS; level++)
		put_entry(text[level], c->says[level]);
	kprintf("%lu: %s %s %s %s, %s %s%s%s%s: ", index, text[4], text[3], text[2], text[1],
		c->access & ACCESS_USER ? "user" : "kernel", kinds[c->access & (ACCESS_WRITE | ACCESS_FETCH)],
		c->mode & MODE_WP ? " wp" : "", c->mode & MODE_NXE ? " nxe" : "", c->mode & MODE_SMEP ? " smep" : "");
	if (result & RESULT_FAULT)
		kprintf("error %02x", result & RESULT_ERROR);
	else
		kprintf("%s", places[result >> RESULT_PLACE_SHIFT & 3]);
	kprintf(" A %x D %x%s%s\n", result >> RESULT_A_SHIFT & 15, result >> RESULT_D_SHIFT & 15,
		result & RESULT_ODD ? " odd" : "", result & RESULT_FOREIGN ? " foreign" : "");
}

static void run_group(unsigned int group)
{
	uint64_t size = paging_group_size(&run.plan, group);
	uint32_t verdicts[VERDICTS] = { 0 };
	uint64_t sum = 0;

	for (uint64_t i = 0; i < size; i++) {
		struct paging_case c = paging_case(&run.plan, group, i);
		uint32_t result = paging_try(&c);
		uint32_t common = paging_result_common(&c, result);

		verdicts[common & RESULT_FAULT ? 1 + (common & RESULT_ERROR) : 0]++;
		sum = paging_sum(sum, common);
		if (run.codes)
			put_code(result, i + 1 == size);
		else if (run.show)
			show(i, &c, result);
	}
	kprintf("%s: %lu cases, sum %016lx, %u fine", paging_group_name(group), size, sum, verdicts[0]);
	for (unsigned int i = 1; i < VERDICTS; i++) {
		if (verdicts[i] > 0)
			kprintf(", %u error %x", verdicts[i], i - 1);
	}
	kprintf("\n");
	run.cases += size;
	run.sum = (run.sum ^ sum) * 0x100000001b3ull;
}

static void run_all(void)
{
	for (unsigned int group = run.first; group <= run.last; group++)
		run_group(group);
	kprintf("paging: %lu cases, checksum %016lx\n", run.cases, run.sum);
	machine_exit(0);
}

static bool select_group(const char *name)
{
	for (unsigned int group = 0; group < PAGING_GROUPS; group++) {
		if (strcmp(paging_group_name(group), name) == 0) {
			run.first = run.last = group;
			return true;
		}
	}
	return false;
}

static bool select_part(char **words)
{
	return parse_number(words[1], &run.plan.part) && parse_number(words[2], &run.plan.parts) &&
	       run.plan.parts <= PAGING_PARTS_MAX && run.plan.part < run.plan.parts;
}

static bool select_cases(char **words, int count)
{
	if (count == 0) {
		run.last = PAGING_RANDOM;
		return true;
	}
	if (strcmp(words[0], "random") == 0) {
		run.first = run.last = PAGING_RANDOM;
		return count == 3 && parse_number(words[1], &run.plan.random_count) &&
		       run.plan.random_count <= RANDOM_MAX && parse_number(words[2], &run.plan.seed);
	}
	if (strcmp(words[0], "exhaustive") == 0) {
		run.last = PAGING_RANDOM - 1;
		return count == 1 || (count == 3 && select_part(words));
	}
	return count == 1 && select_group(words[0]);
}

static void parse_arguments(const char *args)
{
	char line[64];
	char *words[MAX_WORDS];
	size_t size = strlen(args) + 1;
	int at = 0;
	int count;

	if (size > sizeof(line))
		machine_usage(USAGE);
	memcpy(line, args, size);
	count = parse_words(line, words, MAX_WORDS);
	run.codes = count > 0 && strcmp(words[0], "codes") == 0;
	run.show = count > 0 && strcmp(words[0], "show") == 0;
	at = run.codes || run.show;
	if (!select_cases(words + at, count - at))
		machine_usage(USAGE);
}

int image_main(const char *args)
{
	run.plan = (struct paging_plan){
		.smep = machine_boot()->cpu & ABI_CPU_SMEP,
		.random_count = DEFAULT_RANDOM,
		.seed = 1,
	};
	parse_arguments(args);
	if (!(machine_boot()->cpu & ABI_CPU_NX))
		panic("a processor without NX");
	paging_try_start(run_all);
}
