/*
 * What the log brings to a guest that is replayed, and the guest that is not as it was. Internal to replayer.h; all functions are called on
 * the vCPU's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/divergence.h"
#include "replay/event.h"

struct boundary;
struct replayer;
struct vm;

uint64_t replayer_position(const struct replayer *r);

/*
 * Ends the VM as diverged. `at`: the last position of which nothing is known to be wrong. What was expected and found is said before, if it
 * is known: replayer_expect_next() that it is what the log says next.
 */
void replayer_diverge(struct replayer *r, enum divergence_kind kind, uint64_t at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void replayer_expect_next(struct replayer *r);

/* The log says `what` cannot be; its checksums are right, but that says nothing of who made them. */
void replayer_refuse(struct replayer *r, const char *what);

/* On to what the log says next, but for checks and marks. */
void replayer_advance(struct replayer *r);

/* Brings what is next; and all that is due where the guest stands. */
void replayer_bring_next(struct replayer *r);
void replayer_bring_due(struct replayer *r);

/* Something is to be brought where the guest stands; some things a device asks for, or the guest does. */
bool replayer_is_due(const struct replayer *r);
bool replayer_comes_by_itself(const struct event *e);
bool replayer_is_async(const struct event *e);

/* The guest has gone on to its end by itself. */
bool replayer_ended_by_itself(const struct vm *vm);

/* There is nothing more that the log could say; and the guest has got as far as it says, and ends there. */
bool replayer_has_said_all(const struct replayer *r);
bool replayer_is_cut_off(const struct replayer *r);
void replayer_end_where_cut_off(struct replayer *r);

/* The next event is a digest: compares the guest with it. `at`: where it stands, NULL: it has ended. */
void replayer_compare_state(struct replayer *r, const struct boundary *at);

/* Asynchronous points (replayer_walk.c): the next one is gathered, and walked to, unless it is one of those that the guest is put to. */
void replayer_gather(struct replayer *r);
bool replayer_is_put(const struct replayer *r);
