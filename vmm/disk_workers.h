/*
 * Threads that wait for a disk, so that the guest's processor need not.
 *
 * A job is handed over by disk_workers_submit(), run by one of at most DISK_WORKERS_MAX threads, and taken back by
 * disk_workers_take(); in between it is nobody else's. Jobs are begun in order and may end in any. Threads start as there is work
 * for them and stay until the end; without a job there is none.
 *
 * One thread owns it and calls everything here. `wake` is called on a worker's thread when there is something to take and was
 * not before.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* As many requests of one disk are under way at the host's at once. */
#define DISK_WORKERS_MAX 8u

struct disk_job {
	void (*run)(struct disk_job *j);
	struct disk_job *next;
};

struct disk_job_list {
	struct disk_job *first, **end;
};

struct disk_workers {
	void (*wake)(void *arg);
	void *arg;
	pthread_mutex_t lock;	 /* of all that follows */
	pthread_cond_t submitted, idle;
	struct disk_job_list waiting, done;
	unsigned int waiting_count, running; /* jobs */
	unsigned int sleeping;	 /* threads; one that has been signalled sleeps until it runs */
	bool ending;
	pthread_t thread[DISK_WORKERS_MAX];
	unsigned int threads;	 /* the owner's */
	_Atomic bool any_done;	 /* `done` is not empty: to be asked without the lock */
};

void disk_workers_init(struct disk_workers *w, void (*wake)(void *arg), void *arg);

/* Waits for what is under way, and ends the threads. All jobs must have been taken back. */
void disk_workers_destroy(struct disk_workers *w);

/* Returns 0, or a logged -errno if there is no thread and none can be had: then the job is still the caller's. */
int disk_workers_submit(struct disk_workers *w, struct disk_job *j);

/* Jobs that have been run since the last call, linked by `next`, in the order in which they ended; NULL = none. */
struct disk_job *disk_workers_take(struct disk_workers *w);

/* Sleeps until all that was submitted has been run. */
void disk_workers_wait(struct disk_workers *w);
