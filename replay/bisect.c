#include "replay/bisect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay/paging_name.h"
#include "replay/replayer.h"
#include "replay/show_access.h"
#include "snapshot/read_all.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/program.h"
#include "vmm/vm.h"

#define EXIT_DIVERGED 124
#define SHOWN 8u /* bytes of RAM that differ */

struct bisect {
	const struct program *program;
	bisect_run *run;
	void *arg;
	unsigned int replays;
	const struct mmu_ops *mmu[2]; /* of the two that are compared */
	struct probe *probe[2];	      /* shared with the child */
	int ram_fd[2];
	bool with_ram;
	uint64_t begins, ends; /* positions of the whole replay */
};

static int child(struct bisect *b, unsigned int which, uint64_t until, bool quiet)
{
	int null = quiet ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	if (null >= 0)
		dup2(null, STDERR_FILENO);
	return b->run(b->arg, b->probe[which], b->mmu[which], until);
}

/* One replay to its end. Returns its exit status, or a logged -errno. */
static int replay(struct bisect *b, unsigned int which, uint64_t until, bool quiet)
{
	int status;
	pid_t pid;

	fflush(stdout);
	b->replays++;
	pid = fork();
	if (pid < 0)
		return log_errno(errno, "bisect: fork");
	if (pid == 0)
		_exit(child(b, which, until, quiet));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return log_errno(errno, "bisect: waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : log_bad(ECHILD, "bisect: a replay was ended by signal %d", WTERMSIG(status));
}

static bool ended_as_a_replay_does(const struct probe *p)
{
	return p->ended && (p->end == VM_DIVERGED || p->end == VM_REPLAYED || p->end == VM_EXITED || p->end == VM_KILLED ||
			    p->end == VM_HOST_LIMIT);
}

/* Both, with samples as *wanted says. */
static int replay_both(struct bisect *b, const struct probe *wanted, uint64_t until)
{
	for (unsigned int i = 0; i < 2; i++) {
		int r;

		*b->probe[i] = *wanted;
		b->probe[i]->ram_fd = b->ram_fd[i];
		r = replay(b, i, until, true);
		if (r < 0)
			return r;
		if (!ended_as_a_replay_does(b->probe[i]))
			return log_bad(EIO, "bisect: a replay failed: %s",
				       *b->probe[i]->reason ? b->probe[i]->reason : "it could not be started");
	}
	return 0;
}

/* Where both were looked at: the last position at which they were the same, and the first one at which they were not. */
struct window {
	uint64_t same, other; /* PROBE_NEVER: there is none */
};

static bool is_same(const struct bisect *b, const struct probe_sample *x, const struct probe_sample *y)
{
	return x->registers == y->registers && (!b->with_ram || x->ram == y->ram);
}

static struct window compare_samples(const struct bisect *b, uint64_t same)
{
	const struct probe *x = b->probe[0], *y = b->probe[1];
	struct window w = {same, PROBE_NEVER};

	for (unsigned int i = 0, k = 0; i < x->count && k < y->count && w.other == PROBE_NEVER;) {
		const struct probe_sample *s = &x->sample[i], *t = &y->sample[k];

		if (s->position == t->position && is_same(b, s, t))
			w.same = s->position;
		else if (s->position == t->position)
			w.other = s->position;
		i += s->position <= t->position;
		k += t->position <= s->position;
	}
	return w;
}

/* Narrows it down until there is no position between the two. Returns 0 or a logged -errno. */
static int narrow(struct bisect *b, struct window *w)
{
	uint64_t until = REPLAYER_TO_THE_END, last = b->ends, distance = PROBE_NEVER;
	int r = 0;

	*w = (struct window){b->begins, PROBE_NEVER};
	while (r == 0 && last - w->same < distance && last > w->same) {
		struct window now;
		struct probe wanted = {.dump_at = PROBE_NEVER};

		distance = last - w->same;
		wanted.step = (distance + PROBE_SAMPLES - 1) / PROBE_SAMPLES;
		wanted.from = w->same + 1 + (distance - 1) % wanted.step; /* so that the last one is looked at, too */
		r = replay_both(b, &wanted, until);
		now = compare_samples(b, w->same);
		if (r < 0 || now.same >= w->other) /* it does not happen each time: what is known stays */
			break;
		if (now.other == PROBE_NEVER)
			now.other = w->other; /* where the guest could not be looked at again, as amid a REP */
		*w = now;
		if (w->other == PROBE_NEVER)
			break;
		until = last = w->other;
	}
	return r;
}

static void say_registers(const struct bisect *b)
{
	for (unsigned int i = 0; i < BOUNDARY_REGISTERS; i++)
		if (b->probe[0]->registers[i] != b->probe[1]->registers[i])
			printf("register  %s: 0x%" PRIx64 " in one, 0x%" PRIx64 " in the other\n", boundary_register_names[i],
			       b->probe[0]->registers[i], b->probe[1]->registers[i]);
}

static void say_bytes(uint64_t gpa, const uint8_t *x, const uint8_t *y)
{
	size_t at = 0;

	while (x[at] == y[at])
		at++;
	printf("RAM       page at gpa 0x%" PRIx64 ", offset 0x%zx: ", gpa, at);
	for (size_t i = at; i < at + SHOWN && i < PAGE_SIZE; i++)
		printf("%02x", x[i]);
	printf(" in one, ");
	for (size_t i = at; i < at + SHOWN && i < PAGE_SIZE; i++)
		printf("%02x", y[i]);
	printf(" in the other\n");
}

/* Counts pages that `of` has and that are another one in the other, but for those that the first has when it is the second's turn. */
static int64_t compare_pages(const struct bisect *b, unsigned int of, int64_t *first)
{
	uint8_t page[2][PAGE_SIZE];
	int64_t differ = 0;

	for (off_t at = 0; (at = lseek(b->ram_fd[of], at, SEEK_DATA)) >= 0; at += PAGE_SIZE) {
		int other = read_all(b->ram_fd[!of], page[!of], PAGE_SIZE, (uint64_t)at);

		if (read_all(b->ram_fd[of], page[of], PAGE_SIZE, (uint64_t)at) < 0)
			return log_bad(EIO, "bisect: contents of RAM cannot be read");
		if (other < 0)
			memset(page[!of], 0, PAGE_SIZE);
		if (!memcmp(page[0], page[1], PAGE_SIZE) || (of == 1 && lseek(b->ram_fd[0], at, SEEK_DATA) == at))
			continue;
		if (differ++ == 0 && *first < 0) {
			say_bytes((uint64_t)at, page[0], page[1]);
			*first = at;
		}
	}
	return differ;
}

static int say_ram(const struct bisect *b)
{
	int64_t first = -1, one = compare_pages(b, 0, &first), other = compare_pages(b, 1, &first);

	if (one < 0 || other < 0)
		return -EIO;
	if (one + other > 1)
		printf("RAM       %" PRId64 " pages differ in all\n", one + other);
	return 0;
}

static int say_difference(struct bisect *b, const struct window *w)
{
	struct probe wanted = {.from = PROBE_NEVER, .dump_at = w->other};
	const struct probe *x = b->probe[0];
	char text[SHOW_ACCESS_ROOM];
	int r;

	printf("differs   replays are the same at position %" PRIu64 ", and not at position %" PRIu64 "\n", w->same, w->other);
	r = replay_both(b, &wanted, w->other + 1);
	if (r < 0)
		return r;
	if (!x->dumped || !b->probe[1]->dumped || x->dumped_at != b->probe[1]->dumped_at)
		return log_bad(EAGAIN, "bisect: the replays have not come to position %" PRIu64 " again", w->other);
	if (x->has_access)
		printf("access    number %" PRIu64 ": %s\n", x->dumped_at, show_access(text, &x->access));
	say_registers(b);
	return b->with_ram ? say_ram(b) : 0;
}

/* They were the same wherever both could be looked at; but each has ended, and what it did then may be told. */
static bool say_other_ends(const struct bisect *b)
{
	const struct divergence *x = &b->probe[0]->divergence, *y = &b->probe[1]->divergence;

	if (b->probe[0]->end == b->probe[1]->end && b->probe[0]->end_position == b->probe[1]->end_position &&
	    !strcmp(b->probe[0]->reason, b->probe[1]->reason) && !strcmp(x->found, y->found))
		return false;
	printf("differs   replays are the same at every position before they end, and end differently\n");
	for (unsigned int i = 0; i < 2; i++)
		printf("%s  %s%s%s\n", i ? "the other" : "one      ", b->probe[i]->reason, *b->probe[i]->divergence.found ? "; found: " : "",
		       b->probe[i]->divergence.found);
	return true;
}

/* Returns 1: they differ, which was said; 0: they do not; or a logged -errno. */
static int compare(struct bisect *b, const struct mmu_ops *one, const struct mmu_ops *other)
{
	struct window w;
	int r;

	b->mmu[0] = one;
	b->mmu[1] = other;
	b->with_ram = one == other || paging_is_common(b->program);
	r = narrow(b, &w);
	if (r < 0)
		return r;
	if (w.other == PROBE_NEVER)
		return say_other_ends(b);
	printf("replays   --mmu=%s and --mmu=%s\n", one->name, other->name);
	r = say_difference(b, &w);
	return r < 0 ? r : 1;
}

static int compare_modes(struct bisect *b, const struct mmu_ops *mmu)
{
	int r = compare(b, mmu, mmu);

	for (unsigned int i = 0; b->program->mmus[i] && r == 0; i++)
		if (b->program->mmus[i] != mmu)
			r = compare(b, mmu, b->program->mmus[i]);
	return r;
}

static void say_agreement(const struct divergence *d, uint64_t begins, unsigned int replays)
{
	printf("differs   %u replays are the same as one another, and not as the recording: what it was came about between positions %" PRIu64
	       " and %" PRIu64 "\n", replays, d->right == PROBE_NEVER ? begins : d->right, d->position);
}

/* The first one tells what is to be looked for. */
static int look(struct bisect *b, const struct mmu_ops *mmu)
{
	struct divergence first;
	int status, r;

	b->mmu[0] = mmu;
	*b->probe[0] = (struct probe){.from = 0, .step = PROBE_NEVER, .dump_at = PROBE_NEVER, .ram_fd = -1};
	status = replay(b, 0, REPLAYER_TO_THE_END, false);
	if (status != EXIT_DIVERGED || !b->probe[0]->ended) {
		if (b->probe[0]->ended && ended_as_a_replay_does(b->probe[0]))
			printf("differs   nothing: the replay does not diverge\n");
		return status < 0 || program_flush_output() < 0 ? EXIT_BAD : status;
	}
	first = b->probe[0]->divergence;
	b->begins = b->probe[0]->count ? b->probe[0]->sample[0].position : 0;
	b->ends = b->probe[0]->end_position + 1;
	r = compare_modes(b, mmu);
	if (r == 0)
		say_agreement(&first, b->begins, b->replays);
	return r < 0 || program_flush_output() < 0 ? EXIT_BAD : EXIT_DIVERGED;
}

int bisect(const struct program *p, const struct mmu_ops *mmu, bisect_run *run, void *arg)
{
	struct bisect b = {.program = p, .run = run, .arg = arg};
	struct probe *probes = mmap(NULL, 2 * sizeof(*probes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = EXIT_BAD;

	if (probes == MAP_FAILED)
		return log_errno(errno, "bisect: memory") < 0 ? EXIT_BAD : 0;
	b.probe[0] = &probes[0];
	b.probe[1] = &probes[1];
	b.ram_fd[0] = memfd_create("one", MFD_CLOEXEC);
	b.ram_fd[1] = memfd_create("other", MFD_CLOEXEC);
	if (b.ram_fd[0] < 0 || b.ram_fd[1] < 0)
		log_errno(errno, "bisect: memfd_create");
	else
		status = look(&b, mmu);
	for (unsigned int i = 0; i < 2; i++)
		if (b.ram_fd[i] >= 0)
			close(b.ram_fd[i]);
	munmap(probes, 2 * sizeof(*probes));
	return status;
}
