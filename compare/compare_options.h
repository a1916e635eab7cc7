/*
 * The command line of `penumbra compare`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compare/comparison.h"
#include "vmm/cpu_model.h"
#include "vmm/mem.h"

struct mmu_ops;
struct program;
struct workload;

#define COMPARE_MAX_ROUNDS 100

struct compare_options {
	const struct mmu_ops *mmu[COMPARISON_MAX_COLUMNS];
	unsigned int modes;
	const struct workload **workload; /* owned: compare_options_free() */
	size_t workloads;
	const char *image; /* instead of workloads, NULL = none */
	char *arguments;   /* for it, joined by spaces; owned */
	const char **join; /* files to be joined; owned */
	size_t joined;
	const char *html;  /* file, NULL = none */
	enum cpu_model cpu;
	enum mem_huge huge;
	uint64_t mem;	     /* bytes, 0 = what it takes */
	uint64_t timeout_ms; /* 0 = none */
	unsigned int rounds;
	bool list, json, joining;
};

/* Reads the options; a bad one is one line on stderr and a negative errno. --help and --usage print and exit. */
int compare_options_parse(struct compare_options *o, const struct program *p, int argc, char **argv);
void compare_options_free(struct compare_options *o);
