/* Threads that work as the vCPUs of the yardstick's guests do, beside what is measured without them: each rewrites a few pages for ever. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/bench/yardstick.h"

struct busy_threads {
	pthread_t thread[YARDSTICK_GUESTS];
	_Atomic bool stop;
};

void busy_threads_start(struct busy_threads *b);
void busy_threads_stop(struct busy_threads *b);
