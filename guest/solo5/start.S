/*
 * Entry of the Solo5 test unikernels: there is a stack, and RDI is the boot info. A GDT and an IDT of our own come first, because
 * those of the launcher are not mapped; exceptions end the unikernel.
 */
	.section .note.solo5.abi, "a", @note
	.balign	4
	.long	6, 16, 0x31494241	/* "ABI1" */
	.asciz	"Solo5"
	.balign	4
	.long	1, 2, 0, 0		/* hvt, version 2 */

	.text
	.globl	_start
	.type	_start, @function
_start:
	lgdt	gdt_pointer(%rip)
	mov	%rdi, %rbx
	call	make_idt
	lidt	idt_pointer(%rip)
	mov	%rbx, %rdi
	call	solo5_main
	mov	%eax, %edi
	call	solo5_exit
	.size	_start, . - _start

/* Fills the 32 gates: interrupt gates of ring 0 to the stubs, which lie 16 bytes apart. */
	.type	make_idt, @function
make_idt:
	lea	stubs(%rip), %rax
	lea	idt(%rip), %rdx
	mov	$32, %ecx
1:	mov	%ax, (%rdx)
	movw	$0x08, 2(%rdx)
	movw	$0x8e00, 4(%rdx)
	mov	%rax, %rsi
	shr	$16, %rsi
	mov	%si, 6(%rdx)
	movq	$0, 8(%rdx)
	add	$16, %rax
	add	$16, %rdx
	dec	%ecx
	jnz	1b
	ret
	.size	make_idt, . - make_idt

/* Those with an error code: 8, 10 to 14, 17. */
	.balign	16
	.type	stubs, @function
stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	vector != 8 && vector != 17 && (vector < 10 || vector > 14)
	push	$0
	.endif
	push	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr
	.size	stubs, . - stubs

	.type	exception, @function
exception:
	pop	%rdi
	pop	%rsi
	mov	(%rsp), %rdx
	mov	%cr2, %rcx
	and	$-16, %rsp
	call	solo5_exception
	.size	exception, . - exception

	.section .rodata
	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.quad	gdt
idt_pointer:
	.word	32 * 16 - 1
	.quad	idt

	.bss
	.balign	16
idt:	.skip	32 * 16

	.section .note.GNU-stack, "", @progbits
