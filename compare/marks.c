#include "compare/marks.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/smaps.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define LOOK_NS (50 * NS_PER_MS) /* between looks at the stop flag and at the time */
#define HUGE_PAGE (2ull << 20)

struct listener {
	struct access_tap tap;
	const struct vm *vm;
	struct marks *marks;
};

/* Ends a guest that is to be stopped or that takes too long. */
struct watcher {
	struct vm *vm;
	const struct marks_config *config;
	uint64_t deadline_ns;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t end; /* with `done` */
	bool done;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t thread_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void take_mark(const struct vm *vm, struct mark *m, uint32_t value)
{
	m->ns = thread_ns();
	m->value = value;
	memcpy(m->exits, vm->vcpu.exits, sizeof(m->exits));
	vm->mmu->stats(vm, &m->stats);
	m->done_ns = thread_ns();
}

static void on_access(struct access_tap *t, uint64_t position, const struct access *a)
{
	struct listener *l = (struct listener *)t;
	struct marks *marks = l->marks;

	if (a->kind != ACCESS_PORT_WRITE || a->addr != ABI_PORT_SCRATCH || marks->count == MARKS_MAX)
		return;
	take_mark(l->vm, &marks->mark[marks->count], (uint32_t)a->value);
	marks->count++;
}

/* A thread of its own, so that what is measured does nothing for it; the guest's clock would have it look at the time often. */
static void *watch(void *arg)
{
	struct watcher *w = arg;
	uint64_t now = monotonic_ns();

	pthread_mutex_lock(&w->lock);
	while (!w->done) {
		struct timespec until = {.tv_sec = (time_t)((now + LOOK_NS) / NS_PER_S), .tv_nsec = (long)((now + LOOK_NS) % NS_PER_S)};

		pthread_cond_clockwait(&w->end, &w->lock, CLOCK_MONOTONIC, &until);
		now = monotonic_ns();
		if (w->config->stop && atomic_load(w->config->stop))
			vm_ask_end(w->vm, VM_STOPPED);
		else if (now >= w->deadline_ns)
			vm_ask_end(w->vm, VM_TIMED_OUT);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int start_watcher(struct watcher *w, struct vm *vm, const struct marks_config *config)
{
	int err;

	*w = (struct watcher){.vm = vm, .config = config, .lock = PTHREAD_MUTEX_INITIALIZER, .end = PTHREAD_COND_INITIALIZER,
			      .deadline_ns = config->timeout_ms ? monotonic_ns() + config->timeout_ms * NS_PER_MS : UINT64_MAX};
	err = pthread_create(&w->thread, NULL, watch, w);
	return err ? log_errno(err, "thread that watches a guest") : 0;
}

static void end_watcher(struct watcher *w)
{
	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->end);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
}

static bool is_ram(const void *mem, uint64_t start, uint64_t end)
{
	return mem_overlaps(mem, start, end);
}

/* What the kernel says of the mappings that are guest RAM. */
static uint64_t host_page(const struct mem *m)
{
	enum { RESIDENT, HUGE };
	struct smaps_field field[] = {[RESIDENT] = {.name = "Rss"}, [HUGE] = {.name = "AnonHugePages"}};

	if (smaps_sum(is_ram, m, field, 2) < 0 || !field[RESIDENT].kib)
		return 0;
	return field[HUGE].kib > field[RESIDENT].kib / 2 ? HUGE_PAGE : PAGE_SIZE;
}

static int could_not_start(struct marks *marks, int error)
{
	snprintf(marks->why, sizeof(marks->why), "cannot be started: %s", strerrordesc_np(-error));
	return error;
}

static int run(struct vm *vm, const struct marks_config *config, struct marks *marks)
{
	struct listener l = {.tap.access = on_access, .vm = vm, .marks = marks};
	struct watcher w;
	int r = start_watcher(&w, vm, config);

	if (r < 0)
		return could_not_start(marks, r);
	vm->vcpu.port.tap = &l.tap;
	take_mark(vm, &marks->start, 0);
	run_vm(vm);
	take_mark(vm, &marks->end, 0);
	vcpu_close_mailbox(&vm->vcpu);
	end_watcher(&w);
	marks->host_page = host_page(&vm->mem);
	marks->ended = vm->end.kind;
	r = vm_end_status(&vm->end);
	if (r)
		memcpy(marks->why, vm->end.reason, sizeof(marks->why));
	return r;
}

/* Asked before anything is made, so that the answer is not logged. */
static int check(const struct marks_config *config, struct marks *marks)
{
	struct image_reason why = {.text = ""};
	int r = config->mmu->check_image ? config->mmu->check_image(config->image, &why) : 0;

	if (r == 0)
		return 0;
	if (!*why.text)
		return could_not_start(marks, r);
	snprintf(marks->why, sizeof(marks->why), "%s", why.text);
	return r;
}

int marks_run(const struct marks_config *config, struct marks *marks)
{
	const struct vm_config vm_config = {
		.kvm = config->kvm, .mmu = config->mmu, .image = config->image, .cmdline = config->arguments, .cpu = config->cpu,
		.mem = config->mem ? config->mem : MARKS_MEM, .huge = config->huge, .console.fd = -1,
	};
	struct vm vm;
	int r;

	*marks = (struct marks){.ended = VM_RUNNING};
	r = check(config, marks);
	if (r < 0)
		return r;
	r = vm_create(&vm, &vm_config);
	if (r < 0)
		return could_not_start(marks, r);
	r = run(&vm, config, marks);
	vm_destroy(&vm);
	return r;
}

const struct mark *marks_find(const struct marks *marks, uint32_t value)
{
	for (unsigned int i = 0; i < marks->count; i++)
		if (marks->mark[i].value == value)
			return &marks->mark[i];
	return NULL;
}

uint64_t mark_ns_between(const struct mark *from, const struct mark *to)
{
	return to->ns - from->done_ns;
}

uint64_t mark_exits_between(const struct mark *from, const struct mark *to)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < VCPU_EXIT_KINDS; i++)
		sum += i == KVM_EXIT_INTR ? 0 : to->exits[i] - from->exits[i];
	return sum;
}

uint64_t mark_counter(const struct mark *m, const char *name)
{
	for (unsigned int i = 0; i < m->stats.count; i++)
		if (!strcmp(m->stats.counter[i].name, name))
			return m->stats.counter[i].value;
	return 0;
}
