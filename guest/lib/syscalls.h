/*
 * System calls: what kernel and user programs agree on. `int $4` with the number in RAX and arguments in RDI, RSI, RDX;
 * the result comes back in RAX, all other registers are kept. A negative result is a failure: -1.
 */
#pragma once

#include <stdint.h>

#define SYSCALL_EXIT 0   /* (code) */
#define SYSCALL_WRITE 1  /* (text, size): to the console */
#define SYSCALL_READ 2   /* (to, size): waits for input, returns how many bytes there were */
#define SYSCALL_FORK 3   /* (): the child's pid, in the child 0 */
#define SYSCALL_SPAWN 4  /* (line, size): pid of the program named by the first word of `line` */
#define SYSCALL_EXEC 5   /* (line, size): does not return when all is well */
#define SYSCALL_WAIT 6   /* (int *status): pid of a child that ended; -1 when there are no children */
#define SYSCALL_GROW 7   /* (pages, now): gva of fresh zero pages, 0 = no memory; `now` = not at the first touch */
#define SYSCALL_THREAD 8 /* (entry, arg, stack): pid of a thread */
#define SYSCALL_YIELD 9  /* () */
#define SYSCALL_SLEEP 10 /* (ticks): needs a timer */
#define SYSCALL_CLOCK 11 /* (): nanoseconds since boot */
#define SYSCALL_TICKS 12 /* (): timer interrupts since boot */
#define SYSCALL_PID 13   /* () */
#define SYSCALL_STATS 14 /* (struct syscall_stats *) */
#define SYSCALL_TIMER 15 /* (hz): the rate of the timer from now on; -1 = not possible */
#define SYSCALL_SHRINK 16 /* (pages): gives back the last pages of the heap; -1 = it has fewer */
/*
 * (gva, pages): the gva of the same pages of the heap once more, appended to it; 0 = not of the heap, or no memory. What is
 * written at one place shows at the other, until a fork parts them.
 */
#define SYSCALL_ALIAS 17
#define SYSCALL_GUEST 18 /* (): the number of the guest, 0 for the first of a command line */
#define SYSCALL_COUNT 19

/* What a waiter learns of a child that did not exit: this + the vector of the exception that killed it. */
#define STATUS_KILLED 256

struct syscall_stats {
	uint64_t pages_in_use;
	uint64_t faults; /* page faults served */
	uint64_t zeroed; /* pages of zeros handed out */
	uint64_t copied; /* pages copied at a write */
};
