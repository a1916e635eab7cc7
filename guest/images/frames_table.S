/*
 * The cases of the image frames, and their ring-0 half. A case is a struct frames_case (frames.c); assembly, because C
 * of the kernel's code model has no way to write a user address.
 */
#include "guest/kernel/layout.h"

/* Without spaces, which would separate arguments of a macro. */
#define STACK_PAGE (USER_STACK_TOP-4096)

	/* name, first instruction, what RIP and CR2 are shown relative to (0 = absolute), RFLAGS to enter with */
	.macro	entry name, label, rip_base, cr2_base, rflags
	.pushsection .rodata.frames_names, "a"
1:	.asciz	"\name"
	.popsection
	.quad	1b, \label, \rip_base, \cr2_base, \rflags
	.endm

	.macro	user name, label, rip_base=0, cr2_base=0, rflags=0x202
	.ifeqs	"\rip_base", "0"
	entry	"\name", user_frames_\label, user_frames_\label, \cr2_base, \rflags
	.else
	entry	"\name", user_frames_\label, \rip_base, \cr2_base, \rflags
	.endif
	.endm

	.macro	kernel name, label, rip_base=0, cr2_base=0
	.ifeqs	"\rip_base", "0"
	entry	"\name", \label, \label, \cr2_base, 2
	.else
	entry	"\name", \label, \rip_base, \cr2_base, 2
	.endif
	.endm

	.section .rodata.frames_cases, "a"
	.balign	8
	.globl frames_kernel_cases
frames_kernel_cases:
	kernel	"ring 0: read of an absent page", read_null
	kernel	"ring 0: write to an absent page", write_null
	kernel	"ring 0: write to a read-only page", write_text, 0, TEXT_BASE
	kernel	"ring 0: fetch from a page with NX", fetch_data, DATA_BASE, DATA_BASE
	kernel	"ring 0: divide by zero", divide
	.quad	0

	.globl frames_user_cases
frames_user_cases:
	user	"int $4", int4
	user	"int3", int3
	user	"single step", step, 0, 0, 0x302
	user	"divide by zero", divide
	user	"undefined instruction", undefined
	user	"hlt", halt
	user	"cli", interrupts_off
	user	"inb", port
	user	"mov from cr3", control
	user	"non-canonical address", non_canonical
	user	"read of an absent page", read_absent, 0, USER_BASE
	user	"write to an absent page", write_absent, 0, USER_BASE
	user	"fetch from an absent page", fetch_absent, USER_BASE, USER_BASE
	user	"write to a read-only page", write_text, 0, user_frames_int4
	user	"fetch from a page with NX", fetch_data, STACK_PAGE, STACK_PAGE
	user	"read of a kernel page", read_kernel, 0, TEXT_BASE
	user	"write to a kernel page", write_kernel, 0, DATA_BASE
	user	"fetch from a kernel page", fetch_kernel, TEXT_BASE, TEXT_BASE
	user	"read across into an absent page", read_across, 0, USER_STACK_TOP
	.globl frames_timer_case
frames_timer_case:
	user	"timer interrupt", spin
	.quad	0

	.text
read_null:
	movq	8, %rax
write_null:
	movq	%rax, 8
write_text:
	movb	%al, TEXT_BASE
fetch_data:
	jmp	DATA_BASE
divide:
	divq	zero

/* void frames_in_ring0(uint64_t entry): runs a case until its handler sends it to frames_ring0_done. */
	.globl frames_in_ring0
frames_in_ring0:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, ring0_rsp
	xorl	%eax, %eax			/* known flags */
	jmp	*%rdi
	.globl frames_ring0_done
frames_ring0_done:
	movq	ring0_rsp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	.section .rodata.frames_zero, "a"
	.balign	8
zero:
	.quad	0

	.section .bss.frames, "aw", @nobits
	.balign	8
	.globl ring0_rsp
ring0_rsp:
	.quad	0

	.section .note.GNU-stack, "", @progbits
