/*
 * The devices that a command line gives to a Solo5 unikernel, in Solo5's own words:
 *
 *	--block:NAME=FILE   --block-sector-size:NAME=BYTES   --net:NAME=TAP   --net-mac:NAME=MAC
 *
 * argp has no options with a part of their name left open, so solo5_options_open_names() makes `--block=NAME=FILE` and so on
 * of them, which may be written as well.
 */
#pragma once

#include <argp.h>
#include <stddef.h>

#define SOLO5_MAX_OPTIONS 128u

enum solo5_option_kind { SOLO5_GIVE_BLOCK, SOLO5_GIVE_SECTOR_SIZE, SOLO5_GIVE_NET, SOLO5_GIVE_MAC, SOLO5_OPTION_KINDS };

struct solo5_option {
	enum solo5_option_kind kind;
	const char *name; /* name_length bytes of it; the command line's */
	size_t name_length;
	const char *value; /* not empty */
};

struct solo5_options {
	struct solo5_option option[SOLO5_MAX_OPTIONS];
	unsigned int count;
};

/* "block" and so on, as they stand behind the dashes. */
extern const char *const solo5_option_name[SOLO5_OPTION_KINDS];

/*
 * In the words after argv[0] and before `--`, turns the first colon of ours into the equals sign that argp wants. A word that is
 * the value of an option of `known` stays as it is.
 */
void solo5_options_open_names(int argc, char **argv, const struct argp_option *known);

/* Adds "NAME=VALUE". Returns 0 or a logged -EINVAL. */
int solo5_options_add(struct solo5_options *o, enum solo5_option_kind kind, const char *arg);
