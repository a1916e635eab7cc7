/*
 * What a feature does for a guest as long as it runs (`run --checkpoint`). main.c says whether there is such a feature.
 */
#pragma once

struct vm;

struct keeper {
	/* The guest runs already, on its own thread. Returns 0 or a logged -errno. */
	int (*start)(void **k, struct vm *vm, const char *directory, unsigned int every_ms);

	/* The guest has ended and its thread is gone, but the VM is there. */
	void (*stop)(void *k);
};
