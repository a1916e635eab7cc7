/*
 * `penumbra pack DIR NEWDIR`: a snapshot for storage, or back into one that can be mapped.
 */
#pragma once

struct program;

int cmd_pack(const struct program *p, int argc, char **argv);
