#include "compare/cause.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING 0.005 /* of a cell's exits: not worth a word */

static const char *const classes[CAUSE_CLASSES] = {
	[CAUSE_HIDDEN] = "pages to fill in",
	[CAUSE_STORE] = "page-table writes",
	[CAUSE_REFLECTED] = "the guest's own faults",
	[CAUSE_CALL] = "kernel entry and return",
	[CAUSE_SPACE] = "CR3 and other control registers, flushes",
	[CAUSE_PRIVILEGED] = "other privileged instructions",
	[CAUSE_DEVICE] = "ports and devices",
	[CAUSE_OTHER] = "others",
};

/*
 * Why KVM came back. The shadow mode counts finer than KVM does, for which all of its traps are writes to a
 * port: so where there are counts of traps they are the causes, and KVM's reasons are not. What it counts
 * beside them (entries filled in, roots found) is work, no exit, and not named here.
 */
static const struct known {
	const char *name;
	bool trap;
	enum cause_class class;
	const char *words;
} known[] = {
	{"hidden_faults", true, CAUSE_HIDDEN, "hidden faults"},
	{"table_stores", true, CAUSE_STORE, "page-table writes"},
	{"table_steps", true, CAUSE_STORE, "page-table writes by single step"},
	{"device", true, CAUSE_DEVICE, "device accesses"},
	{"reflected", true, CAUSE_REFLECTED, "faults given to the guest"},
	{"system_calls", true, CAUSE_CALL, "system calls"},
	{"returns", true, CAUSE_CALL, "returns from the kernel"},
	{"steps", true, CAUSE_OTHER, "single steps"},
	{"control_registers", true, CAUSE_SPACE, "control-register accesses"},
	{"invlpgs", true, CAUSE_SPACE, "INVLPGs"},
	{"msrs", true, CAUSE_PRIVILEGED, "MSR accesses"},
	{"cli_sti", true, CAUSE_PRIVILEGED, "CLIs and STIs"},
	{"segments", true, CAUSE_PRIVILEGED, "segment loads"},
	{"ports", true, CAUSE_DEVICE, "port accesses"},
	{"hlts", true, CAUSE_DEVICE, "HLTs"},
	{"other", true, CAUSE_PRIVILEGED, "other privileged instructions"},
	{CAUSE_EXIT "io", false, CAUSE_DEVICE, "port accesses"},
	{CAUSE_EXIT "mmio", false, CAUSE_DEVICE, "device accesses"},
	{CAUSE_EXIT "hlt", false, CAUSE_DEVICE, "HLTs"},
	{CAUSE_EXIT "irq_window", false, CAUSE_OTHER, "interrupt windows"},
	{CAUSE_EXIT "debug", false, CAUSE_OTHER, "debug stops"},
};

static const struct known *find(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].name, name))
			return &known[i];
	return NULL;
}

static unsigned int take(const struct cell *cell, bool traps, struct exit_cause *list)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < cell->causes; i++) {
		const struct known *k = find(cell->cause[i].name);

		if (!k || k->trap != traps || cell->cause[i].per_operation <= NOTHING * cell->exits)
			continue;
		list[n].class = k->class;
		snprintf(list[n].words, sizeof(list[n].words), "%s", k->words);
		list[n++].per_operation = cell->cause[i].per_operation;
	}
	return n;
}

static int most_first(const void *a, const void *b)
{
	const struct exit_cause *x = a, *y = b;

	if (x->per_operation != y->per_operation)
		return x->per_operation < y->per_operation ? 1 : -1;
	return strcmp(x->words, y->words);
}

const char *cause_class_name(enum cause_class class)
{
	return classes[class];
}

unsigned int exit_causes(const struct cell *cell, struct exit_cause *list)
{
	unsigned int n = take(cell, true, list);
	double rest = cell->exits;

	if (!n)
		n = take(cell, false, list);
	qsort(list, n, sizeof(*list), most_first);
	for (unsigned int i = 0; i < n; i++)
		rest -= list[i].per_operation;
	if (rest > NOTHING * cell->exits) {
		list[n] = (struct exit_cause){.class = CAUSE_OTHER, .per_operation = rest};
		snprintf(list[n].words, sizeof(list[n].words), "%s", n ? "others" : "of unknown cause");
		n++;
	}
	return n;
}
