/* See benchmark_guest_image.h. IMAGE is the image's file: the build says where it is. */
	.section .rodata
	.balign 16
	.globl benchmark_guest_image
benchmark_guest_image:
	.incbin IMAGE
	.globl benchmark_guest_image_end
benchmark_guest_image_end:

	.section .note.GNU-stack, "", @progbits
