/*
 * The command line of `penumbra run`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu_model.h"
#include "vmm/mem.h"

struct program;

#define RUN_MAX_COUNT 4096u

enum run_console { RUN_CONSOLE_STDIO, RUN_CONSOLE_FILE, RUN_CONSOLE_NONE };

struct run_options {
	const struct mmu_ops *mmu;
	enum cpu_model cpu;
	const char *image;
	const char *initrd;
	const char *control; /* path of the control socket, NULL = none */
	const char *stats; /* file for statistics, NULL = none */
	const char *console_file;
	enum run_console console;
	enum mem_huge huge;
	uint64_t mem;	     /* bytes */
	uint64_t timeout_ms; /* 0 = none */
	unsigned int count;
	char *cmdline; /* --append and ARGS, joined by spaces; owned: run_options_free() */
};

/* Reads the options; a bad one is one line on stderr and -EINVAL. --help and --usage print and exit. */
int run_options_parse(struct run_options *o, const struct program *p, int argc, char **argv);
void run_options_free(struct run_options *o);

/* "64M" -> bytes: digits and one of K, M, G, T in either case. Returns 0 or -EINVAL (not logged). */
int parse_size(const char *text, uint64_t *bytes);
