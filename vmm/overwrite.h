/*
 * Files that a run writes from their beginning on, the statistics and the console's, must not be files that its guests are made of.
 */
#pragma once

struct run_options;

/*
 * Returns 0, or a logged -EINVAL if an output names the same file as an input, or as another output. By whatever names: what counts
 * is the file. Nothing is opened.
 */
int overwrite_check(const struct run_options *o);
