/*
 * badtables [GROUP [SEED] | END | list]: tables, descriptor tables and stacks as no guest should have them. A group of cases
 * prints `ok CASE: what happened`, or `BAD CASE: what happened, not what a processor does`, and its sum; without arguments
 * all groups run. What a processor would not survive is an END, with which the guest ends. `list` names them.
 */
#include "guest/images/badtables.h"

#include <stddef.h>

#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define USAGE "badtables [GROUP [SEED] | END]; badtables list names them"
#define EXIT_SURVIVED 1 /* what should have been the end was not */

uint64_t bad_seed = 1;

static const struct group {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "outside", bad_outside },   { "device", bad_device }, { "self", bad_self },	  { "monitor", bad_monitor },
	{ "reserved", bad_reserved }, { "cr3", bad_cr3 },	{ "straddle", bad_straddle }, { "random", bad_random },
	{ "reuse", bad_reuse },	      { "execute", bad_execute }, { "idt", bad_idt },	  { "gdt", bad_gdt },
	{ "tss", bad_tss },	      { "stack", bad_stack },	{ "loop", bad_loop },
};

#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static char word[40]; /* the first of the arguments */

static int list(void)
{
	for (size_t i = 0; i < GROUPS; i++)
		kprintf("%s\n", groups[i].name);
	bad_end_list();
	return 0;
}

static void run_groups(void)
{
	bool known = word[0] == '\0';

	for (size_t i = 0; i < GROUPS; i++) {
		if (word[0] != '\0' && strcmp(word, groups[i].name) != 0)
			continue;
		known = true;
		bad_reset();
		groups[i].run();
	}
	if (known)
		machine_exit(bad_sum());
	if (!bad_end(word))
		machine_usage(USAGE);
	kprintf("survived\n");
	machine_exit(EXIT_SURVIVED);
}

/* Cuts the first word off. */
static const char *take_word(const char *args)
{
	size_t length = 0;

	while (args[length] != '\0' && args[length] != ' ')
		length++;
	if (length >= sizeof(word))
		machine_usage(USAGE);
	memcpy(word, args, length);
	return args[length] == ' ' ? args + length + 1 : args + length;
}

int image_main(const char *args)
{
	const char *rest = take_word(args);

	if (*rest != '\0' && !parse_number(rest, &bad_seed))
		machine_usage(USAGE);
	if (strcmp(word, "list") == 0)
		return list();
	bad_start(run_groups);
}
