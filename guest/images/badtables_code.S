/*
 * What the image badtables executes under test, in either ring: here for ring 0, and copied to a page of ring 3. Every
 * piece ends by a jump through rbx, which leads back. None uses a stack, unless the stack is what is tested.
 *
 *   rdi = address, rsi = value or source, rcx = count, rax = comparand or filling
 */
	.text
	.globl bad_code, bad_code_end
	.globl bad_read, bad_write1, bad_write2, bad_write4, bad_write8, bad_write16, bad_fetch
	.globl bad_xchg8, bad_xchg4, bad_cmpxchg8, bad_bts8, bad_or8, bad_add4, bad_inc1
	.globl bad_movsb, bad_movsq, bad_stosb, bad_stosq, bad_push, bad_invalid, bad_load_cr3, bad_flush_page, bad_lidt, bad_lgdt, bad_ring3_done
bad_code:
bad_read:
	movb	(%rdi), %al
	jmp	*%rbx
bad_write1:
	movb	%sil, (%rdi)
	jmp	*%rbx
bad_write2:
	movw	%si, (%rdi)
	jmp	*%rbx
bad_write4:
	movl	%esi, (%rdi)
	jmp	*%rbx
bad_write8:
	movq	%rsi, (%rdi)
	jmp	*%rbx
bad_write16:
	movups	(%rsi), %xmm0
	movups	%xmm0, (%rdi)
	jmp	*%rbx
bad_fetch:
	jmp	*%rdi
bad_xchg8:
	xchgq	%rsi, (%rdi)
	jmp	*%rbx
bad_xchg4:
	xchgl	%esi, (%rdi)
	jmp	*%rbx
bad_cmpxchg8:
	lock cmpxchgq %rsi, (%rdi)
	jmp	*%rbx
bad_bts8:
	lock btsq %rsi, (%rdi)
	jmp	*%rbx
bad_or8:
	orq	%rsi, (%rdi)
	jmp	*%rbx
bad_add4:
	addl	%esi, (%rdi)
	jmp	*%rbx
bad_inc1:
	incb	(%rdi)
	jmp	*%rbx
bad_movsb:
	rep movsb
	jmp	*%rbx
bad_movsq:
	rep movsq
	jmp	*%rbx
bad_stosb:
	rep stosb
	jmp	*%rbx
bad_stosq:
	rep stosq
	jmp	*%rbx
bad_push:
	pushq	%rsi
	jmp	*%rbx
bad_invalid:
	ud2
bad_load_cr3:
	movq	%rdi, %cr3
	jmp	*%rbx
bad_flush_page:
	invlpg	(%rdi)
	jmp	*%rbx
bad_lidt:
	lidt	(%rdi)
	jmp	*%rbx
bad_lgdt:
	lgdt	(%rdi)
	jmp	*%rbx
bad_ring3_done:
	int	$4
bad_code_end:

/* Where rbx leads in ring 0. */
	.globl bad_ring0_done
bad_ring0_done:
	movq	%rax, bad_ring0_rax
	jmp	paging_ring0

/* A handler that only asks for the next exception, for ever. */
	.globl bad_handler_invalid
bad_handler_invalid:
	ud2

	.section .bss.badtables, "aw", @nobits
	.balign	8
	.globl bad_ring0_rax
bad_ring0_rax:
	.skip	8

	.section .note.GNU-stack, "", @progbits
