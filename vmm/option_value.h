/*
 * Values of options that several commands take. Each function reads `text`, which --option of the command was given, and
 * returns 0, or -EINVAL after one line that names the command, the option and what it wants.
 */
#pragma once

#include <stdint.h>

#include "vmm/cpu_model.h"
#include "vmm/mem.h"

/* That line: "penumbra: COMMAND: --OPTION=TEXT: WANTED". Returns -EINVAL. */
int option_bad(const char *command, const char *option, const char *text, const char *wanted);

/* A whole number from 1 to most. */
int option_number(const char *command, const char *option, const char *text, unsigned int most, unsigned int *n);

/* The name of a file: anything but "". *file is `text`. */
int option_file(const char *command, const char *option, const char *text, const char **file);

/* Digits and one of K, M, G, T in either case. Returns 0, or -EINVAL with nothing said. */
int option_size(const char *text, uint64_t *bytes);

/* --mem: such a size, as much as a guest can have, in whole pages. */
int option_mem(const char *command, const char *text, uint64_t *bytes);

/* --timeout: seconds, in decimal, above 0; *ms is rounded up. */
int option_timeout(const char *command, const char *text, uint64_t *ms);

/* --cpu */
int option_cpu(const char *command, const char *text, enum cpu_model *cpu);

/* --hugepages: on or off. */
int option_huge(const char *command, const char *text, enum mem_huge *huge);

/*
 * Adds a word, after a space if there is one before it, to *line, which is NULL at first and the caller's to free(). Returns 0
 * or -ENOMEM, logged as `what`.
 */
int option_add_word(const char *what, char **line, const char *word);
