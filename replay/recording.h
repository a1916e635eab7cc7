/*
 * A recording while it is made: its directory, the snapshot that it begins with, its log (docs/recording-format.md). `penumbra run --record
 * DIR` makes one from a guest's first instruction to its end, `penumbra ctl SOCKET record start DIR` from wherever the guest is.
 */
#pragma once

#include <stdbool.h>

#include "vmm/steering.h"

struct capture;
struct program;
struct reason;
struct recording;
struct vm;

extern const struct recording_feature recording_feature;

/*
 * Makes the directory, which does not exist yet. `anyway`: even if the image can tell one run from another (chance.h). Returns 0 or
 * -errno with the reason. recording_free() ends what there is, and removes a directory of which nothing came.
 */
int recording_new(struct recording **r, const struct program *p, const char *directory, bool anyway, struct reason *why);
void recording_free(struct recording *r);

/*
 * The vCPU's thread, between guest runs, or before there is one: takes the guest as it is into *c, which recording_save() finishes, and
 * writes down what comes from here on. Returns 0, or -errno with the reason, the guest as it was, and nothing in *c.
 */
int recording_begin(struct recording *r, struct vm *vm, struct capture *c, struct reason *why);

/* Any thread, while the guest may run: without this snapshot the log is worth nothing. Returns 0 or -errno with the reason. */
int recording_save(struct recording *r, struct capture *c, struct reason *why);

/* The vCPU's thread, between guest runs: the recording is whole, the guest goes on. Returns 0 or a logged -errno. */
int recording_stop(struct recording *r);

/* The recording that is being made of the guest; NULL = none. */
struct recording *recording_of(const struct vm *vm);

/* The VM owns it from now on. */
void recording_keep(struct recording *r, struct vm *vm);
