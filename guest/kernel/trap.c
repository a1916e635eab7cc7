#include "guest/kernel/trap.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"

struct fixup {
	uint64_t fault;
	uint64_t resume;
};

extern const struct fixup fixup_table[], fixup_table_end[];

static trap_handler *handlers[VECTOR_COUNT];
static trap_handler *process_killed;
static void (*process_resume)(void);

static const char *const names[] = {
	[0] = "divide error",
	[1] = "debug exception",
	[2] = "non-maskable interrupt",
	[3] = "breakpoint",
	[4] = "overflow",
	[5] = "bound exceeded",
	[6] = "invalid opcode",
	[7] = "device not available",
	[8] = "double fault",
	[10] = "invalid TSS",
	[11] = "segment not present",
	[12] = "stack fault",
	[13] = "general protection fault",
	[14] = "page fault",
	[16] = "x87 error",
	[17] = "alignment check",
	[18] = "machine check",
	[19] = "SIMD error",
};

void trap_from_user(struct trap_frame *frame);
void trap_from_kernel(struct trap_frame *frame);

trap_handler *trap_set(unsigned int vector, trap_handler *handler)
{
	trap_handler *before = handlers[vector];

	handlers[vector] = handler;
	return before;
}

void trap_set_process_hooks(trap_handler *killed, void (*resume)(void))
{
	process_killed = killed;
	process_resume = resume;
}

const char *trap_name(uint64_t vector)
{
	if (vector < sizeof(names) / sizeof(names[0]) && names[vector] != NULL)
		return names[vector];
	return vector < VECTOR_IRQ ? "unknown exception" : "unexpected interrupt";
}

bool trap_from_ring3(const struct trap_frame *frame)
{
	return (frame->cs & 3) != 0;
}

static bool fix_up(struct trap_frame *frame)
{
	for (const struct fixup *fixup = fixup_table; fixup < fixup_table_end; fixup++) {
		if (fixup->fault == frame->rip) {
			frame->rip = fixup->resume;
			return true;
		}
	}
	return false;
}

void trap_unhandled(struct trap_frame *frame)
{
	if (trap_from_ring3(frame) && process_killed != NULL) {
		process_killed(frame);
		return;
	}
	if (fix_up(frame))
		return;
	if (frame->vector == VECTOR_PAGE_FAULT)
		panic("page fault of the kernel at %lx: address %lx (error %lx)", frame->rip, read_cr2(),
		      frame->error);
	panic("%s of the kernel at %lx (vector %lu, error %lx)", trap_name(frame->vector), frame->rip,
	      frame->vector, frame->error);
}

void trap_from_kernel(struct trap_frame *frame)
{
	if (handlers[frame->vector] != NULL)
		handlers[frame->vector](frame);
	else
		trap_unhandled(frame);
}

void trap_from_user(struct trap_frame *frame)
{
	trap_from_kernel(frame);
	if (process_resume != NULL)
		process_resume();
	frame_return(frame);
}
