/*
 * The accesses of the image paging, and its way to ring 3 and back. None of them uses a stack of ring 3, nor more memory
 * than the access itself, so that no other page than the one under test can fault.
 */
#include "guest/kernel/layout.h"

	.text

/* From ring 0: rdi = address, rsi = what to write; returns what the page has to say in al. A fault acts as a ret. */
	.globl paging_kernel_read
paging_kernel_read:
	movb	(%rdi), %al
	ret

	.globl paging_kernel_write
paging_kernel_write:
	movb	%sil, (%rdi)
	ret

	.globl paging_kernel_fetch
paging_kernel_fetch:
	jmp	*%rdi

/* The same from ring 3, to be copied into a page of ring 3. */
	.section .rodata.paging, "a"
	.globl paging_user_text, paging_user_text_end
	.globl paging_user_read, paging_user_write, paging_user_fetch
paging_user_text:
paging_user_read:
	movb	(%rdi), %al
	int	$4
paging_user_write:
	movb	%sil, (%rdi)
	int	$4
paging_user_fetch:
	jmp	*%rdi
paging_user_text_end:

	.text

/*
 * void paging_ring3(struct trap_frame *frame): goes on in ring 3 as `frame` says. Returns when a trap of ring 3 has
 * called paging_ring0(), which does not return. Traps of ring 3 begin at STACK_TOP, so the caller must be on another
 * stack.
 */
	.globl paging_ring3
paging_ring3:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, saved_rsp
	jmp	frame_return

	.globl paging_ring0
paging_ring0:
	movq	saved_rsp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

/* void paging_on_own_stack(void (*run)(void)): does not return. */
	.globl paging_on_own_stack
paging_on_own_stack:
	movl	$stack_top, %esp
	call	*%rdi
	ud2

	.section .bss.paging, "aw", @nobits
	.balign	4096
	.skip	8192
stack_top:
saved_rsp:
	.skip	8

	.section .note.GNU-stack, "", @progbits
