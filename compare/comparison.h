/*
 * What a comparison found: rows (workloads) by columns (an MMU mode on a host), as plain data. Made by measuring
 * (measure.h) or read from a file (comparison_json.h); looked at by table.h, html.h and explain.h. Everything is owned:
 * comparison_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPARISON_MAX_COLUMNS 8
#define COMPARISON_MAX_ROWS 256
#define COMPARISON_MAX_SAMPLES 1000 /* of a cell */
#define CELL_MAX_CAUSES 48

/* Every result says where it comes from. */
struct column {
	char name[32];	     /* heading, unique: "shadow", "ept"; joined files make it "nested (npt)", ... */
	char mmu[16];	     /* as in --mmu */
	char host_mmu[32];   /* what KVM does below it: "npt", "ept", "kvm-shadow", "pvm", ... (ept/host_mmu.h) */
	char host_words[160]; /* the same in words */
	char cpu[96], kernel[96], clocksource[32]; /* clocksource: what the host reads time from */
	bool nested;	     /* the host has nested paging */
	bool emulated;	     /* the host's processor is emulated: its times say nothing about real ones */
	bool ring0_interpreted; /* direct mode's ring 0 is interpreted by KVM there */
	uint64_t host_page;  /* bytes of the pages that most of guest RAM had in the host */
	uint64_t tlb_reach;  /* bytes, with 4 KiB pages; what `reach` of the workloads stands for */
	double bare_exit_us; /* floor: a port read of a bare KVM guest to user space and back; 0 = not measured */
	double bare_loop_ns; /* floor: a step of the computing loop, without any guest */
};

struct samples {
	unsigned int n;
	double *value; /* [n], in the order of measurement: value[i] of two columns are neighbours in time */
};

/*
 * What happened in the VMM, and how often per operation: exits by KVM's reason (CAUSE_EXIT and its name, such as "exit:io"), and
 * what the MMU mode counts itself, by its name there ("hidden_faults").
 */
#define CAUSE_EXIT "exit:"

struct cause {
	char name[40];
	double per_operation;
};

/*
 * References to memory that one TLB miss costs the hardware, worked out from the tables as they were: levels of the tables
 * the guest CPU walks (the guest's own, or ours) by levels of the host's below them.
 */
struct walk_length {
	unsigned int guest_levels, host_levels; /* host_levels 0: one dimension */
	unsigned int references;		/* 0 = not known */
};

enum cell_kind { CELL_EMPTY, CELL_MEASURED, CELL_CANNOT };

struct cell {
	enum cell_kind kind;
	char why[224];	    /* CELL_CANNOT: why this mode cannot, in one line */
	struct samples us;  /* time of one operation, processor time of the vCPU's thread with the guest's in it, in us */
	double exits;	    /* per operation: returns of KVM_RUN for the guest's doing */
	unsigned int causes;
	struct cause cause[CELL_MAX_CAUSES]; /* most frequent first; the exits by reason and the MMU mode's own counters */
	struct walk_length walk;
};

struct row {
	char name[48];	/* of the workload, or of the image that was run as a whole */
	char group[32];
	char what[200];
	uint64_t operations; /* between the marks of one run */
	struct cell cell[COMPARISON_MAX_COLUMNS];
};

struct comparison {
	unsigned int columns;
	struct column column[COMPARISON_MAX_COLUMNS];
	size_t rows;
	struct row *row;
	unsigned int rounds; /* that were asked for */
	bool partial;	     /* cut short: some rows have fewer rounds, or none */
};

/*
 * An empty one; columns and rows are added in order. Adding returns NULL, logged, when there is no room or memory. Adding a row
 * moves the others.
 */
void comparison_init(struct comparison *c);
struct column *comparison_add_column(struct comparison *c);
struct row *comparison_add_row(struct comparison *c);
struct row *comparison_find_row(const struct comparison *c, const char *name);
void comparison_free(struct comparison *c);

/* Adds one measurement. Returns 0 or a logged -E2BIG or -ENOMEM. */
int samples_add(struct samples *s, double value);
