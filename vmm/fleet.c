#include "vmm/fleet.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/scavenging.h"

#define STACK_BYTES (256u << 10)
#define END_OF_INPUT 0x04 /* ^D */
#define NS_PER_MS 1000000ull
#define KICK_AGAIN_MS 100
#define AWAY_MS 200 /* nobody tells a process that runs already that it has come to the foreground */

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t fleet_member_ns(const struct fleet_member *m)
{
	return (m->end_ns ? m->end_ns : host_ns()) - m->start_ns;
}

/* nohup and the like have a reason: what is ignored stays so. */
static void add_unless_ignored(sigset_t *set, int signal)
{
	struct sigaction action;

	if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
		sigaddset(set, signal);
}

/* Signals that end a run, or part it from its terminal, are read from a file descriptor, by every thread's mask. */
static int take_signals(const struct terminal *t)
{
	static const int of_terminals[] = {SIGQUIT, SIGTSTP, SIGCONT};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	add_unless_ignored(&set, SIGHUP);
	for (size_t i = 0; t->fd >= 0 && i < sizeof(of_terminals) / sizeof(*of_terminals); i++)
		add_unless_ignored(&set, of_terminals[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A read from the background, by which the shell was quicker than our look, fails then instead of stopping us. */
	signal(SIGTTIN, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? log_errno(errno, "signalfd") : fd;
}

/* A shell may have moved us, or have the terminal as it likes it itself. */
static void look_at_terminal(struct fleet *f)
{
	f->input_away = terminal_in_background(&f->terminal);
	terminal_take(&f->terminal);
}

static void start_input(struct fleet *f, int fd)
{
	struct stat st;

	f->input_fd = fd;
	if (fd < 0)
		return;
	f->input_seekable = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
	look_at_terminal(f);
}

int fleet_init(struct fleet *f, unsigned int max, int input_fd, uint64_t timeout_ms)
{
	int r;

	*f = (struct fleet){.deadline_ns = UINT64_MAX};
	if (timeout_ms)
		f->deadline_ns = host_ns() + timeout_ms * NS_PER_MS;
	f->members = calloc(max, sizeof(*f->members));
	if (!f->members)
		return log_errno(ENOMEM, "%u VMs", max);
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake_fd < 0) {
		r = log_errno(errno, "eventfd");
		goto members;
	}
	terminal_init(&f->terminal, input_fd);
	f->signal_fd = r = take_signals(&f->terminal);
	if (r < 0)
		goto wake;
	start_input(f, input_fd);
	return 0;
wake:
	close(f->wake_fd);
members:
	free(f->members);
	return r;
}

int fleet_control(struct fleet *f, const char *path, const struct program *p)
{
	return control_init(&f->control, path, p, f);
}

int fleet_scavenge(struct fleet *f, const struct scavenging *ops, const struct scavenge_options *o)
{
	int r = ops->start(&f->scavenger, o);

	f->scavenging = r < 0 ? NULL : ops;
	return r;
}

static int scavenge_member(struct fleet_member *m)
{
	const struct fleet *f = m->fleet;

	return f->scavenging ? f->scavenging->add(f->scavenger, &m->vm) : 0;
}

static void leave_member(struct fleet_member *m)
{
	const struct fleet *f = m->fleet;

	if (f->scavenging)
		f->scavenging->remove(f->scavenger, &m->vm);
}

void fleet_destroy(struct fleet *f)
{
	control_destroy(&f->control);
	terminal_give_back(&f->terminal);
	for (unsigned int i = 0; i < f->count; i++) {
		leave_member(&f->members[i]);
		vm_destroy(&f->members[i].vm);
	}
	if (f->scavenging)
		f->scavenging->stop(f->scavenger);
	close(f->signal_fd);
	close(f->wake_fd);
	free(f->members);
}

void fleet_wake(struct fleet *f)
{
	uint64_t one = 1;

	/* A full counter would wake the reader as well. */
	if (write(f->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void on_console_room(void *arg)
{
	fleet_wake(arg);
}

static void *run_member(void *arg)
{
	struct fleet_member *m = arg;

	run_vm(&m->vm);
	m->end_ns = host_ns();
	vcpu_close_mailbox(&m->vm.vcpu);
	atomic_store(&m->finished, true);
	fleet_wake(m->fleet);
	return NULL;
}

static int start_thread(struct fleet_member *m)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&m->vm.vcpu.thread, &attr, run_member, m);
	pthread_attr_destroy(&attr);
	if (r)
		return log_errno(r, "thread of VM %u", m->vm.number);
	m->vm.vcpu.has_thread = true;
	return 0;
}

int fleet_launch(struct fleet *f, struct vm_config config)
{
	struct fleet_member *m = &f->members[f->count];
	int r;

	m->fleet = f;
	m->start_ns = host_ns();
	config.number = f->count;
	config.console.room = f->count == 0 ? on_console_room : NULL;
	config.console.arg = f;
	r = vm_create(&m->vm, &config);
	if (r < 0)
		return r;
	r = scavenge_member(m);
	if (r < 0)
		goto vm;
	r = start_thread(m);
	if (r < 0)
		goto scavenger;
	f->count++;
	return 0;
scavenger:
	leave_member(m);
vm:
	vm_destroy(&m->vm);
	return r;
}

void fleet_ask_end(struct fleet *f, enum vm_end_kind kind)
{
	f->ending = true;
	for (unsigned int i = 0; i < f->count; i++)
		vm_ask_end(&f->members[i].vm, kind);
}

/*
 * A kick that comes just before a thread blocks in write(), on output that nobody reads, is lost: nothing but the next
 * one gets it out of there. Not too soon: each is a signal in a queue, and who gets them faster than it can take them does nothing else.
 */
static void kick_again(struct fleet *f)
{
	uint64_t now = host_ns();

	if (!f->ending || now < f->kick_ns)
		return;
	f->kick_ns = now + KICK_AGAIN_MS * NS_PER_MS;
	for (unsigned int i = 0; i < f->count; i++)
		if (!atomic_load(&f->members[i].finished))
			vcpu_kick(&f->members[i].vm.vcpu);
}

static bool all_finished(const struct fleet *f)
{
	for (unsigned int i = 0; i < f->count; i++)
		if (!atomic_load(&f->members[i].finished))
			return false;
	return true;
}

static void pass_input(struct fleet *f)
{
	struct vm *vm = &f->members[0].vm;
	size_t n = console_input(&vm->console, f->input, f->input_used);

	f->input_used -= n;
	memmove(f->input, f->input + n, f->input_used);
	f->input_blocked = f->input_used > 0;
	if (n)
		vcpu_kick(&vm->vcpu);
}

/* A terminal or /dev/null that ends just falls silent; a file or pipe that ends is an end the guest should see. */
static void end_input(struct fleet *f)
{
	f->input_fd = -1;
	if (!f->input_seekable)
		return;
	f->input[0] = END_OF_INPUT;
	f->input_used = 1;
	pass_input(f);
}

static void read_input(struct fleet *f)
{
	ssize_t n;

	f->input_away = terminal_in_background(&f->terminal);
	if (f->input_away)
		return;
	n = read(f->input_fd, f->input, sizeof(f->input));
	if (n > 0) {
		f->input_used = (size_t)n;
		pass_input(f);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		f->input_away = terminal_in_background(&f->terminal);
		if (!f->input_away)
			end_input(f);
	}
}

static void end_by_signal(struct fleet *f)
{
	/* Asked twice, the user wants out whatever hangs. */
	if (f->interrupted) {
		terminal_give_back(&f->terminal);
		_exit(130);
	}
	f->interrupted = true;
	fleet_ask_end(f, VM_STOPPED);
}

/* Does what the signal would have done, without leaving the terminal changed. Returns if the process goes on after it. */
static void obey(struct fleet *f, int signal)
{
	sigset_t set;

	terminal_give_back(&f->terminal);
	sigemptyset(&set);
	sigaddset(&set, signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(signal);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	look_at_terminal(f);
}

static void read_signal(struct fleet *f)
{
	struct signalfd_siginfo info;

	if (read(f->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGQUIT:
	case SIGTSTP:
		obey(f, (int)info.ssi_signo);
		break;
	case SIGCONT:
		look_at_terminal(f);
		break;
	default:
		end_by_signal(f);
	}
}

/* In ms: `most` (-1: for ever), or less. */
static int poll_timeout(const struct fleet *f, int most)
{
	uint64_t now = host_ns(), ms, limit = most < 0 ? INT32_MAX : (uint64_t)most;

	if (f->ending)
		return KICK_AGAIN_MS;
	if (f->deadline_ns == UINT64_MAX)
		return most;
	if (f->deadline_ns <= now)
		return 0;
	ms = (f->deadline_ns - now) / NS_PER_MS + 1;
	return (int)(ms > limit ? limit : ms);
}

static void drain_wake(struct fleet *f)
{
	uint64_t count;

	if (read(f->wake_fd, &count, sizeof(count)) < 0)
		return;
	if (f->input_blocked)
		pass_input(f);
}

static void end_at_deadline(struct fleet *f)
{
	if (host_ns() < f->deadline_ns)
		return;
	f->deadline_ns = UINT64_MAX;
	fleet_ask_end(f, VM_TIMED_OUT);
}

bool fleet_is_ending(struct fleet *f)
{
	read_signal(f);
	end_at_deadline(f);
	return f->ending;
}

/* -1 while the input must not be read. */
static int input_to_poll(struct fleet *f)
{
	if (f->input_away)
		look_at_terminal(f);
	return f->input_blocked || f->input_away ? -1 : f->input_fd;
}

/* poll() refuses more of them than the process may have descriptors, used or not (EINVAL). */
static nfds_t without_unused(const struct pollfd *fds, nfds_t count)
{
	while (count && fds[count - 1].fd < 0)
		count--;
	return count;
}

static void wait_once(struct fleet *f)
{
	enum { WAKE, SIGNAL, INPUT, CONTROL, COUNT = CONTROL + CONTROL_MAX_FDS };
	struct pollfd fds[COUNT] = {
		[WAKE] = {.fd = f->wake_fd, .events = POLLIN},
		[SIGNAL] = {.fd = f->signal_fd, .events = POLLIN},
		[INPUT] = {.fd = input_to_poll(f), .events = POLLIN},
	};
	int most, ready;

	most = control_poll(&f->control, fds + CONTROL);
	if (f->input_away && (most < 0 || most > AWAY_MS))
		most = AWAY_MS;
	ready = poll(fds, without_unused(fds, COUNT), poll_timeout(f, most));
	kick_again(f);
	if (ready < 0)
		return;
	if (fds[WAKE].revents)
		drain_wake(f);
	if (fds[SIGNAL].revents)
		read_signal(f);
	if (fds[INPUT].revents)
		read_input(f);
	control_handle(&f->control, fds + CONTROL);
	end_at_deadline(f);
}

void fleet_wait(struct fleet *f)
{
	while (!all_finished(f) || control_busy(&f->control))
		wait_once(f);
	for (unsigned int i = 0; i < f->count; i++) {
		pthread_join(f->members[i].vm.vcpu.thread, NULL);
		f->members[i].vm.vcpu.has_thread = false;
	}
}
