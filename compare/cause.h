/*
 * What the names of causes mean (struct cause): which of them are exits, and how people call them.
 */
#pragma once

#include <stddef.h>

#include "compare/comparison.h"

/* What an exit is about. Plots have a colour for each. */
enum cause_class {
	CAUSE_HIDDEN,	  /* a page that the shadow had not filled in yet */
	CAUSE_STORE,	  /* a write to a page table */
	CAUSE_REFLECTED,  /* an exception that the guest's own kernel is to see */
	CAUSE_CALL,	  /* into the guest's kernel and back */
	CAUSE_SPACE,	  /* another address space, a flush */
	CAUSE_PRIVILEGED, /* any other privileged instruction */
	CAUSE_DEVICE,	  /* ports and devices, the guest's waiting */
	CAUSE_OTHER,
	CAUSE_CLASSES
};

struct exit_cause {
	enum cause_class class;
	char words[64]; /* in the plural: "hidden faults" */
	double per_operation;
};

/* "page fills" and the like, for a legend. */
const char *cause_class_name(enum cause_class class);

/*
 * A cell's exits by cause, most frequent first; what no cause explains is "others". Fills
 * list[CELL_MAX_CAUSES + 1] and returns how many. They add up to the cell's exits, unless more causes than
 * exits were counted.
 */
unsigned int exit_causes(const struct cell *cell, struct exit_cause *list);
