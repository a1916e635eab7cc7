#include "guest/kernel/syscall.h"

#include <stddef.h>

#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/space.h"
#include "guest/kernel/timer.h"
#include "guest/lib/string.h"
#include "guest/lib/syscalls.h"

#define FAILED ((uint64_t)-1)
#define SYSCALL_INSTRUCTION_SIZE 2 /* int $4 */

typedef uint64_t syscall_handler(struct process *process, uint64_t a, uint64_t b, uint64_t c);

/* Sets the caller aside until it is woken; it then executes its system call again. */
static uint64_t block(struct process *process, enum process_state state)
{
	process->state = state;
	process->frame.rip -= SYSCALL_INSTRUCTION_SIZE;
	sched_stop();
	return process->frame.rax;
}

/* Copies a program's line from the caller; false if it is too long or not readable. */
static bool fetch_line(const struct process *process, uint64_t gva, uint64_t size, char *line)
{
	if (size > PROCESS_LINE_MAX || !space_allows(process->space, gva, size, false))
		return false;
	memcpy(line, (const void *)gva, size);
	line[size] = '\0';
	return true;
}

static uint64_t do_exit(struct process *process, uint64_t code, uint64_t b, uint64_t c)
{
	process_end(process, (int)(code & 0xff));
	return 0;
}

static uint64_t do_write(struct process *process, uint64_t text, uint64_t size, uint64_t c)
{
	if (!space_allows(process->space, text, size, false))
		return FAILED;
	console_write((const char *)text, size);
	return size;
}

static uint64_t do_read(struct process *process, uint64_t to, uint64_t size, uint64_t c)
{
	uint64_t count;

	if (size == 0 || !space_allows(process->space, to, size, true))
		return FAILED;
	count = console_read((char *)to, size);
	return count > 0 ? count : block(process, PROCESS_WAITS_INPUT);
}

static uint64_t do_fork(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)process_fork(process);
}

static uint64_t do_spawn(struct process *process, uint64_t gva, uint64_t size, uint64_t c)
{
	char line[PROCESS_LINE_MAX + 1];

	return fetch_line(process, gva, size, line) ? (uint64_t)process_spawn(process->pid, line) : FAILED;
}

static uint64_t do_exec(struct process *process, uint64_t gva, uint64_t size, uint64_t c)
{
	char line[PROCESS_LINE_MAX + 1];

	if (!fetch_line(process, gva, size, line) || !process_exec(process, line))
		return FAILED;
	return 0;
}

static uint64_t do_wait(struct process *process, uint64_t to, uint64_t b, uint64_t c)
{
	int status;
	int pid;

	if (!space_allows(process->space, to, sizeof(status), true))
		return FAILED;
	pid = process_wait(process, &status);
	if (pid == 0)
		return block(process, PROCESS_WAITS_CHILD);
	if (pid > 0)
		*(int *)to = status;
	return (uint64_t)pid;
}

static uint64_t do_grow(struct process *process, uint64_t count, uint64_t now, uint64_t c)
{
	return space_grow(process->space, count, now != 0);
}

static uint64_t do_shrink(struct process *process, uint64_t count, uint64_t b, uint64_t c)
{
	return space_shrink(process->space, count) ? 0 : FAILED;
}

static uint64_t do_alias(struct process *process, uint64_t gva, uint64_t count, uint64_t c)
{
	return space_alias(process->space, gva, count);
}

static uint64_t do_thread(struct process *process, uint64_t entry, uint64_t arg, uint64_t stack)
{
	return (uint64_t)process_thread(process, entry, arg, stack);
}

static uint64_t do_yield(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	sched_yield();
	return 0;
}

static uint64_t do_sleep(struct process *process, uint64_t ticks, uint64_t b, uint64_t c)
{
	if (timer_hz() == 0)
		return FAILED;
	process->wake_at = timer_ticks() + ticks;
	process->state = PROCESS_SLEEPS;
	sched_stop();
	return 0;
}

static uint64_t do_clock(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	return machine_clock();
}

static uint64_t do_ticks(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	return timer_ticks();
}

static uint64_t do_pid(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)process->pid;
}

static uint64_t do_stats(struct process *process, uint64_t to, uint64_t b, uint64_t c)
{
	struct space_stats stats = space_stats();

	if (!space_allows(process->space, to, sizeof(struct syscall_stats), true))
		return FAILED;
	*(struct syscall_stats *)to = (struct syscall_stats){
		.pages_in_use = pages_in_use(),
		.faults = stats.faults,
		.zeroed = stats.zeroed,
		.copied = stats.copied,
	};
	return 0;
}

static uint64_t do_timer(struct process *process, uint64_t hz, uint64_t b, uint64_t c)
{
	return process_timer(hz) ? 0 : FAILED;
}

static uint64_t do_guest(struct process *process, uint64_t a, uint64_t b, uint64_t c)
{
	return machine_boot()->vm_number;
}

static syscall_handler *const handlers[SYSCALL_COUNT] = {
	[SYSCALL_EXIT] = do_exit,     [SYSCALL_WRITE] = do_write, [SYSCALL_READ] = do_read,
	[SYSCALL_FORK] = do_fork,     [SYSCALL_SPAWN] = do_spawn, [SYSCALL_EXEC] = do_exec,
	[SYSCALL_WAIT] = do_wait,     [SYSCALL_GROW] = do_grow,   [SYSCALL_THREAD] = do_thread,
	[SYSCALL_YIELD] = do_yield,   [SYSCALL_SLEEP] = do_sleep, [SYSCALL_CLOCK] = do_clock,
	[SYSCALL_TICKS] = do_ticks,   [SYSCALL_PID] = do_pid,     [SYSCALL_STATS] = do_stats,
	[SYSCALL_TIMER] = do_timer,   [SYSCALL_SHRINK] = do_shrink, [SYSCALL_ALIAS] = do_alias,
	[SYSCALL_GUEST] = do_guest,
};

void syscall_trap(struct trap_frame *frame)
{
	struct process *process = sched_current();
	uint64_t result;

	if (process == NULL || !trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	if (frame->rax >= SYSCALL_COUNT) {
		frame->rax = FAILED;
		return;
	}
	result = handlers[frame->rax](process, frame->rdi, frame->rsi, frame->rdx);
	/* An ended process has no use for the result; an exec() that succeeded starts with all registers clear. */
	frame->rax = result;
}
