/*
 * `penumbra inspect DIR` of a directory of checkpoints: which there are, and which one `restore` takes. They are only read.
 */
#pragma once

#include <stdbool.h>

/* Checks the one that `restore` takes wholly, of the others what is read here. Returns the program's exit status. */
int checkpoint_list_inspect(const char *directory, bool json);
