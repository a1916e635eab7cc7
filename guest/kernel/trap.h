/*
 * Exceptions and interrupts: the frame they leave, and a table of handlers by vector.
 *
 * The kernel itself runs with interrupts off; they are taken in ring 3 and in cpu_wait(). Whether a frame came from
 * ring 3 is read from the frame, never from the processor, so that the kernel need not run in ring 0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/kernel/layout.h"

#define VECTOR_DIVIDE 0
#define VECTOR_BREAKPOINT 3
#define VECTOR_SYSCALL 4
#define VECTOR_INVALID_OPCODE 6
#define VECTOR_DOUBLE_FAULT 8
#define VECTOR_PROTECTION 13
#define VECTOR_PAGE_FAULT 14

/* Error code of a page fault (Intel SDM volume 3, section 4.7). */
#define FAULT_PRESENT 0x01u
#define FAULT_WRITE 0x02u
#define FAULT_USER 0x04u
#define FAULT_RESERVED 0x08u
#define FAULT_FETCH 0x10u

#define RFLAGS_FIXED 0x2u
#define RFLAGS_IF 0x200u
#define RFLAGS_RF 0x10000u

/* As pushed by entry.S and the processor. Its size is a multiple of 16: the processor aligns the stack it pushes to. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector;
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct trap_frame) == 176, "entry.S pushes 22 words");

typedef void trap_handler(struct trap_frame *frame);

/*
 * From now on `handler` gets what arrives at `vector`. Without one, an exception kills the process or the kernel.
 * Returns the handler before, or NULL.
 */
trap_handler *trap_set(unsigned int vector, trap_handler *handler);
/* What an exception is called: "page fault", ... */
const char *trap_name(uint64_t vector);
bool trap_from_ring3(const struct trap_frame *frame);
/* For a handler that is not responsible: kills the process that was interrupted, or panics. */
void trap_unhandled(struct trap_frame *frame);
/* Goes on where `frame` says. */
noreturn void frame_return(struct trap_frame *frame);

/*
 * What happens to exceptions of ring 3 nobody handles, and where the kernel goes on after a trap of ring 3. Both are
 * for the scheduler; an image without processes leaves them unset.
 */
void trap_set_process_hooks(trap_handler *killed, void (*resume)(void));

/*
 * For an instruction of the kernel that may fault: the assembly text of an entry that sends a fault at the label
 * `fault` on to the label `resume`, as in "1: rdmsr\n 2:" FIXUP("1b", "2b").
 */
#define FIXUP(fault, resume) ".pushsection .fixup, \"a\"\n .quad " fault ", " resume "\n .popsection\n"
