/*
 * What `penumbra run` shares with other commands that launch guests.
 */
#pragma once

struct disk;
struct program;
struct run_options;
struct vm_config;

/* Opens the disks of the options. Returns 0, or a logged -errno with none left open. */
int run_open_disks(struct disk *disks, const struct run_options *o);

/*
 * Runs o->count guests of this configuration to their ends, with console, control socket and statistics as the options say, and
 * reports. The rest of *config, KVM, mode and console, is filled in here. Returns the program's exit status.
 */
int run_guests(const struct program *p, const struct run_options *o, struct vm_config *config);
