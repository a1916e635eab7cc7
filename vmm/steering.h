/*
 * Who steers a guest whose run is recorded or replayed: he decides what comes to it from outside, and when. At the access seam he
 * listens by a tap of his own (access.h). All functions are called on the vCPU's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct json_t;
struct program;
struct steering;
struct vm;

#define STEERING_ID_BYTES 16u /* of the identity of a snapshot */

struct steering_ops {
	/*
	 * Before each run of the guest, in place of the run loop's look at the clock, the console's input, what devices have finished,
	 * and interrupts. May end the VM. Not while the console is blocked.
	 */
	void (*due)(struct steering *s, struct vm *vm);

	/* The guest is halted, or a unikernel polls, and nothing has come: returns when something may have. */
	void (*idle)(struct steering *s, struct vm *vm);

	/* The guest has ended; devices and clock are as it left them. May have it go on from elsewhere: then it has not ended. */
	void (*ended)(struct steering *s, struct vm *vm);

	/* For statistics, while the guest stands still or has ended: what was written down. A new object, or NULL: nothing was. */
	struct json_t *(*stats)(const struct steering *s);

	/*
	 * Between guest runs: the guest as it stands is in the snapshot `id`; or, unless `of` is NULL, what is in the snapshot `of` will be
	 * in that one, too. NULL: nobody wants to know.
	 */
	void (*saved)(struct steering *s, const uint8_t id[STEERING_ID_BYTES], const uint8_t of[STEERING_ID_BYTES]);
};

struct steering {
	const struct steering_ops *ops;
	bool catching_up; /* the guest does again what was seen of it before: it is not to be saved as it is now */
};

/* Whoever wants to steer the guests that a configuration makes embeds this. */
struct steerer {
	/* The VM is made, and has not run. Sets vm->steering, or fails. Returns 0 or a logged -errno. */
	int (*begin)(struct steerer *s, struct vm *vm);
};

/* For `run --record`; main.c says whether there is such a feature. */
struct recording_feature {
	/* Makes the directory. `anyway`: even if the image can tell one run from another. Returns 0 or a logged -errno. */
	int (*open)(struct steerer **s, const struct program *p, const char *directory, bool anyway);

	/* The guest has ended, or never was, and its VM is gone: the recording becomes whole. Returns 0 or a logged -errno. */
	int (*close)(struct steerer *s);
};

/* For `restore --recording`. */
struct recovery_feature {
	/*
	 * Finds the snapshot `id` in the recording in `directory`: the guest that it is made of does again what it did from there on, and
	 * then goes on by itself, recorded into `record` unless that is NULL. `snapshot`: its path, for people. Returns 0 or a logged
	 * -errno.
	 */
	int (*open)(struct steerer **s, const struct program *p, const char *directory, const uint8_t id[STEERING_ID_BYTES],
		    const char *snapshot, const char *record);

	/* The guest has ended, or never was, and its VM is gone. Returns 0 or a logged -errno. */
	int (*close)(struct steerer *s);
};
