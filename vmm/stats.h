/*
 * What a run did and cost, as one JSON object. Of one VM it is flat; with several, the object holds the sums and a list
 * `guests`. docs/stats.md names the fields.
 */
#pragma once

struct fleet;
struct program;
struct run_options;

/* Writes to path ("-": standard error). All VMs have ended. Returns 0 or a logged -errno. */
int stats_write(const char *path, const struct fleet *f, const struct program *p, const struct run_options *o);
