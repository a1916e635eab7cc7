/*
 * Epochs of a ward: which pages its guest wrote since the last one, from the dirty log, and what follows from that for their ages and
 * for the queues. Scavenging thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ward;

/* Asks the vCPU's thread for what was written since the last epoch, if one has passed (ns) and it was not asked already. */
void epoch_ask(struct ward *w, uint64_t now, uint64_t length);

/*
 * Whether the vCPU's thread has answered; then the epoch is over: pages that were written are young, the others are older by one,
 * and those that are worth a look are queued. The first answer opens the ward.
 */
bool epoch_take(struct ward *w, uint64_t now);

/* Nothing is looked at for the time being: where reads are watched, at a cost to the guest, they are not any more. */
void epoch_pause(struct ward *w);

/* The guest has ended and its thread is gone: nothing is asked any more. */
void epoch_close(struct ward *w);
