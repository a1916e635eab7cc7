#include "vmm/watchdog.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "vmm/log.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (64u << 10)
#define NS_PER_S 1000000000ull

/* No VM owns it: its thread belongs to all of them. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct watchdog_entry *entries;
	bool running; /* a thread looks, or is about to see that there is nothing to look at */
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

uint64_t watchdog_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Looks at what is due; returns when the next thing is. */
static uint64_t look_at_all(void)
{
	uint64_t now = watchdog_now(), next = UINT64_MAX;

	for (struct watchdog_entry *e = dog.entries; e; e = e->next) {
		if (e->due_ns <= now) {
			e->look(e);
			e->due_ns = now + e->period_ns;
		}
		next = e->due_ns < next ? e->due_ns : next;
	}
	return next;
}

static void sleep_until(uint64_t end)
{
	struct timespec until = {.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};

	pthread_cond_clockwait(&dog.changed, &dog.lock, CLOCK_MONOTONIC, &until);
}

static void *watch(void *arg)
{
	pthread_mutex_lock(&dog.lock);
	while (dog.entries)
		sleep_until(look_at_all());
	dog.running = false;
	pthread_mutex_unlock(&dog.lock);
	return NULL;
}

/* Detached: it may be its own last act that it is no longer needed, and who would join it then? */
static int start_thread(void)
{
	pthread_t thread;
	int r = worker_thread_start(&thread, STACK_BYTES, true, watch, NULL);

	return r < 0 ? log_errno(-r, "the watchdog's thread") : 0;
}

int watchdog_add(struct watchdog_entry *e)
{
	int r = 0;

	pthread_mutex_lock(&dog.lock);
	e->due_ns = watchdog_now() + e->period_ns;
	e->next = dog.entries;
	dog.entries = e;
	if (!dog.running)
		r = start_thread();
	if (r < 0)
		dog.entries = e->next;
	else
		dog.running = true;
	pthread_cond_signal(&dog.changed);
	pthread_mutex_unlock(&dog.lock);
	return r;
}

void watchdog_remove(struct watchdog_entry *e)
{
	pthread_mutex_lock(&dog.lock);
	for (struct watchdog_entry **at = &dog.entries; *at; at = &(*at)->next) {
		if (*at == e) {
			*at = e->next;
			break;
		}
	}
	pthread_cond_signal(&dog.changed);
	pthread_mutex_unlock(&dog.lock);
}
