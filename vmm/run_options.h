/*
 * The command line of `penumbra run`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu_model.h"
#include "vmm/disk.h"
#include "vmm/mem.h"
#include "vmm/scavenge_options.h"
#include "vmm/vm.h"
#include "vmm/solo5_options.h"

struct program;

#define RUN_MAX_COUNT 4096u
#define RUN_CHECKPOINT_EVERY 1000u /* ms, if it is not said */

enum run_console { RUN_CONSOLE_STDIO, RUN_CONSOLE_FILE, RUN_CONSOLE_NONE };

struct run_disk {
	char *path; /* owned */
	enum disk_use use;
};

/* argp's keys of the options, for commands that take some of them, too. */
enum run_key {
	RUN_KEY_MMU = 0x100, RUN_KEY_CPU, RUN_KEY_MEM, RUN_KEY_APPEND, RUN_KEY_INITRD, RUN_KEY_CONSOLE, RUN_KEY_COUNT,
	RUN_KEY_CONTROL, RUN_KEY_TIMEOUT, RUN_KEY_STATS, RUN_KEY_LOG, RUN_KEY_HUGE, RUN_KEY_DISK, RUN_KEY_MODULE,
	RUN_KEY_VIRTIO_CONSOLE, RUN_KEY_CHECKPOINT, RUN_KEY_CHECKPOINT_EVERY, RUN_KEY_RECORD, RUN_KEY_RECORD_ANYWAY, RUN_KEY_GDB, RUN_KEY_SCAVENGE, RUN_KEY_SHARE_GROUP,
	RUN_KEY_SOLO5, /* + enum solo5_option_kind; the last one */
	RUN_KEY_END = RUN_KEY_SOLO5 + SOLO5_OPTION_KINDS
};

/* For the commands that have it: one text. */
#define RUN_SCAVENGE_HELP \
	"Keep guests' RAM small while they run: find pages that are zero, the same or alike, and put away compressed what is not used " \
	"(docs/scavenger.md). OPTs: stages=zero, same, delta or compress, the last one that is done (default: compress, which is all); " \
	"cpu=PERCENT of one processor (default: 20); refaults=N a second and guest, which it aims at (default: 50); memory=SIZE, what " \
	"guests may take together (default: what the host has); idle=MS, how long a page must not have been written (default: 1000); " \
	"off: it rests until `penumbra ctl SOCKET scavenge on`"
#define RUN_SHARE_GROUP_HELP \
	"Only guests of the same group share pages. Guests are dealt out to the groups in turn; each: every guest is alone (default: one " \
	"group for all)"

struct run_options {
	const char *command; /* whose options they are, for messages */
	const struct mmu_ops *mmu;
	enum cpu_model cpu;
	const char *image;
	const char *initrd;
	const char *control; /* path of the control socket, NULL = none */
	const char *stats; /* file for statistics, NULL = none */
	const char *console_file;
	enum run_console console;
	struct solo5_options solo5; /* point into argv */
	enum mem_huge huge;
	bool huge_said; /* else what suits the image */
	uint64_t mem;	     /* bytes, 0 = what suits the image */
	uint64_t timeout_ms; /* 0 = none */
	unsigned int count;
	struct vm_module module[VM_MAX_MODULES];
	char *module_text[VM_MAX_MODULES]; /* what they point into; owned */
	unsigned int module_count;
	struct run_disk disk[DISK_MAX];
	unsigned int disk_count;
	bool virtio_console;
	const char *checkpoint;	       /* directory, NULL = none are made */
	unsigned int checkpoint_every; /* ms */
	const char *gdb;	       /* where a gdb may connect, NULL = none */
	const char *record;	       /* directory, NULL = it is not recorded */
	bool record_anyway;	       /* even if a replay may diverge */
	bool scavenged; /* there is a scavenger, be it at rest */
	struct scavenge_options scavenge;
	char *cmdline; /* --append and ARGS, joined by spaces; owned: run_options_free() */
};

/* Reads the options; a bad one is one line on stderr and -EINVAL. --help and --usage print and exit. */
int run_options_parse(struct run_options *o, const struct program *p, int argc, char **argv);

/* What options that are not given say. The first of all. */
void run_options_init(struct run_options *o, const struct program *p, const char *command);

/* What no single option shows. Returns 0 or a logged -EINVAL. */
int run_options_check(const struct run_options *o);

/* Takes the value of one option. Returns 0, a logged -errno, or ARGP_ERR_UNKNOWN for a key that is none of enum run_key. */
int run_options_set(struct run_options *o, const struct program *p, int key, const char *arg);
void run_options_free(struct run_options *o);
