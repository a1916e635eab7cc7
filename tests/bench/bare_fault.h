/* The least that can be done about a fault: a thread that polls a userfaultfd, reads what it says and answers it. */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "vmm/latency.h"

struct bare_faults {
	uint8_t *ram;
	const uint8_t *source; /* what absent pages are brought from */
	uint8_t *saved;	       /* what protected ones are copied to, before they are written */
	uint64_t size;
	int fd, stop[2];
	pthread_t thread;
	struct latency answer; /* from a fault having been read to its answer */
};

/* For RAM of so many bytes, absent; source and saved are the caller's. What fails ends the benchmark. */
void bare_faults_start(struct bare_faults *b, uint64_t size, const uint8_t *source, uint8_t *saved);
void bare_faults_stop(struct bare_faults *b);
