/*
 * A bzImage by the Linux boot protocol 2.12: a boot sector and one of setup code with the header, which nothing runs, then
 * this kernel with its entries: 32-bit at 0, 64-bit at 0x200. With PC_ONLY_32 the header says that there is no second one.
 */
#ifdef PC_ONLY_32
#define XLOADFLAGS 0
#else
#define XLOADFLAGS 1 /* XLF_KERNEL_64 */
#endif

	.section .setup, "a"
setup:	.org	0x1f1
	.byte	1			/* setup_sects */
	.word	0
	.long	pc_paragraphs		/* syssize */
	.word	0, 0xffff, 0
	.word	0xaa55
	.byte	0xeb, setup_end - 0x202	/* jump */
	.ascii	"HdrS"
	.word	0x20c			/* version */
	.long	0
	.word	0, 0
	.byte	0, 1			/* loadflags: high */
	.word	0
	.long	0, 0, 0, 0
	.word	0
	.byte	0, 0
	.long	0
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x1000
	.byte	0, 0
	.word	XLOADFLAGS
	.long	255			/* cmdline_size */
	.long	0
	.quad	0
	.long	0, 0
	.quad	0
	.long	pc_image, 0		/* pref_address */
	.long	pc_image_size		/* init_size */
	.long	0
setup_end = . - setup
	.org	0x400

	.section .header, "ax"
	.globl	pc_start
pc_start:
	mov	%esi, %ebx
	mov	$2, %ecx		/* PC_LINUX32 */
	jmp	pc_enter

	.org	0x200
	.code64
	mov	%esi, %ebx
	mov	$3, %ecx		/* PC_LINUX64 */
	mov	$pc_stack_top, %esp
	lgdt	gdt_pointer(%rip)
	push	$0x08
	mov	$leave_long, %eax
	push	%rax
	lretq

	.code32
leave_long:
	mov	%cr0, %eax
	and	$0x7fffffff, %eax	/* PG */
	mov	%eax, %cr0
	mov	%ecx, %edi
	mov	$0xc0000080, %ecx	/* EFER */
	rdmsr
	and	$~0x100, %eax		/* LME */
	wrmsr
	mov	%edi, %ecx
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
pc_enter:
	mov	$pc_stack_top, %esp
	push	%ebx
	push	$0
	push	%ecx
	call	pc_main

	.balign	8
gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt, 0

	.section .note.GNU-stack, "", @progbits
