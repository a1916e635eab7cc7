#include "tests/unit/shadow_native.h"

#include <asm/prctl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "vmm/ensure.h"

#define VECTOR_BREAKPOINT 3
#define FXSAVE_USED 464	 /* bytes; behind them the kernel keeps notes of its own */
#define XSTATE_BV 512	 /* offset of the header that says which parts count */
#define XSTATE_X87_SSE 3u
#define STACK_SIZE 65536

/* By enum cpu_gpr. */
static const int greg_of[CPU_GPR_COUNT] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* What a signal handler can reach: the instruction under way, and the process's own registers meanwhile. */
static struct {
	struct native *running;
	bool entered;
	gregset_t host;
	struct _libc_fpstate host_fp;
} state;

static void mark_fp_used(ucontext_t *uc)
{
	uint64_t used;
	char *at = (char *)uc->uc_mcontext.fpregs + XSTATE_BV;

	memcpy(&used, at, sizeof(used));
	used |= XSTATE_X87_SSE;
	memcpy(at, &used, sizeof(used));
}

static void enter(ucontext_t *uc, struct native *n)
{
	memcpy(state.host, uc->uc_mcontext.gregs, sizeof(state.host));
	memcpy(&state.host_fp, uc->uc_mcontext.fpregs, FXSAVE_USED);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		uc->uc_mcontext.gregs[greg_of[i]] = (greg_t)n->gpr[i];
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)n->rip;
	uc->uc_mcontext.gregs[REG_EFL] = (greg_t)n->rflags;
	memcpy(uc->uc_mcontext.fpregs->_xmm, n->xmm, sizeof(n->xmm));
	mark_fp_used(uc);
}

static void leave(ucontext_t *uc, struct native *n)
{
	const greg_t *gregs = uc->uc_mcontext.gregs;

	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		n->gpr[i] = (uint64_t)gregs[greg_of[i]];
	n->rip = (uint64_t)gregs[REG_RIP];
	n->rflags = (uint64_t)gregs[REG_EFL];
	n->vector = (int)gregs[REG_TRAPNO];
	n->error = (uint32_t)gregs[REG_ERR];
	n->cr2 = (uint64_t)gregs[REG_CR2];
	memcpy(n->xmm, uc->uc_mcontext.fpregs->_xmm, sizeof(n->xmm));
	if (n->vector == VECTOR_BREAKPOINT) {
		n->vector = -1;
		n->rip--;
	}
	memcpy(uc->uc_mcontext.gregs, state.host, sizeof(state.host));
	memcpy(uc->uc_mcontext.fpregs, &state.host_fp, FXSAVE_USED);
	mark_fp_used(uc);
}

/* The kernel leaves RFLAGS.AC as the instruction had it, and our own code is not that careful. */
static inline void stop_alignment_checks(void)
{
	__asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq; andl $0xfffbffff, (%%rsp); popfq; leaq 128(%%rsp), %%rsp"
			 ::: "memory", "cc");
}

static void handle(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct native *n;

	stop_alignment_checks();
	n = state.running;

	if (!n) {
		/* Not ours: let it happen again and end the process. */
		signal(signal_number, SIG_DFL);
		return;
	}
	if (!state.entered) {
		state.entered = true;
		enter(uc, n);
		return;
	}
	state.running = NULL;
	leave(uc, n);
}

void native_start(void)
{
	static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL};
	static char stack[STACK_SIZE];
	struct sigaction sa = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};

	ensure(sigaltstack(&ss, NULL) == 0);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		ensure(sigaction(signals[i], &sa, NULL) == 0);
}

void native_run(struct native *n)
{
	state.entered = false;
	state.running = n;
	__asm__ volatile("int3" ::: "memory", "cc");
}

uint64_t native_fs_base(void)
{
	uint64_t base = 0;

	ensure(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0);
	return base;
}

void native_set_gs_base(uint64_t base)
{
	ensure(syscall(SYS_arch_prctl, ARCH_SET_GS, base) == 0);
}
