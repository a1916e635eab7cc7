#include "vmm/disk_workers.h"

#include <stddef.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (256u << 10)

static void list_clear(struct disk_job_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void list_add(struct disk_job_list *l, struct disk_job *j)
{
	j->next = NULL;
	*l->end = j;
	l->end = &j->next;
}

static struct disk_job *list_remove(struct disk_job_list *l)
{
	struct disk_job *j = l->first;

	l->first = j->next;
	if (!l->first)
		list_clear(l);
	return j;
}

/* With the lock: runs the next job without it. */
static void run_next(struct disk_workers *w)
{
	struct disk_job *j = list_remove(&w->waiting);
	bool first;

	w->waiting_count--;
	w->running++;
	pthread_mutex_unlock(&w->lock);
	j->run(j);
	pthread_mutex_lock(&w->lock);
	w->running--;
	list_add(&w->done, j);
	first = !atomic_exchange(&w->any_done, true);
	if (!w->running && !w->waiting.first)
		pthread_cond_signal(&w->idle);
	/* With the lock, so that who has seen the last job end may tear down what wake() needs. */
	if (first)
		w->wake(w->arg);
}

static void *work(void *arg)
{
	struct disk_workers *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->ending) {
		if (w->waiting.first) {
			run_next(w);
			continue;
		}
		w->sleeping++;
		pthread_cond_wait(&w->submitted, &w->lock);
		w->sleeping--;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

void disk_workers_init(struct disk_workers *w, void (*wake)(void *arg), void *arg)
{
	*w = (struct disk_workers){.wake = wake, .arg = arg};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->submitted, NULL);
	pthread_cond_init(&w->idle, NULL);
	list_clear(&w->waiting);
	list_clear(&w->done);
}

void disk_workers_destroy(struct disk_workers *w)
{
	disk_workers_wait(w);
	ensure(!w->done.first);
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->submitted);
	pthread_mutex_unlock(&w->lock);
	while (w->threads)
		pthread_join(w->thread[--w->threads], NULL);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->submitted);
	pthread_mutex_destroy(&w->lock);
}

static int start_thread(struct disk_workers *w)
{
	int r = worker_thread_start(&w->thread[w->threads], STACK_BYTES, false, work, w);

	if (r == 0)
		w->threads++;
	return r;
}

int disk_workers_submit(struct disk_workers *w, struct disk_job *j)
{
	bool more;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	more = w->waiting_count >= w->sleeping && w->threads < DISK_WORKERS_MAX;
	pthread_mutex_unlock(&w->lock);
	if (more)
		r = start_thread(w);
	/* Fewer threads are slower, no more. */
	if (!w->threads)
		return log_errno(-r, "a thread for disk requests");
	pthread_mutex_lock(&w->lock);
	list_add(&w->waiting, j);
	w->waiting_count++;
	pthread_cond_signal(&w->submitted);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

struct disk_job *disk_workers_take(struct disk_workers *w)
{
	struct disk_job *first;

	if (!atomic_load(&w->any_done))
		return NULL;
	pthread_mutex_lock(&w->lock);
	first = w->done.first;
	list_clear(&w->done);
	atomic_store(&w->any_done, false);
	pthread_mutex_unlock(&w->lock);
	return first;
}

void disk_workers_wait(struct disk_workers *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->running || w->waiting.first)
		pthread_cond_wait(&w->idle, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
