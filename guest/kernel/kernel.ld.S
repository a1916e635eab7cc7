/*
 * Link map of every image; layout.h draws it. The kernel runs where it is loaded. The user programs run in the user
 * half and are loaded after the kernel, so that each process can map them.
 */
#include "guest/kernel/layout.h"

OUTPUT_FORMAT(elf64-x86-64)
ENTRY(_start)

SECTIONS
{
	. = TEXT_BASE;
	.text : {
		KEEP(*(.vectors))
		*(.text .text.*)
	}
	ASSERT(. <= RODATA_BASE, "kernel text is too large for layout.h")
	ASSERT(vectors == TEXT_BASE, "the vector stubs must come first: the IDT is a constant")

	. = RODATA_BASE;
	.note.penumbra : { KEEP(*(.note.penumbra)) }
	.rodata : {
		*(.rodata .rodata.*)
		. = ALIGN(8);
		fixup_table = .;
		KEEP(*(.fixup))
		fixup_table_end = .;
	}
	ASSERT(. <= DATA_BASE, "kernel read-only data is too large for layout.h")

	. = DATA_BASE;
	.data : {
		KEEP(*(.data.tss))
		*(.data .data.*)
	}
	.bss : { *(.bss .bss.*) }
	ASSERT(. <= STACK_GUARD, "kernel data is too large for layout.h")
	.stacks STACK_GUARD (NOLOAD) : { KEEP(*(.stacks)) }
	ASSERT(tss == DATA_BASE, "the TSS must come first: its descriptor is a constant")
	ASSERT(. == USER_IMAGE_BASE, "the stacks must end where the user image begins")

	user_text = USER_TEXT;
	.utext USER_TEXT : AT(USER_IMAGE_BASE) { *(.user.text .user.text.*) }
	. = ALIGN(4096);
	user_text_end = .;
	user_text_gpa = USER_IMAGE_BASE;
	user_rodata = USER_RODATA;
	user_rodata_gpa = ALIGN(user_text_gpa + SIZEOF(.utext), 4096);
	.urodata USER_RODATA : AT(user_rodata_gpa) { *(.user.rodata .user.rodata.*) }
	. = ALIGN(4096);
	user_rodata_end = .;
	user_data = USER_DATA;
	user_data_gpa = ALIGN(user_rodata_gpa + SIZEOF(.urodata), 4096);
	.udata USER_DATA : AT(user_data_gpa) { *(.user.data .user.data.*) }
	. = ALIGN(4096);
	user_data_end = .;
	ASSERT(user_data_gpa + SIZEOF(.udata) <= KERNEL_END, "the user programs are too large for layout.h")

	/* Never loaded: pages of zeros come at the first touch. */
	user_bss = .;
	.ubss (NOLOAD) : { *(.user.bss .user.bss.*) }
	. = ALIGN(4096);
	user_bss_end = .;
	ASSERT(. < USER_STACK_LIMIT - 4096, "the variables of the user programs are too large for layout.h")

	/DISCARD/ : { *(.comment) *(.eh_frame) *(.note.GNU-stack) *(.note.gnu.property) *(.user.eh_frame) }
}
