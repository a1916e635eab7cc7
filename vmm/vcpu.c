#include "vmm/vcpu.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/clock.h"
#include "vmm/ensure.h"
#include "vmm/exit.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define NS_PER_S 1000000000ull

/*
 * The guest gets at least this long before its own timers interrupt it again: a guest that programs a timer shorter
 * than an entry into KVM takes would otherwise never execute an instruction.
 */
#define MIN_RUN_NS 100000u

#define ARMED_UNKNOWN (CLOCK_NEVER - 1)

static int kick_signal(void)
{
	return SIGRTMIN;
}

/*
 * The signal only has to interrupt KVM_RUN or a blocked write. For a kick immediate_exit is already raised; a timer has
 * nobody to raise it but us, in case it expires between the last look at the clock and KVM_RUN.
 */
static void on_kick(int signal, siginfo_t *info, void *context)
{
	struct vcpu *v = info->si_value.sival_ptr;

	if (info->si_code == SI_TIMER)
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

int vcpu_init_process(void)
{
	struct sigaction action = {.sa_sigaction = on_kick, .sa_flags = SA_SIGINFO};

	sigemptyset(&action.sa_mask);
	return sigaction(kick_signal(), &action, NULL) ? log_errno(errno, "sigaction") : 0;
}

static int map_run_area(struct vcpu *v)
{
	void *p = mmap(NULL, v->vm->kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);

	if (p == MAP_FAILED)
		return log_errno(errno, "mmap of the vCPU's shared area");
	v->run = p;
	return 0;
}

int vcpu_create(struct vcpu *v, struct vm *vm)
{
	int r;

	*v = (struct vcpu){.vm = vm, .armed = CLOCK_NEVER, .port = {.bus = &vm->bus, .mem = &vm->mem}};
	pthread_mutex_init(&v->lock, NULL);
	v->fd = kvm_create_vcpu(vm->fd, 0);
	if (v->fd < 0)
		return v->fd;
	r = map_run_area(v);
	if (r < 0)
		goto close;
	r = kvm_set_cpuid(v->fd, vm->cpuid);
	if (r < 0)
		goto unmap;
	return 0;
unmap:
	munmap(v->run, vm->kvm->run_size);
close:
	close(v->fd);
	return r;
}

void vcpu_destroy(struct vcpu *v)
{
	ensure(!v->has_thread);
	if (v->has_timer)
		timer_delete(v->timer);
	munmap(v->run, v->vm->kvm->run_size);
	close(v->fd);
	pthread_mutex_destroy(&v->lock);
}

void vcpu_begin_thread(struct vcpu *v)
{
	atomic_store(&v->tid, gettid());
}

void vcpu_end_thread(struct vcpu *v)
{
	atomic_store(&v->tid, 0);
}

void vcpu_kick(struct vcpu *v)
{
	pid_t tid;

	atomic_store(&v->kicked, 1);
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &v->kicked, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	/*
	 * By number: a pthread_t may not be used any more once the thread is joined, which another thread may do right now.
	 * A signal to whoever got the number since interrupts a call of its, no more.
	 */
	tid = atomic_load(&v->tid);
	if (tid)
		tgkill(getpid(), tid, kick_signal());
}

static bool add_work(struct vcpu *v, struct vcpu_work *w)
{
	if (v->closed)
		return false;
	w->next = NULL;
	if (v->last)
		v->last->next = w;
	else
		v->first = w;
	v->last = w;
	return true;
}

bool vcpu_post(struct vcpu *v, struct vcpu_work *w)
{
	bool added;

	pthread_mutex_lock(&v->lock);
	added = add_work(v, w);
	pthread_mutex_unlock(&v->lock);
	if (added)
		vcpu_kick(v);
	return added;
}

static struct vcpu_work *next_work(struct vcpu *v)
{
	struct vcpu_work *w;

	pthread_mutex_lock(&v->lock);
	w = v->first;
	if (w)
		v->first = w->next;
	if (!v->first)
		v->last = NULL;
	pthread_mutex_unlock(&v->lock);
	return w;
}

void vcpu_take_work(struct vcpu *v)
{
	struct vcpu_work *w;

	/* Lowered before the kick is, so that a kick from now on is seen by KVM_RUN or by the next look at `kicked`. */
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (!atomic_exchange(&v->kicked, 0))
		return;
	while ((w = next_work(v)))
		w->run(w, v->vm);
}

void vcpu_close_mailbox(struct vcpu *v)
{
	struct vcpu_work *w;

	pthread_mutex_lock(&v->lock);
	v->closed = true;
	pthread_mutex_unlock(&v->lock);
	while ((w = next_work(v)))
		w->run(w, v->vm);
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static int create_timer(struct vcpu *v)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kick_signal(), .sigev_value.sival_ptr = v};

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &v->timer))
		return log_errno(errno, "timer_create");
	v->has_timer = true;
	return 0;
}

static uint64_t at_least_a_moment(uint64_t ns)
{
	return ns > MIN_RUN_NS ? ns : MIN_RUN_NS;
}

/* Has the thread's timer interrupt KVM_RUN when the next timer of the VM's clock is due, or after a brief time. */
static int arm_timer(struct vcpu *v)
{
	uint64_t next = clock_next(&v->vm->clock);
	struct itimerspec when = {0};
	int r;

	if (next == v->armed && !v->brief)
		return 0;
	if (!v->has_timer && (r = create_timer(v)) < 0)
		return r;
	if (v->brief || next != CLOCK_NEVER)
		when.it_value = to_timespec(v->brief ? v->brief : at_least_a_moment(clock_wait(&v->vm->clock)));
	if (timer_settime(v->timer, 0, &when, NULL))
		return log_errno(errno, "timer_settime");
	v->armed = v->brief ? ARMED_UNKNOWN : next;
	v->brief = 0;
	return 0;
}

void vcpu_be_brief(struct vcpu *v, uint64_t ns)
{
	v->brief = ns;
}

void vcpu_forget_timer(struct vcpu *v)
{
	v->armed = ARMED_UNKNOWN;
}

/*
 * KVM_RUN, unless RAM is lost: an instruction that KVM was interpreting may have gone on with zeros, and no exit of its counts.
 * That it was lost is told before anybody sees a zero, so it is asked afterwards.
 */
static int run(struct vcpu *v)
{
	int r = mem_is_lost(&v->vm->mem) ? -ECANCELED : kvm_run(v->fd);

	return mem_is_lost(&v->vm->mem) ? -ECANCELED : r;
}

static int enter(struct vcpu *v)
{
	int r = run(v);

	if (r == -EINTR) {
		v->exits_interrupted++;
		vcpu_forget_timer(v); /* it may have been what expired */
	} else if (r == 0 && v->run->exit_reason < VCPU_EXIT_KINDS) {
		v->exits[v->run->exit_reason]++;
	}
	return r;
}

int vcpu_enter(struct vcpu *v)
{
	int r = arm_timer(v);

	return r < 0 ? r : enter(v);
}

int vcpu_enter_briefly(struct vcpu *v, unsigned int us)
{
	struct itimerspec when = {.it_value = to_timespec(us * 1000ull)};
	int r = v->has_timer ? 0 : create_timer(v);

	if (r < 0)
		return r;
	/* A kick that came before has done its work: it is on behalf of one that we run. */
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	timer_settime(v->timer, 0, &when, NULL);
	vcpu_forget_timer(v);
	return enter(v);
}

static void wait_for_kick(struct vcpu *v, const struct timespec *timeout)
{
	syscall(SYS_futex, &v->kicked, FUTEX_WAIT_PRIVATE, 0, timeout, NULL, 0);
}

void vcpu_wait(struct vcpu *v)
{
	wait_for_kick(v, NULL);
}

void vcpu_sleep(struct vcpu *v)
{
	uint64_t wait = clock_wait(&v->vm->clock);
	struct timespec timeout = to_timespec(wait);

	if (wait)
		wait_for_kick(v, wait == CLOCK_NEVER ? NULL : &timeout);
}

/* A kick raises `kicked` before it signals, and the signal stays away from here until ppoll() waits: none is lost. */
void vcpu_sleep_watching(struct vcpu *v, struct pollfd *fds, unsigned int count)
{
	uint64_t wait = clock_wait(&v->vm->clock);
	struct timespec timeout = to_timespec(wait);
	sigset_t kicks, before;

	sigemptyset(&kicks);
	sigaddset(&kicks, kick_signal());
	pthread_sigmask(SIG_BLOCK, &kicks, &before);
	if (!atomic_load(&v->kicked))
		ppoll(fds, count, wait == CLOCK_NEVER ? NULL : &timeout, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int vcpu_drain(struct vcpu *v)
{
	int r;

	for (;;) {
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		r = run(v);
		if (r == -EINTR)
			return 0;
		if (r < 0)
			return r;
		exit_handle(v);
	}
}
