/*
 * What a run did and cost, as one JSON object. Of one VM it is flat; with several, the object holds the sums and a list
 * `guests`. docs/stats.md names the fields.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

struct fleet;
struct fleet_member;
struct program;
struct run_options;

/* One VM's part, so far; its vCPU's thread only, or when it has ended. The caller's to json_decref(). */
json_t *stats_guest(struct fleet_member *m);

/* Opens the file for statistics before the run, so that a bad path is found out first; "-": stderr. NULL and logged. */
FILE *stats_open(const char *path);

/* Writes to out, which was opened for o->stats. All VMs have ended. Returns 0 or a logged -errno. */
int stats_write(FILE *out, const struct fleet *f, const struct program *p, const struct run_options *o);
