/*
 * frames: the frames that interrupts and exceptions leave, in words. Everything is shown relative to what the image
 * knows and without what may differ between processors (RF), so that the output is the same, byte for byte, on every
 * host and in every mode.
 */
#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/space.h"
#include "guest/kernel/timer.h"

#define REGISTERS 15
#define PATTERN 0x0101010101010101ull /* times the number of the register: also no canonical address */
#define TIMER_VECTOR (VECTOR_IRQ + 0)

struct frames_case {
	const char *name; /* NULL = the end of the table */
	uint64_t entry;
	uint64_t rip_base;
	uint64_t cr2_base;
	uint64_t rflags;
};

extern const struct frames_case frames_kernel_cases[], frames_user_cases[], frames_timer_case[];
extern const uint64_t ring0_rsp;
extern const char frames_ring0_done[];

void frames_in_ring0(uint64_t entry);
int user_frames_main(int argc, char **argv);

const struct program programs[] = { PROGRAM(frames), PROGRAMS_END };

static const struct frames_case *current;

static void print_offset(const char *what, uint64_t value, uint64_t base)
{
	int64_t offset = (int64_t)(value - base);

	if (offset < 0)
		kprintf(" %s-%lx", what, (uint64_t)-offset);
	else
		kprintf(" %s+%lx", what, (uint64_t)offset);
}

static bool registers_kept(const struct trap_frame *frame)
{
	const uint64_t *registers = &frame->r15;

	for (uint64_t i = 0; i < REGISTERS; i++) {
		if (registers[i] != (i + 1) * PATTERN)
			return false;
	}
	return true;
}

static void show(const struct trap_frame *frame, uint64_t rsp)
{
	kprintf("%s:\n\tvector %lu error %lx", current->name, frame->vector, frame->error);
	print_offset("rip", frame->rip, current->rip_base);
	kprintf(" cs %lx rflags %lx", frame->cs, frame->rflags & ~(uint64_t)RFLAGS_RF);
	print_offset("rsp", frame->rsp, rsp);
	kprintf(" ss %lx", frame->ss);
	if (frame->vector == VECTOR_PAGE_FAULT)
		print_offset("cr2", read_cr2(), current->cr2_base);
	if (trap_from_ring3(frame))
		kprintf(" registers %s", registers_kept(frame) ? "kept" : "lost");
	kprintf("\n");
}

static void ring0_trap(struct trap_frame *frame)
{
	show(frame, ring0_rsp);
	frame->rip = (uint64_t)frames_ring0_done;
}

static void ring0_cases(void)
{
	for (unsigned int vector = 0; vector < VECTOR_IRQ; vector++)
		trap_set(vector, ring0_trap);
	for (current = frames_kernel_cases; current->name != NULL; current++)
		frames_in_ring0(current->entry);
}

/* Makes the process enter the current case. */
static void enter(struct trap_frame *frame)
{
	uint64_t *registers = &frame->r15;

	for (uint64_t i = 0; i < REGISTERS; i++)
		registers[i] = (i + 1) * PATTERN;
	frame->rip = current->entry;
	frame->rflags = current->rflags;
	frame->rsp = USER_STACK_TOP - 256;
}

static void ring3_trap(struct trap_frame *frame)
{
	if (!trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	/* Pages of the program that are touched for the first time are no case. */
	if (frame->vector == VECTOR_PAGE_FAULT &&
	    space_fault(sched_current()->space, read_cr2(), frame->error) == SPACE_OK)
		return;
	if (current == NULL) {
		current = frames_user_cases;
	} else {
		show(frame, USER_STACK_TOP - 256);
		current++;
	}
	if (current->name == NULL)
		machine_exit(0);
	enter(frame);
	if (current == frames_timer_case) {
		timer_start(TIMER_HZ, NULL);
		trap_set(TIMER_VECTOR, ring3_trap);
	}
}

int image_main(const char *args)
{
	if (args[0] != '\0')
		machine_usage("frames");
	ring0_cases();
	current = NULL;
	pages_init();
	for (unsigned int vector = 0; vector < VECTOR_IRQ; vector++)
		trap_set(vector, ring3_trap);
	trap_set_process_hooks(ring3_trap, sched_resume);
	process_spawn(0, "frames");
	sched_resume();
}
