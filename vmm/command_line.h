/*
 * Options of a command, parsed by argp with this program's manners: a mistake is one line on stderr, of the form of all
 * other errors; --help and --usage print on stdout and exit with 0.
 */
#pragma once

#include <argp.h>

/*
 * argp_parse() with words in the order they were given. argv[0] is "penumbra COMMAND". Returns 0, or a negative errno: an
 * option that `argp` does not know is logged here; the parser logs what it refuses itself and returns a positive errno.
 */
int command_line_parse(const struct argp *argp, int argc, char **argv, void *input);
