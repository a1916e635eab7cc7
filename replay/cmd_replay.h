/*
 * `penumbra replay`.
 */
#pragma once

struct program;

/* As the commands of program.h. */
int cmd_replay(const struct program *p, int argc, char **argv);
