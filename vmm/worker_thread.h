/*
 * Threads beside the vCPUs', for which no signal is: the program's own go to who waits for them, kicks to vCPUs. A worker that
 * is interrupted would have nobody to tell.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts one with a stack of so many bytes; of one that is detached *thread means nothing. Returns 0 or -errno, not logged. */
int worker_thread_start(pthread_t *thread, size_t stack, bool detached, void *(*run)(void *), void *arg);
