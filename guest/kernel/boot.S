/*
 * Entry and the constant tables of the processor: page tables, GDT, IDT, TSS. All of them are made by the assembler;
 * the code below only loads them. iretq reloads CS and SS at once, so that no other far transfer is ever needed.
 */
#include "guest/kernel/layout.h"
#include "guest/kernel/pte.h"

	.text
	.globl _start
_start:
	movl	$STACK_TOP, %esp
	lgdt	gdt_pointer
	lidt	idt_pointer
	movl	$kernel_pml4, %eax
	movq	%rax, %cr3
	pushq	$KERNEL_DATA
	pushq	$STACK_TOP
	pushq	$2
	pushq	$KERNEL_CODE
	pushq	$on_own_tables
	iretq
on_own_tables:
	movl	$TSS_SELECTOR, %eax
	ltr	%ax
	call	kernel_main

/* The TSS lies at DATA_BASE, so that its descriptor is a constant. RSP0 is set by the scheduler. */
	.section .data.tss, "aw"
	.globl tss
tss:
	.long	0
	.quad	STACK_TOP
	.quad	0
	.quad	0
	.quad	0
	.quad	FAULT_STACK_TOP		/* IST 1: double fault */
	.fill	6, 8, 0
	.quad	0
	.word	0
	.word	104			/* no I/O bitmap: ring 3 has no ports */

/* Writable: LTR sets the busy bit. */
	.section .data.gdt, "aw"
	.balign	16
gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
	.quad	0x00cff3000000ffff
	.quad	0x00affb000000ffff
	.quad	0x0000890000000067 | ((DATA_BASE & 0xffffff) << 16) | ((DATA_BASE >> 24) << 56)
	.quad	0
gdt_end:

	.section .rodata.boot, "a"
	.balign	16
	.globl gdt_pointer
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
	.balign	16
	.globl idt_pointer
idt_pointer:
	.word	VECTOR_COUNT * 16 - 1
	.quad	idt

/* Interrupt gates. Breakpoint (3) and system call (4) may be asked for by ring 3; a double fault (8) gets IST 1. */
	.balign	16
	.globl idt
idt:
	.set	vector, 0
	.rept	VECTOR_COUNT
	.word	(TEXT_BASE + vector * VECTOR_STUB) & 0xffff
	.word	KERNEL_CODE
	.if	vector == 8
	.byte	1
	.else
	.byte	0
	.endif
	.if	vector == 3 || vector == 4
	.byte	0xee
	.else
	.byte	0x8e
	.endif
	.word	(TEXT_BASE + vector * VECTOR_STUB) >> 16
	.quad	0
	.set	vector, vector + 1
	.endr

/* Maps pages from gpa `from` up to `to` in the table being written. */
	.macro	pages from, to, flags
	.set	page, \from
	.rept	(\to - \from) / 4096
	.quad	page + \flags
	.set	page, page + 4096
	.endr
	.endm

	.section .data.tables, "aw"
	.balign	4096
	.globl kernel_pml4
kernel_pml4:
	.quad	kernel_pdpt + PTE_TABLE
	.fill	511, 8, 0
	.globl kernel_pdpt
kernel_pdpt:
	.quad	kernel_pd + PTE_TABLE
	.fill	511, 8, 0
kernel_pd:
	.quad	kernel_pt + PTE_TABLE
	.fill	511, 8, 0
kernel_pt:
	.quad	0
	pages	0x1000, TEXT_BASE, PTE_KERNEL_RODATA
	pages	TEXT_BASE, RODATA_BASE, PTE_KERNEL_TEXT
	pages	RODATA_BASE, DATA_BASE, PTE_KERNEL_RODATA
	pages	DATA_BASE, STACK_GUARD, PTE_KERNEL_DATA
	.quad	0
	pages	STACK_BASE, STACK_TOP, PTE_KERNEL_DATA
	.quad	0
	pages	FAULT_STACK_BASE, FAULT_STACK_TOP, PTE_KERNEL_DATA
	pages	USER_IMAGE_BASE, KERNEL_END, PTE_KERNEL_RODATA

	.section .stacks, "aw", @nobits
	.skip	USER_IMAGE_BASE - STACK_GUARD

	.section .note.GNU-stack, "", @progbits
