/*
 * void pc_long(void): goes to 64-bit mode for good. There it echoes what comes from the serial port, by asking, until a 'q'
 * ends the run by the debug-exit port with 0x20; with its own GDT and page tables, as a kernel that may change MMU modes needs.
 */
	.text
	.globl	pc_long
pc_long:
	movl	$pdpt + 3, pml4
	movl	$pd + 3, pdpt
	mov	$pd, %edi
	mov	$0x83, %eax		/* 2 MiB page, writable, present */
1:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	cmp	$pd + 4096, %edi
	jb	1b
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER: LME */
	mov	$0x100, %eax
	xor	%edx, %edx
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$0x08, $in_long

	.code64
in_long:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$pc_stack_top, %esp
	mov	$0x3fc, %edx		/* the line is ready for input */
	mov	$3, %al
	out	%al, %dx
	mov	$said, %esi
1:	lodsb
	test	%al, %al
	jz	2f
	mov	$0x3f8, %edx
	out	%al, %dx
	jmp	1b
2:	mov	$0x3fd, %edx
	in	%dx, %al
	test	$1, %al
	jz	2b
	mov	$0x3f8, %edx
	in	%dx, %al
	cmp	$'q', %al
	je	3f
	out	%al, %dx
	jmp	2b
3:	mov	$0xf4, %edx
	mov	$0x20, %al
	out	%al, %dx
	hlt
	jmp	3b

	.section .rodata
said:	.asciz	"64-bit\n"
	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt, 0

	.bss
	.balign	4096
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4096
	.skip	8192
	.globl	pc_stack_top
pc_stack_top:

	.section .note.GNU-stack, "", @progbits
