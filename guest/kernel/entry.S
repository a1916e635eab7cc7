/*
 * How the processor comes in and goes out: a stub for each vector, and the way back through iretq.
 *
 * A stub makes every frame look like struct trap_frame (trap.h). From ring 3 the frame is pushed straight into the
 * process that ran (TSS.RSP0 points at the end of its frame), so switching processes means returning through another
 * frame; the kernel itself then runs on its one stack. From ring 0 the frame stays on the stack it was pushed to.
 */
#include "guest/kernel/layout.h"

	.section .vectors, "ax"
	.globl vectors
vectors:
	.set	vector, 0
	.rept	VECTOR_COUNT
	.balign	VECTOR_STUB
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_entry
	.set	vector, vector + 1
	.endr

	.text
trap_entry:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	movq	%rsp, %rdi
	testb	$3, 144(%rsp)			/* the CS that was interrupted */
	jz	1f
	movl	$STACK_TOP, %esp
	call	trap_from_user			/* does not return */
1:	call	trap_from_kernel
	movq	%rsp, %rdi

/* void frame_return(struct trap_frame *): goes on where the frame says. */
	.globl frame_return
frame_return:
	movq	%rdi, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
