/*
 * `penumbra restore DIR`: a saved guest goes on. `penumbra clone DIR`: many of it do.
 */
#pragma once

struct program;

int cmd_restore(const struct program *p, int argc, char **argv);
int cmd_clone(const struct program *p, int argc, char **argv);
