/*
 * What saving a guest while it runs has cost it and us, over all snapshots and checkpoints. Any thread adds; who reads meanwhile may
 * see a part of the newest one.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct save_stats {
	bool refused; /* the host does not let RAM be protected: said. The vCPU's thread's */
	_Atomic uint64_t saved, failed;
	_Atomic uint64_t joined;		       /* chains of checkpoints that were written anew as one */
	_Atomic uint64_t pause_ns, longest_pause_ns;   /* in which the guest stood still */
	_Atomic uint64_t copied, protected;	       /* pages: in the pause, or to be copied behind the guest */
	_Atomic uint64_t pages, zero_pages, bytes;     /* written; zero pages are not, but noted */
	_Atomic uint64_t prepare_ns, behind_ns, write_ns; /* phases besides the pause: the guest runs in these */
};
