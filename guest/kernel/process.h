/*
 * Processes of ring 3: made, copied, replaced, ended, waited for. A thread is a process that shares its parent's space.
 * A process that must wait (for a child, for input, for time) is set aside with its RIP put back to its system call, so
 * that it asks again when it is woken: the kernel needs no stack for each process.
 *
 * The kernel does not save SSE state. User programs are built without SSE, except one that may use it while it is
 * the only process that does (compute).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/trap.h"

#define PROCESS_MAX 64
#define PROCESS_LINE_MAX 255 /* bytes of a program's name and arguments */

struct space;

enum process_state {
	PROCESS_FREE,
	PROCESS_READY, /* running, or in the queue of those that could */
	PROCESS_WAITS_CHILD,
	PROCESS_WAITS_INPUT,
	PROCESS_SLEEPS,
	PROCESS_ENDED, /* until its parent has waited for it */
};

struct process {
	struct trap_frame frame; /* the processor pushes to its end */
	struct space *space;
	struct process *next; /* in the queue of the ready ones */
	enum process_state state;
	int pid;
	int parent;       /* 0 = nobody will wait */
	int status;       /* see process_wait() */
	uint64_t wake_at; /* tick */
} __attribute__((aligned(16)));

/* A user program of the image. Every image has a table of them, ended by a NULL name (an image without: just that). */
struct program {
	const char *name;
	int (*main)(int argc, char **argv);
};

extern const struct program programs[];

/* Starts the program named by the first word of `line` with the arguments in it; returns its pid or -1. */
int process_spawn(int parent, const char *line);
/* A copy of `from`, in which the system call returns 0; returns its pid or -1. */
int process_fork(struct process *from);
/* A thread in the space of `from`: `entry` (a gva) is called with `arg` on the stack that ends at `stack`. */
int process_thread(struct process *from, uint64_t entry, uint64_t arg, uint64_t stack);
/* Replaces the program of `process`, as in process_spawn(); false and unchanged when that cannot be. */
bool process_exec(struct process *process, const char *line);
/* Ends `process` with `status`. The first process (pid 1) takes the machine with it. */
void process_end(struct process *process, int status);
/*
 * An ended child of `parent`: its pid, with *status = its exit code (0 to 255) or PROCESS_KILLED + the vector of what
 * killed it. 0 when children are still running, -1 when there are none.
 */
int process_wait(const struct process *parent, int *status);
#define PROCESS_KILLED 256
#define PROCESS_OUT_OF_MEMORY (PROCESS_KILLED + 255)

/* Makes all that wait for `what` ready; sleepers only if their time has come. */
void process_wake(enum process_state what);

/*
 * For an image made of programs: sets up memory, traps, console input and system calls, starts the program `name` with
 * the arguments `args` as pid 1 and runs until that ends: the exit code is its own, or EXIT_INIT_DIED. `hz` is the rate
 * of the timer, 0 = no timer and so no preemption.
 */
noreturn void process_run(const char *name, const char *args, unsigned int hz);
/* (Re)starts the timer that preempts; false if it cannot tick at that rate. */
bool process_timer(uint64_t hz);
