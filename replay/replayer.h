/*
 * Steers a guest as its log says (recorder.h), and looks whether it does again what it did.
 *
 * Invariants:
 *
 * 1. An event is brought when the guest stands at its position; what a device asks for, when it asks for it.
 * 2. Nothing else comes: neither the host's time nor what is typed.
 * 3. The first thing that is not as it was ends the VM as diverged; nothing that was seen of the guest then is taken for replayed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/check_stream.h"
#include "replay/divergence.h"
#include "replay/log_reader.h"
#include "vmm/access.h"
#include "vmm/steering.h"

struct boundary;
struct mmu_ops;
struct program;
struct probe;
struct replay_digest;

#define REPLAYER_TO_THE_END UINT64_MAX

struct replayer {
	struct steering steering;
	struct access_tap tap;
	struct vm *vm;
	const char *name; /* of the log, for people */
	const struct program *program;
	uint64_t until;	  /* position at which it ends */
	struct log_reader events;
	struct event next;
	bool has_next;
	struct check_stream checks;
	uint64_t digest;
	struct passed_ring passed;
	struct divergence divergence; /* once the VM has ended as diverged */
	uint64_t begun; /* position */
	uint64_t right; /* of the last digest; UINT64_MAX: there was none */
	uint64_t digests; /* there were */
	const struct mmu_ops *mmu; /* that it began in; NULL = it was changed */
	struct boundary *boundary;
	struct replay_digest *state;
	struct probe *probe; /* the owner's; NULL = nobody looks */
};

/* Reads the log's beginning. Returns 0, or -errno with the reason and nothing to be freed. */
int replayer_open(struct replayer *r, const struct program *p, int fd, const char *name, uint64_t until, struct reason *why);
void replayer_close(struct replayer *r);

/* The VM is as the recording began, and has not run. Returns 0 or a logged -errno. */
int replayer_begin(struct replayer *r, struct vm *vm);
