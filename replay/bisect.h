/*
 * Where replays of one log begin to differ from one another: what a guest learned by no access shows in registers or RAM some time later,
 * and is another thing in each replay. They are compared at ever closer positions, first with another one in the same MMU mode, then with
 * one in another mode.
 */
#pragma once

#include "replay/probe.h"

struct mmu_ops;
struct program;

/* One replay, in a process of its own, up to the position `until`. Returns the program's exit status. */
typedef int bisect_run(void *arg, struct probe *p, const struct mmu_ops *mmu, uint64_t until);

/*
 * Has replays be run, and tells on standard output what was found. The process has one thread. Returns the exit status: that of the first
 * replay, if that does not diverge; 124; or 125, which was logged.
 */
int bisect(const struct program *p, const struct mmu_ops *mmu, bisect_run *run, void *arg);
