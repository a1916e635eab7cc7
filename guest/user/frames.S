/*
 * Ring-3 side of the image frames: one instruction each, entered with the registers that images/frames.c sets up. None
 * of them changes a register before its trap, so that the frame can be compared with what was set.
 */
#include "guest/kernel/layout.h"

	.text
	.macro	instruction name, text:vararg
	.globl	frames_\name
frames_\name:
	\text
	.endm

	instruction int4, int $4
	instruction int3, int3
	instruction step, nop
	instruction divide, divq frames_zero(%rip)
	instruction undefined, ud2
	instruction halt, hlt
	instruction interrupts_off, cli
	instruction port, inb $0x80, %al
	instruction control, movq %cr3, %rax
	instruction non_canonical, movq (%rbx), %rax
	instruction read_absent, movabsq USER_BASE, %rax
	instruction write_absent, movabsq %rax, USER_BASE
	instruction fetch_absent, jmp *frames_absent(%rip)
	instruction write_text, movb %al, frames_int4(%rip)
	instruction fetch_data, jmp *frames_stack(%rip)
	instruction read_kernel, movq TEXT_BASE, %rax
	instruction write_kernel, movq %rax, DATA_BASE
	instruction fetch_kernel, jmp *frames_kernel(%rip)
	instruction read_across, movabsq USER_STACK_TOP - 4, %rax
	instruction spin, jmp frames_spin

	.globl frames_main
frames_main:
	int	$4

	.section .rodata, "a"
	.balign	8
frames_zero:
	.quad	0
frames_absent:
	.quad	USER_BASE
frames_stack:
	.quad	USER_STACK_TOP - 4096
frames_kernel:
	.quad	TEXT_BASE

	.section .note.GNU-stack, "", @progbits
