#include "snapshot/checkpointer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/capture.h"
#include "snapshot/checkpoints.h"
#include "snapshot/image_reader.h"
#include "snapshot/pack.h"
#include "snapshot/reason.h"
#include "snapshot/saving.h"
#include "snapshot/touched.h"
#include "vmm/log.h"
#include "vmm/steering.h"
#include "vmm/vm.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (1u << 20)

struct keeping {
	struct vm *vm;
	char *directory;
	int lock_fd; /* of the directory: two guests in one would take each other's checkpoints for their own */
	unsigned int every_ms;
	unsigned int number; /* of the last checkpoint */
	unsigned int chain;  /* increments on the last full one */
	uint64_t full_bytes, chain_bytes, increment_bytes;
	bool failed; /* the last one: said once */
	struct epoch epoch;

	pthread_t thread;
	pthread_mutex_t mutex; /* of `stop` */
	pthread_cond_t cond;
	bool stop;
};

/* A full one is as large as what the guest has touched, an increment about as large as the last one. */
static uint64_t expected_bytes(const struct keeping *k)
{
	return k->epoch.full ? touched_bytes(&k->vm->mem) : k->increment_bytes;
}

static void note_saved(struct keeping *k, const char *path, const struct saved *s, bool full)
{
	const struct image_written *w = &s->written;

	k->number++;
	k->chain = full ? 0 : k->chain + 1;
	k->chain_bytes = full ? 0 : k->chain_bytes + w->bytes;
	k->increment_bytes = full ? k->increment_bytes : s->ram_bytes;
	k->full_bytes = full ? w->bytes : k->full_bytes;
	log_print(LOG_DEBUG, "%s: %s checkpoint: the guest stood still for %" PRIu64 " us; %" PRIu64 " KiB in %" PRIu64 " ms", path,
		  full ? "full" : "incremental", s->pause_ns / 1000, w->bytes >> 10, w->ns / 1000000);
	if (full)
		checkpoints_prune(k->directory, k->number);
}

static char *path_of(const struct keeping *k, unsigned int number, struct reason *why)
{
	char name[CHECKPOINT_NAME], *path;

	if (asprintf(&path, "%s/%s", k->directory, checkpoint_name(number, name)) >= 0)
		return path;
	reason_errno(why, ENOMEM, "%s", k->directory);
	return NULL;
}

/* -ESRCH: the guest has ended. */
static int save(struct keeping *k, struct reason *why)
{
	char *path = path_of(k, k->number + 1, why);
	bool full = k->epoch.full;
	struct saved s;
	int err;

	if (!path)
		return -ENOMEM;
	err = saving_run(k->vm, &k->epoch, &(struct saving){.path = path, .ram_bytes = expected_bytes(k)}, &s, why);
	if (err == 0)
		note_saved(k, path, &s, full);
	free(path);
	return err;
}

static void note_joined(struct keeping *k, const struct packed *p)
{
	struct epoch *e = &k->epoch;

	k->number++;
	k->chain = 0;
	k->chain_bytes = 0;
	k->full_bytes = p->written.bytes;
	e->parent = p->id;
	e->parent_checksum = p->checksum;
	checkpoint_name(k->number, e->parent_path);
	atomic_fetch_add(&k->vm->saves.joined, 1);
	log_print(LOG_DEBUG, "%s/%s: all of the chain: %" PRIu64 " KiB in %" PRIu64 " ms", k->directory, e->parent_path,
		  p->written.bytes >> 10, p->written.ns / 1000000);
	checkpoints_prune(k->directory, k->number);
}

/* What the vCPU's thread tells who steers the guest. */
struct telling {
	struct vcpu_work work;
	const struct snapshot_id *id, *of;
	bool in_time; /* the guest has not ended */
	sem_t told;
};

static void tell_steering(struct vcpu_work *w, struct vm *vm)
{
	struct telling *t = (struct telling *)w;

	t->in_time = !vm_ended(vm);
	if (t->in_time && vm->steering && vm->steering->ops->saved)
		vm->steering->ops->saved(vm->steering, t->id->byte, t->of->byte);
	sem_post(&t->told);
}

/* Before there is one of that identity, so that none is without. False: the guest has ended, and what it did is written down already. */
static bool tell_of_joined(struct keeping *k, const struct snapshot_id *id)
{
	struct telling t = {.work.run = tell_steering, .id = id, .of = &k->epoch.parent};

	sem_init(&t.told, 0, 0);
	if (vcpu_post(&k->vm->vcpu, &t.work))
		while (sem_wait(&t.told) && errno == EINTR)
			;
	sem_destroy(&t.told);
	return t.in_time;
}

static int write_joined(const char *from, const char *to, struct packed *p, struct reason *why)
{
	struct image_reader r;
	int err = image_reader_open(&r, from, why);

	if (err < 0)
		return err;
	r.quiet = true;
	err = pack_write(&r, to, false, p, why);
	image_reader_close(&r);
	return err;
}

/*
 * Makes one snapshot of the chain, from its files: the guest does not stand still for it, nor does KVM forget its translations. What
 * goes wrong makes the next one a full one of the guest's RAM, which needs nothing of this.
 */
static int join(struct keeping *k, struct reason *why)
{
	char *from = path_of(k, k->number, why), *to = path_of(k, k->number + 1, why);
	struct packed p;
	int err = from && to ? snapshot_id_make(&p.id, why) : -ENOMEM;

	if (err == 0 && !tell_of_joined(k, &p.id))
		err = reason_give(why, ESRCH, "the guest has ended");
	if (err == 0)
		err = write_joined(from, to, &p, why);
	if (err == 0)
		note_joined(k, &p);
	else
		k->epoch.full = true;
	free(from);
	free(to);
	return err;
}

/* There is more to be read for a restore than it is worth. */
static bool is_long(const struct keeping *k)
{
	return k->chain >= CHECKPOINT_CHAIN || k->chain_bytes > k->full_bytes;
}

/* A failure is said when it begins, not at every try; the guest goes on, and the next one takes what this one had. */
static void note_failure(struct keeping *k, const struct reason *why)
{
	if (!k->failed)
		log_print(LOG_ERROR, "checkpoint: %s", *why->text ? why->text : "failed");
	k->failed = true;
}

static int checkpoint(struct keeping *k)
{
	struct reason why = {0};
	int err = save(k, &why);

	if (err == -EAGAIN)
		return 0;
	if (err == 0 && is_long(k))
		err = join(k, &why);
	if (err == -ESRCH)
		return err;
	if (err < 0)
		note_failure(k, &why);
	else
		k->failed = false;
	return 0;
}

static struct timespec deadline(unsigned int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* Waits until it is time; false: no more. */
static bool await_time(struct keeping *k, const struct timespec *when)
{
	bool stop;

	pthread_mutex_lock(&k->mutex);
	while (!k->stop && pthread_cond_timedwait(&k->cond, &k->mutex, when) == 0)
		;
	stop = k->stop;
	pthread_mutex_unlock(&k->mutex);
	return !stop;
}

static void *keep(void *arg)
{
	struct keeping *k = arg;
	struct timespec when;

	do {
		when = deadline(k->every_ms);
	} while (await_time(k, &when) && checkpoint(k) == 0);
	return NULL;
}

static int open_directory(struct keeping *k)
{
	struct reason why = {0};

	if (mkdir(k->directory, 0700) && errno != EEXIST)
		return log_errno(errno, "%s: make a directory for checkpoints", k->directory);
	k->lock_fd = open(k->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->lock_fd < 0)
		return log_errno(errno, "%s", k->directory);
	if (flock(k->lock_fd, LOCK_EX | LOCK_NB))
		return log_bad(EBUSY, "%s: another guest keeps its checkpoints there", k->directory);
	if (checkpoints_newest(k->directory, &k->number, &why) < 0)
		return log_bad(EIO, "%s", why.text);
	return 0;
}

static int start_thread(struct keeping *k)
{
	pthread_condattr_t attr;
	int err;

	pthread_mutex_init(&k->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->cond, &attr);
	pthread_condattr_destroy(&attr);
	err = worker_thread_start(&k->thread, STACK_BYTES, false, keep, k);
	return err < 0 ? log_errno(-err, "%s: thread", k->directory) : 0;
}

static void forget(struct keeping *k)
{
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	free(k->directory);
	free(k);
}

static int start(void **out, struct vm *vm, const char *directory, unsigned int every_ms)
{
	struct keeping *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return log_errno(ENOMEM, "%s", directory);
	*k = (struct keeping){.vm = vm, .lock_fd = -1, .every_ms = every_ms, .directory = strdup(directory), .epoch.full = true};
	err = k->directory ? open_directory(k) : log_errno(ENOMEM, "%s", directory);
	if (err == 0)
		err = start_thread(k);
	if (err < 0)
		forget(k);
	else
		*out = k;
	return err;
}

static void stop(void *arg)
{
	struct keeping *k = arg;

	pthread_mutex_lock(&k->mutex);
	k->stop = true;
	pthread_cond_signal(&k->cond);
	pthread_mutex_unlock(&k->mutex);
	pthread_join(k->thread, NULL);
	epoch_end(&k->epoch, k->vm);
	pthread_cond_destroy(&k->cond);
	pthread_mutex_destroy(&k->mutex);
	forget(k);
}

const struct keeper checkpointer = {.start = start, .stop = stop};
