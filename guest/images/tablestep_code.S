/*
 * The stores of the image tablestep, once for ring 0 and once for ring 3: rdi = where to, rsi = an FXSAVE image. None of
 * them is one that a shadow MMU is likely to emulate. In ring 3 they are copied to a page of ring 3, and use no stack.
 */
	.macro stores prefix, leave:vararg
	.globl \prefix\()_load, \prefix\()_read, \prefix\()_fxsave, \prefix\()_fnsave, \prefix\()_fnstenv
	.globl \prefix\()_stmxcsr, \prefix\()_movntq, \prefix\()_fst, \prefix\()_maskmovdqu, \prefix\()_pushfq
\prefix\()_load:
	fxrstor	(%rsi)
	\leave
\prefix\()_read:
	movb	(%rdi), %al
	\leave
\prefix\()_fxsave:
	fxsave	(%rdi)
	\leave
\prefix\()_fnsave:
	fnsave	(%rdi)
	\leave
\prefix\()_fnstenv:
	fnstenv	(%rdi)
	\leave
\prefix\()_stmxcsr:
	stmxcsr	(%rdi)
	\leave
\prefix\()_movntq:
	movntq	%mm0, (%rdi)
	\leave
\prefix\()_fst:
	fstl	(%rdi)
	\leave
\prefix\()_maskmovdqu:
	maskmovdqu %xmm1, %xmm0
	\leave
/* Pushes to the 8 bytes below rdi. */
\prefix\()_pushfq:
	movq	%rsp, %rax
	movq	%rdi, %rsp
	pushfq
	movq	%rax, %rsp
	\leave
	.endm

	.text
	stores	tablestep_kernel, ret

/* FXSAVE under TF, which the trap's handler takes off. */
	.globl tablestep_kernel_traced, tablestep_kernel_traced_end
tablestep_kernel_traced:
	pushfq
	orq	$0x100, (%rsp)
	popfq
	fxsave	(%rdi)
tablestep_kernel_traced_end:
	ret

	.section .rodata.tablestep, "a"
	.globl tablestep_user_text, tablestep_user_text_end
tablestep_user_text:
	stores	tablestep_user, int $4
tablestep_user_text_end:

	.section .note.GNU-stack, "", @progbits
