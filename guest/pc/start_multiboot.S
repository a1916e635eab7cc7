/* Multiboot 1 (specification 0.6.96, section 3.1). With PC_ADDRESSES the header says where a flat file goes. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_WANTS 0x3 /* aligned modules, memory */

#ifdef PC_ADDRESSES
#define MULTIBOOT_FLAGS (MULTIBOOT_WANTS | 0x10000)
#else
#define MULTIBOOT_FLAGS MULTIBOOT_WANTS
#endif

	.section .header, "a"
	.balign	4
header:	.long	MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
#ifdef PC_ADDRESSES
	.long	header, pc_image, pc_data_end, pc_image_end, pc_start
#endif

	.text
	.globl	pc_start
pc_start:
	mov	$pc_stack_top, %esp
	push	%ebx
	push	%eax
	push	$0			/* PC_MULTIBOOT */
	call	pc_main

	.section .note.GNU-stack, "", @progbits
