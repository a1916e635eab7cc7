/* See user_image.h. */
#include "guest/kernel/pte.h"

	.section .rodata.user_image, "a"
	.balign	8
	.globl user_image
user_image:
	.quad	user_text, user_text_end, user_text_gpa, 0
	.quad	user_rodata, user_rodata_end, user_rodata_gpa, PTE_NX
	.quad	user_data, user_data_end, user_data_gpa, PTE_W | PTE_NX
	.quad	user_bss, user_bss_end, 0, PTE_W | PTE_NX
	.section .rodata.user_entry, "a"
	.globl user_entry
user_entry:
	.quad	user_start

	.section .note.GNU-stack, "", @progbits
