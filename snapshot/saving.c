#include "snapshot/saving.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/capture.h"
#include "snapshot/host_time.h"
#include "snapshot/reason.h"
#include "vmm/vm.h"

/* The part of it that the vCPU's thread does. */
struct taking {
	struct vcpu_work work;
	struct epoch *epoch;
	struct capture capture;
	struct reason *why;
	int error;
	sem_t taken;
};

static void on_vcpu(struct vcpu_work *w, struct vm *vm)
{
	struct taking *t = (struct taking *)w;

	t->error = capture_take(&t->capture, vm, t->epoch, t->why);
	sem_post(&t->taken);
}

/* On success the capture is to be freed. */
static int take(struct taking *t, struct vm *vm, uint64_t ram_bytes)
{
	uint64_t start = host_ns();
	int r = capture_prepare(&t->capture, vm, ram_bytes, t->why);

	if (r < 0)
		return r;
	atomic_fetch_add(&vm->saves.prepare_ns, host_ns() - start);
	if (!vcpu_post(&vm->vcpu, &t->work)) {
		capture_free(&t->capture);
		return reason_give(t->why, ESRCH, "the guest has ended");
	}
	while (sem_wait(&t->taken) && errno == EINTR)
		;
	return t->error;
}

/* What is written is a parent for what comes next. */
static void go_on_from(struct epoch *e, const struct capture *c, const char *path)
{
	const char *slash = strrchr(path, '/');

	e->lost = e->full = false;
	e->parent = c->sn.id;
	e->parent_checksum = c->sn.checksum;
	snprintf(e->parent_path, sizeof(e->parent_path), "%s", slash ? slash + 1 : path);
}

static void count(struct save_stats *to, const struct capture *c, const struct image_written *w)
{
	uint64_t longest = atomic_load(&to->longest_pause_ns);

	while (c->pause_ns > longest && !atomic_compare_exchange_weak(&to->longest_pause_ns, &longest, c->pause_ns))
		;
	atomic_fetch_add(&to->pause_ns, c->pause_ns);
	atomic_fetch_add(&to->copied, c->ram.copied);
	atomic_fetch_add(&to->protected, c->ram.protected);
	atomic_fetch_add(&to->pages, w->pages);
	atomic_fetch_add(&to->zero_pages, w->zero_pages);
	atomic_fetch_add(&to->bytes, w->bytes);
	atomic_fetch_add(&to->behind_ns, c->behind_ns);
	atomic_fetch_add(&to->write_ns, w->ns);
}

static int finish(struct taking *t, struct vm *vm, const struct saving *what, struct saved *s)
{
	struct capture *c = &t->capture;
	int r = capture_finish(c, t->why);

	c->sn.compressed = what->compress;
	if (r == 0)
		r = image_write(c, what->path, &s->written, t->why);
	if (r < 0)
		return r;
	s->pause_ns = c->pause_ns;
	s->behind_ns = c->behind_ns;
	s->ram_bytes = c->ram.used;
	count(&vm->saves, c, &s->written);
	if (t->epoch)
		go_on_from(t->epoch, c, what->path);
	return 0;
}

int saving_run(struct vm *vm, struct epoch *e, const struct saving *what, struct saved *s, struct reason *why)
{
	struct taking t = {.work.run = on_vcpu, .epoch = e, .why = why};
	int r;

	sem_init(&t.taken, 0, 0);
	r = take(&t, vm, what->ram_bytes);
	if (r == 0) {
		r = finish(&t, vm, what, s);
		capture_free(&t.capture);
	}
	sem_destroy(&t.taken);
	if (r != -ESRCH && r != -EAGAIN)
		atomic_fetch_add(r < 0 ? &vm->saves.failed : &vm->saves.saved, 1);
	return r;
}
