/*
 * The command lines of `penumbra restore` and `penumbra clone`.
 */
#pragma once

#include <stdbool.h>

#include "vmm/run_options.h"

/* When RAM is read. */
enum restore_ram {
	RAM_NOW,    /* and checked, before the guest runs */
	RAM_LAZY,   /* and checked, when the guest touches it */
	RAM_MAPPED, /* as the guest touches it, by the host, unchecked */
};

struct restore_options {
	struct run_options run; /* image: the snapshot's directory */
	bool clock_now;
	enum restore_ram ram;
	const char *recording; /* directory of the one that brings it to where it was last; NULL = it goes on from the snapshot */
	bool clone;
};

/* Reads the options; a bad one is one line on stderr and -EINVAL. --help and --usage print and exit. */
int restore_options_parse(struct restore_options *o, const struct program *p, int argc, char **argv);
int clone_options_parse(struct restore_options *o, const struct program *p, int argc, char **argv);
void restore_options_free(struct restore_options *o);
