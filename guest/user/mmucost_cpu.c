/* mmucost: operations of ring 3 on the processor itself: system calls, faults, calls, computing. */
#include "guest/user/mmucost.h"

#include <stddef.h>

#include "guest/lib/lcg.h"
#include "guest/user/user.h"

#define COMPUTE_STEPS 1000u

static bool nothing(uint64_t count, uint64_t pages)
{
	begin_mark();
	end_mark();
	return true;
}

static bool system_call(uint64_t count, uint64_t pages)
{
	bool right = true;

	begin_mark();
	for (uint64_t i = 0; i < count; i++)
		right &= syscall(SYSCALL_PID, 0, 0, 0) == 1;
	end_mark();
	return right;
}

static __attribute__((noinline)) uint64_t next(uint64_t value)
{
	__asm__ volatile("" : "+r"(value));
	return value + 1;
}

static bool call(uint64_t count, uint64_t pages)
{
	uint64_t value = 0;

	begin_mark();
	for (uint64_t i = 0; i < count; i++)
		value = next(value);
	end_mark();
	return value == count;
}

/* Each adds one to `handled` if the kernel has handled its fault. */
static uint64_t page_fault(uint64_t handled)
{
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n movb (%[gva]), %%al\n 1:"
			 : "+b"(handled)
			 : [gva] "r"(MMUCOST_NOWHERE)
			 : "rax", "rcx", "memory");
	return handled;
}

static uint64_t divide_fault(uint64_t handled)
{
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n xorl %%edx, %%edx\n movl $1, %%eax\n divl %[zero]\n 1:"
			 : "+b"(handled)
			 : [zero] "r"(0)
			 : "rax", "rcx", "rdx", "cc", "memory");
	return handled;
}

static bool faults(uint64_t (*fault)(uint64_t handled), uint64_t count)
{
	uint64_t handled;

	ask(MMUCOST_FAULTS, NULL, 0);
	handled = fault(0);
	begin_mark();
	for (uint64_t i = 0; i < count; i++)
		handled = fault(handled);
	end_mark();
	return handled == count + 1;
}

static bool page_faults(uint64_t count, uint64_t pages)
{
	return faults(page_fault, count);
}

static bool divide_faults(uint64_t count, uint64_t pages)
{
	return faults(divide_fault, count);
}

static bool compute(uint64_t count, uint64_t pages)
{
	uint64_t state = 1;

	begin_mark();
	for (uint64_t i = 0; i < count * COMPUTE_STEPS; i++) {
		state = lcg_next(state);
		__asm__ volatile("" : "+r"(state));
	}
	end_mark();
	return state == lcg_after(1, count * COMPUTE_STEPS);
}

const struct user_operation cpu_operations[] = {
	{ "nothing", nothing, false },
	{ "syscall", system_call, false },
	{ "call", call, false },
	{ "page-fault", page_faults, false },
	{ "divide-fault", divide_faults, false },
	{ "compute", compute, false },
	{ NULL, NULL, false },
};
