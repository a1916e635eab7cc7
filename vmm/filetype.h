/*
 * What a file looks like by its first bytes, so that whoever names the wrong file is told what it
 * is instead.
 */
#pragma once

#include <stddef.h>

/* How many bytes of a file's beginning are worth showing to filetype_guess(). */
#define FILETYPE_HEAD 1024

/*
 * A phrase such as "a gzip file" for a file that begins with head[0, size); "data" if nothing is
 * recognised.
 */
const char *filetype_guess(const void *head, size_t size);
