/*
 * What the kernel says of this host in text files (/proc and /sys; proc(5)). They are looked for below `root`, "" for the real
 * ones, so that tests can make up a host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The first line of a file that begins with `key`: what follows it without blanks and colons before it and the newline behind,
 * as much of it as fits. With key "" it is the first line as it is. False, and "" in text, if there is no such line or nothing
 * follows.
 */
bool host_file_line(const char *root, const char *path, const char *key, char *text, size_t size);
