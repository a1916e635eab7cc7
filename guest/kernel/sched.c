#include "guest/kernel/sched.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/process.h"
#include "guest/kernel/space.h"

/* Intel SDM volume 3, section 8.7 "Task management in 64-bit mode": RSP0 follows 4 reserved bytes. */
struct tss {
	uint32_t reserved;
	uint64_t rsp0;
} __attribute__((packed));

extern struct tss tss;

static struct {
	struct process *current;
	struct process *first;
	struct process *last;
	const struct process *loaded; /* whose frame is in the TSS */
	const struct space *space;    /* which is in CR3 */
} sched;

struct process *sched_current(void)
{
	return sched.current;
}

void sched_ready(struct process *process)
{
	process->state = PROCESS_READY;
	process->next = NULL;
	if (sched.first == NULL)
		sched.first = process;
	else
		sched.last->next = process;
	sched.last = process;
}

void sched_stop(void)
{
	sched.current = NULL;
}

void sched_yield(void)
{
	sched_ready(sched.current);
	sched_stop();
}

void sched_space_changed(void)
{
	sched.space = NULL;
}

static struct process *take_first(void)
{
	struct process *process = sched.first;

	if (process != NULL)
		sched.first = process->next;
	return process;
}

noreturn void sched_resume(void)
{
	struct process *process = sched.current;

	if (process == NULL)
		process = take_first();
	while (process == NULL) {
		cpu_wait();
		process = take_first();
	}
	sched.current = process;
	if (process != sched.loaded) {
		tss.rsp0 = (uint64_t)(&process->frame + 1);
		sched.loaded = process;
	}
	if (process->space != sched.space) {
		space_activate(process->space);
		sched.space = process->space;
	}
	frame_return(&process->frame);
}
