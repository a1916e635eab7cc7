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
#include "replay/log_reader.h"
#include "vmm/access.h"
#include "vmm/steering.h"

struct boundary;
struct program;

#define REPLAYER_LAST 8u /* accesses that are shown when the next one is another */
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
	struct access last[REPLAYER_LAST]; /* by position, modulo */
	uint64_t begun; /* position */
	uint64_t reached; /* position that the guest gets to without anything coming to it, if the log has no more */
	uint64_t left;	  /* events that are to be used */
	void (*over)(struct replayer *r); /* what becomes of the guest where the log has no more; NULL: it ends */
	size_t typed_before; /* input that waited when the guest was saved, and that the log brings */
	struct boundary *boundary;
};

/* Reads the log's beginning. Returns 0, or -errno with the reason and nothing to be freed. */
int replayer_open(struct replayer *r, const struct program *p, int fd, const char *name, uint64_t until, struct reason *why);
void replayer_close(struct replayer *r);

/*
 * Before it begins: not where the log begins, but behind so many events of it, the last of which is at `position`, the digest of all
 * accesses up to there being `digest`; and no more than `use` events behind that. Returns 0 or -errno with the reason.
 */
int replayer_go_to(struct replayer *r, uint64_t events, uint64_t position, uint64_t digest, uint64_t use, struct reason *why);

/* The VM is as it was where the replay begins, and has not run. Returns 0 or a logged -errno. */
int replayer_begin(struct replayer *r, struct vm *vm);

/* The vCPU's thread, between guest runs: the guest goes on by itself, and its clock from where it is. */
void replayer_let_go(struct replayer *r);
