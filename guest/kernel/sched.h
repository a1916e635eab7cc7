/* Who runs: a queue, one tick each. */
#pragma once

#include <stdnoreturn.h>

struct process;

/* The process that runs or was interrupted; NULL while the machine is idle. */
struct process *sched_current(void);
/* Appends to the queue. */
void sched_ready(struct process *process);
/* Takes the processor from the current process without queueing it. */
void sched_stop(void);
/* Takes it and queues it behind the others. */
void sched_yield(void);
/* The space of the current process was replaced. */
void sched_space_changed(void);
/* Goes on in ring 3: the current process, or the first of the queue, or sleeps until an interrupt makes one ready. */
noreturn void sched_resume(void);
