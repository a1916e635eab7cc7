#include "guest/kernel/process.h"

#include <stddef.h>

#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/space.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/timer.h"
#include "guest/kernel/user_image.h"
#include "guest/lib/string.h"

static struct {
	struct process table[PROCESS_MAX];
	int last_pid;
	int limit; /* entries that were ever used */
} processes;

static struct process *process_new(int parent)
{
	int i = 0;

	while (i < PROCESS_MAX && processes.table[i].state != PROCESS_FREE)
		i++;
	if (i == PROCESS_MAX)
		return NULL;
	if (i >= processes.limit)
		processes.limit = i + 1;
	processes.table[i].pid = ++processes.last_pid;
	processes.table[i].parent = parent;
	return &processes.table[i];
}

/* Registers as at the call of a function at `rip`: its return address (none) is what RSP points at. */
static void frame_enter(struct trap_frame *frame, uint64_t rip, uint64_t stack, uint64_t rdi, uint64_t rsi)
{
	*frame = (struct trap_frame){
		.rip = rip,
		.cs = USER_CODE_SELECTOR,
		.rflags = RFLAGS_FIXED | RFLAGS_IF,
		.rsp = (stack & ~15ull) - 8,
		.ss = USER_DATA_SELECTOR,
		.rdi = rdi,
		.rsi = rsi,
	};
}

static size_t word_length(const char *line)
{
	size_t length = 0;

	while (line[length] != '\0' && line[length] != ' ')
		length++;
	return length;
}

static const struct program *find_program(const char *line)
{
	size_t length = word_length(line);

	for (const struct program *program = programs; program->name != NULL; program++) {
		if (strlen(program->name) == length && memcmp(program->name, line, length) == 0)
			return program;
	}
	return NULL;
}

/* A fresh space with `line` on its stack, and `frame` at the start of the program; NULL when that cannot be. */
static struct space *load(const char *line, struct trap_frame *frame)
{
	const struct program *program = find_program(line);
	struct space *space = program != NULL ? space_create() : NULL;
	uint64_t copy;

	if (space == NULL)
		return NULL;
	copy = space_push(space, line, strlen(line) + 1);
	if (copy == 0) {
		space_put(space);
		return NULL;
	}
	frame_enter(frame, user_entry, copy, (uint64_t)program->main, copy);
	return space;
}

static int add(struct process *process, struct space *space)
{
	if (space == NULL) {
		processes.last_pid--;
		return -1;
	}
	process->space = space;
	sched_ready(process);
	return process->pid;
}

int process_spawn(int parent, const char *line)
{
	struct process *process = process_new(parent);

	return process != NULL ? add(process, load(line, &process->frame)) : -1;
}

int process_fork(struct process *from)
{
	struct process *process = process_new(from->pid);

	if (process == NULL)
		return -1;
	process->frame = from->frame;
	process->frame.rax = 0;
	return add(process, space_fork(from->space));
}

int process_thread(struct process *from, uint64_t entry, uint64_t arg, uint64_t stack)
{
	struct process *process = process_new(from->pid);

	if (process == NULL)
		return -1;
	frame_enter(&process->frame, entry, stack, arg, 0);
	return add(process, space_share(from->space));
}

bool process_exec(struct process *process, const char *line)
{
	struct trap_frame frame;
	struct space *space = load(line, &frame);

	if (space == NULL)
		return false;
	space_put(process->space);
	process->space = space;
	process->frame = frame;
	sched_space_changed();
	return true;
}

/* Children of the dead are waited for by nobody: those that have ended go, the others go when they end. */
static void orphan_children(int pid)
{
	for (int i = 0; i < processes.limit; i++) {
		struct process *child = &processes.table[i];

		if (child->state == PROCESS_FREE || child->parent != pid)
			continue;
		child->parent = 0;
		if (child->state == PROCESS_ENDED)
			child->state = PROCESS_FREE;
	}
}

static void wake_parent(int pid)
{
	for (int i = 0; i < processes.limit; i++) {
		struct process *parent = &processes.table[i];

		if (parent->state == PROCESS_WAITS_CHILD && parent->pid == pid)
			sched_ready(parent);
	}
}

void process_end(struct process *process, int status)
{
	if (process->pid == 1)
		machine_exit(status < PROCESS_KILLED ? status : EXIT_INIT_DIED);
	space_put(process->space);
	sched_space_changed();
	process->space = NULL;
	process->status = status;
	process->state = process->parent != 0 ? PROCESS_ENDED : PROCESS_FREE;
	orphan_children(process->pid);
	wake_parent(process->parent);
	if (process == sched_current())
		sched_stop();
}

int process_wait(const struct process *parent, int *status)
{
	int result = -1;

	for (int i = 0; i < processes.limit; i++) {
		struct process *child = &processes.table[i];

		if (child->state == PROCESS_FREE || child->parent != parent->pid)
			continue;
		if (child->state == PROCESS_ENDED) {
			child->state = PROCESS_FREE;
			*status = child->status;
			return child->pid;
		}
		result = 0;
	}
	return result;
}

void process_wake(enum process_state what)
{
	for (int i = 0; i < processes.limit; i++) {
		struct process *process = &processes.table[i];

		if (process->state != what)
			continue;
		if (what != PROCESS_SLEEPS || process->wake_at <= timer_ticks())
			sched_ready(process);
	}
}

static void tick(void)
{
	process_wake(PROCESS_SLEEPS);
	if (sched_current() != NULL)
		sched_yield();
}

static void input_arrived(void)
{
	process_wake(PROCESS_WAITS_INPUT);
}

static void killed(struct trap_frame *frame)
{
	struct process *process = sched_current();

	if (frame->vector == VECTOR_PAGE_FAULT)
		kprintf("pid %d: page fault at %lx (error %lx)\n", process->pid, read_cr2(), frame->error);
	else
		kprintf("pid %d: %s at %lx (error %lx)\n", process->pid, trap_name(frame->vector), frame->rip,
			frame->error);
	process_end(process, PROCESS_KILLED + (int)frame->vector);
}

static void page_fault(struct trap_frame *frame)
{
	struct process *process = sched_current();
	uint64_t gva = read_cr2();

	if (process == NULL || gva < USER_BASE || gva >= USER_END) {
		trap_unhandled(frame);
		return;
	}
	switch (space_fault(process->space, gva, frame->error)) {
	case SPACE_OK:
		return;
	case SPACE_BAD_ACCESS:
		trap_unhandled(frame);
		return;
	case SPACE_NO_MEMORY:
		kprintf("pid %d: out of memory at %lx\n", process->pid, gva);
		process_end(process, PROCESS_OUT_OF_MEMORY);
		/* Also from within a system call: nothing of it is worth going back to. */
		sched_resume();
	}
}

bool process_timer(uint64_t hz)
{
	if (hz < TIMER_MIN_HZ || hz > TIMER_MAX_HZ)
		return false;
	timer_start((unsigned int)hz, tick);
	return true;
}

/* NAME and ARGS as one line; too long a line stops the image, as it would be cut silently otherwise. */
static void join(char *line, const char *name, const char *args)
{
	size_t name_size = strlen(name);
	size_t args_size = strlen(args);

	if (name_size + 1 + args_size > PROCESS_LINE_MAX)
		machine_usage("at most 255 bytes of name and arguments");
	memcpy(line, name, name_size);
	line[name_size] = ' ';
	memcpy(line + name_size + 1, args, args_size + 1);
}

noreturn void process_run(const char *name, const char *args, unsigned int hz)
{
	char line[PROCESS_LINE_MAX + 1];

	join(line, name, args);
	pages_init();
	trap_set_process_hooks(killed, sched_resume);
	trap_set(VECTOR_PAGE_FAULT, page_fault);
	trap_set(VECTOR_SYSCALL, syscall_trap);
	console_input_start(input_arrived);
	if (hz > 0)
		process_timer(hz);
	if (process_spawn(0, line) < 0)
		panic("cannot start %s", line);
	sched_resume();
}
