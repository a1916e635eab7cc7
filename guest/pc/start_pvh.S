/* PVH (Xen: docs/misc/pvh.pandoc): the note names the entry; the ELF header's is a trap. */

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18		/* name's size, descriptor's, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	pvh_start

	.text
	.globl	pc_start
pc_start:
	ud2
pvh_start:
	mov	$pc_stack_top, %esp
	push	%ebx
	push	$0
	push	$1			/* PC_PVH */
	call	pc_main

	.section .note.GNU-stack, "", @progbits
