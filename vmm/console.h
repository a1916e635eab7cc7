/*
 * The host side of a guest's serial port: where its output goes and where its input comes from.
 *
 * Output is gathered and written at a newline, when much has been gathered, before the guest sleeps or ends, and at the
 * latest after CONSOLE_FLUSH_NS. With several VMs in a process each line is led by the VM's number and goes out in one
 * piece, unless it is longer than CONSOLE_GATHER. Where a reader is too slow, what it does not take is kept and the run loop lets the guest stand still: nothing is lost, and the vCPU's thread
 * still looks at its mailbox. Input comes from another thread through a ring and enters the UART on the vCPU's thread,
 * announced at the access seam.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/clock.h"

struct state;
struct vm;

#define CONSOLE_GATHER 512u  /* bytes after which output is written */
#define CONSOLE_BUFFER 1024u /* bytes; the rest is for what one exit still brings when nobody reads */
#define CONSOLE_RING 512u /* a power of two */
#define CONSOLE_FLUSH_NS 4000000ull

struct console_config {
	int fd;		/* output, -1 = none; not owned */
	bool numbered;	/* lead each line with the VM's number */
	void (*room)(void *arg); /* vCPU's thread: a full input ring has room again; may be NULL */
	void *arg;
};

struct console {
	struct vm *vm;
	struct console_config config;
	struct clock_timer flush;
	size_t used;
	bool blocked;	/* the reader took less than we had */
	bool line_open; /* the last byte gathered was not a newline */
	uint64_t said;	/* bytes that the guest has sent, by where it stands */
	uint64_t shown; /* the most that this ever was: what it sends again below this has been shown */
	uint8_t buffer[CONSOLE_BUFFER];

	/* Single producer (console_input()), single consumer (console_feed()); indexes run freely. */
	_Atomic uint32_t head, tail;
	_Atomic bool starved; /* the producer found it full */
	uint8_t ring[CONSOLE_RING];
};

int console_init(struct console *c, struct vm *vm, const struct console_config *config);
void console_destroy(struct console *c);

/* The UART sends a byte; arg is the console. */
void console_put(void *arg, uint8_t byte);

/*
 * The guest is put to where it had sent `said` bytes: what it sends again is swallowed. What is gathered stays: it is still to be shown,
 * once.
 */
void console_rewind(struct console *c, uint64_t said);

/* Writes out what is gathered as far as it is taken now, see `blocked`. A failing write ends the VM as the host's failure. */
void console_flush(struct console *c);

/*
 * Waits for a slow reader, for a moment at most or until a kick, and goes on writing. If the VM was asked to end, what the
 * reader has not taken is dropped.
 */
void console_wait(struct console *c);

/* Any one thread: takes input for the guest, as much as there is room for; returns how much. The caller kicks. */
size_t console_input(struct console *c, const uint8_t *bytes, size_t size);

/*
 * What is on its way in either direction: output that no reader has taken yet, and input that the guest has had no room for. A
 * load expects an empty console and nobody who produces input yet.
 */
void console_visit(struct console *c, struct state *s);

/* For who steers (steering.h): input that did not come this way. Returns false, and takes none, where there is no room for it. */
bool console_receive(struct console *c, const uint8_t *bytes, size_t size);

/* Whether console_feed() would do anything. */
bool console_has_for_guest(struct console *c);

/* How much input waits; and that so much of it, at most all, is not to come: it came in another way. The vCPU's thread. */
size_t console_waiting(const struct console *c);
void console_drop(struct console *c, size_t size);

/* Moves waiting input into the UART, or into the virtio console if there is one, as far as there is room. */
void console_feed(struct console *c);
