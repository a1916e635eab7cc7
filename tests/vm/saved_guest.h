/*
 * A guest that was saved on its way, and what it had still to say. Whatever is not as it must be fails the test.
 */
#pragma once

#include "tests/vm/snapshot_place.h"

/* Words of a guest that checks all of its memory again and again. */
#define SAVED_MEMORY "--mem 24M @memory -- zero=50 dup=300 similar=100 unique=600 hot=40 cold=20 seed=3 rounds=24 pause=1"

struct saved {
	struct snapshot_place place; /* the snapshot is "s" there */
	char *rest;
	int status;
};

struct saved save_guest(const char *words);
void leave_saved(struct saved *s);

/* Restored with these words before the directory, it says the rest and nothing else. */
void assert_restored(const struct saved *s, const char *words);

/* Runs a command of the shell in the place. */
void run_in(const struct saved *s, const char *command);
