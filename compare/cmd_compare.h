/*
 * `penumbra compare`: argv[0] is the command's name. Returns the program's exit status.
 */
#pragma once

struct program;

int cmd_compare(const struct program *p, int argc, char **argv);
