/* The kernel's side of system calls. */
#pragma once

struct trap_frame;

/* Handles `int $4` of ring 3. */
void syscall_trap(struct trap_frame *frame);
