#include "tests/bench/busy_threads.h"

#include <err.h>
#include <stdint.h>

#include "vmm/mem.h"

#define PAGES 16u
#define WORDS (PAGES * PAGE_SIZE / sizeof(uint64_t))

static void *rewrite(void *arg)
{
	struct busy_threads *b = arg;
	volatile uint64_t word[WORDS] = {0};

	while (!atomic_load(&b->stop)) {
		for (unsigned int i = 0; i < WORDS; i++)
			word[i] += i;
	}
	return NULL;
}

void busy_threads_start(struct busy_threads *b)
{
	atomic_store(&b->stop, false);
	for (unsigned int i = 0; i < YARDSTICK_GUESTS; i++)
		if (pthread_create(&b->thread[i], NULL, rewrite, b))
			errx(1, "no thread can be had");
}

void busy_threads_stop(struct busy_threads *b)
{
	atomic_store(&b->stop, true);
	for (unsigned int i = 0; i < YARDSTICK_GUESTS; i++)
		pthread_join(b->thread[i], NULL);
}
