/*
 * mmucost OPERATION N [PAGES]: does one thing N times between two marks (guest/lib/mmucost.h), for counting and timing what
 * it costs. The operations of ring 0 are in the mmucost_*.c here, those of ring 3 in guest/user. What has to be made
 * ready is ready when the first mark is set, and what was done is verified behind the last.
 */
#include "guest/images/mmucost.h"

#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define USAGE "mmucost OPERATION N [PAGES]"

const struct program programs[] = { PROGRAM(mmucost), PROGRAM(unit), PROGRAMS_END };

static const struct operation *const groups[] = { cpu_operations, table_operations, space_operations };

void mark(uint32_t value)
{
	outl(ABI_PORT_SCRATCH, value);
}

/* NULL: none of ring 0's. */
static const struct operation *find(const char *name)
{
	for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct operation *operation = groups[i]; operation->name != NULL; operation++) {
			if (strcmp(name, operation->name) == 0)
				return operation;
		}
	}
	return NULL;
}

static int run(const struct operation *operation, uint64_t count)
{
	pages_init();
	if (operation->set_up != NULL)
		operation->set_up(count);
	mark(MMUCOST_WARM);
	mark(MMUCOST_BEGIN);
	operation->run(count);
	mark(MMUCOST_END);
	if (operation->right == NULL || operation->right(count))
		return 0;
	kprintf("%s: wrong\n", operation->name);
	return 1;
}

int image_main(const char *args)
{
	const struct operation *operation;
	char line[PROCESS_LINE_MAX + 1];
	char *words[3];
	uint64_t count;
	int n;

	if (strlen(args) > PROCESS_LINE_MAX)
		machine_usage(USAGE);
	memcpy(line, args, strlen(args) + 1);
	n = parse_words(line, words, 3);
	if (n < 2 || !parse_number(words[1], &count))
		machine_usage(USAGE);
	operation = find(words[0]);
	if (operation != NULL && n == 2)
		return run(operation, count);
	trap_set(VECTOR_BREAKPOINT, answer_request);
	process_run("mmucost", args, 0);
}
