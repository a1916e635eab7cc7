/*
 * Where the results of columns come from, in words. Columns taken on the same machine with the same KVM
 * below share a host.
 */
#pragma once

#include <stdbool.h>

#include "compare/comparison.h"

/* Is this the first column of its host? */
bool host_facts_first(const struct comparison *c, unsigned int column);

/* "Host of shadow and ept", for the host of this column. Fills out[LABEL_ROOM] and returns it. */
char *host_facts_columns(char *out, const struct comparison *c, unsigned int column);

/* Calls fact() for everything to be said about the host of this column. */
void host_facts(const struct comparison *c, unsigned int column, void (*fact)(void *arg, const char *name, const char *what),
		void *arg);
