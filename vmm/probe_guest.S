/*
 * What the probes' guest executes. Read as data by the program, copied to PROBE_CODE of a guest; the addresses in it are
 * relative. Every event of ring 3 ends in a stub that says its vector by a port write and goes back to ring 3.
 */
#include "vmm/probe_guest.h"

	.section .rodata
	.code64
	.balign 16

	.globl probe_guest
probe_guest:
	.set vector, 0
	.rept 256
	.balign PROBE_STUB_SIZE
	out	%al, $vector
	jmp	probe_enter
	.set vector, vector + 1
	.endr

	/* CR3 is loaded again, so that what the host changed in the tables in between is due to be seen. */
	.globl probe_enter
probe_enter:
	mov	%cr3, %rax
	mov	%rax, %cr3
	mov	$PROBE_STACK, %esp
	push	$PROBE_USER_DS
	push	$PROBE_USER_STACK
	push	$2
	push	$PROBE_USER_CS
	push	%rbx
	iretq

	/* Ring 0. */
	.globl probe_sse
probe_sse:
	xorps	%xmm0, %xmm0
	mov	$PROBE_REPORT, %edx
	out	%eax, %dx
	hlt

	.globl probe_exits
probe_exits:
	mov	$PROBE_REPORT, %edx
1:	out	%eax, %dx
	jmp	1b

	.globl probe_work
probe_work:
	mov	$PROBE_WORK_LOOPS, %ecx
1:	dec	%ecx
	jnz	1b
	mov	$PROBE_REPORT, %edx
	out	%eax, %dx
	jmp	probe_work

	/* Ring 3; ends in UD2, whose stub reports. */
	.globl probe_pushf
probe_pushf:
	pushf
	pop	%rax
	ud2

	.globl probe_syscall
probe_syscall:
	syscall
	ud2

	/* Ring 0 may write the port; ring 3 that came here gets #GP instead. */
	.globl probe_lstar
probe_lstar:
	mov	$PROBE_REPORT, %edx
	out	%eax, %dx
	hlt

	.globl probe_int4
probe_int4:
	int	$4
	ud2

	.globl probe_int80
probe_int80:
	int	$0x80
	ud2

	.globl probe_load
probe_load:
	mov	PROBE_PAGE, %eax
	ud2

	.globl probe_rdtsc
probe_rdtsc:
	rdtsc
	ud2

	.globl probe_cpuid
probe_cpuid:
	mov	$0x40000000, %eax
	cpuid
	ud2

	.globl probe_event
probe_event:
	ud2

	/* To the selector that code of ring 3 has under a Linux kernel of 64 bits; the guest has no such segment. */
	.globl probe_far_return
probe_far_return:
	push	$0x33
	lea	1f(%rip), %rax
	push	%rax
	lretq
1:	ud2

	.globl probe_guest_end
probe_guest_end:

	.section .note.GNU-stack, "", @progbits
