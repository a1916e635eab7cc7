/*
 * A guest that is none, for gdb's server: memory, registers, and a run of which each moment follows from its position alone, so
 * that it can go back. It has a thread that does what the server says.
 *
 * At position n the guest is at instruction n % FAKE_LOOP of the loop at FAKE_CODE, of one byte each, with n in RAX. Instruction
 * FAKE_WRITES of the loop adds one to the word at FAKE_WORD, instruction FAKE_READS reads it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replay/gdb_server.h"
#include "vmm/cpu_state.h"

#define FAKE_CODE 0x1000ull
#define FAKE_RAM 0x1000ull
#define FAKE_RAM_SIZE 0x5000ull
#define FAKE_WORD 0x2008ull
#define FAKE_TOP 0xfffffffffffff000ull /* a page that ends where addresses end */
#define FAKE_LOOP 16u
#define FAKE_WRITES 9u
#define FAKE_READS 12u
#define FAKE_POINTS 6u
#define FAKE_FOREVER UINT64_MAX

struct gdb_fake {
	struct gdb_target_ops ops; /* the guest's, changeable before fake_start() */
	struct gdb_server *server;
	pthread_t thread;
	atomic_bool kicked;
	atomic_bool leaves;	  /* ends as soon as it runs, or at once if it does */
	atomic_bool done;	  /* its thread is, or will be in a moment */
	atomic_uint resumes;	  /* how often the guest was let go */
	atomic_uint interrupts;	  /* calls of interrupt() */
	uint64_t position, end;	  /* end: of history */
	bool read_only;		  /* registers are */
	int registers_fail;	  /* -errno of registers() */
	int insert_fails;	  /* of insert() */
	struct cpu_state cs;
	uint8_t ram[FAKE_RAM_SIZE], top[0x1000];
	struct gdb_point points[FAKE_POINTS];
	unsigned int count;
	unsigned int inserts, removes;
	enum gdb_resume last;	  /* how serve() returned for the last time */
	bool maps_zero;		  /* the first page of RAM is also at address 0 */
	bool exits;		  /* ends where history does, instead of stopping */
	bool serve_after_detach;  /* waits for an interrupt then, instead of ending */
};

/* All zero is what an aggregate initializer leaves; this makes a guest at position 0 of a history that ends at `end`. */
void fake_init(struct gdb_fake *f, uint64_t end);

/* Opens the server at `where` and starts the thread, which serves until it is told to kill, is gone, has detached, or exits. */
void fake_start(struct gdb_fake *f, const char *where);

/* Waits until the thread is done, or cancels it. Closes the server with `stop`, which may be NULL. */
void fake_end(struct gdb_fake *f, const struct gdb_stop *stop);
void fake_cancel(struct gdb_fake *f);

/* Waits until the guest was let go so often. */
void fake_wait_resumed(struct gdb_fake *f, unsigned int times);
