/*
 * The benchmarks: each takes the settings and adds its lines to the report. A benchmark that cannot
 * measure ends the program with one line on stderr and exit code 1: a number that is not
 * trustworthy is worse than none.
 */
#pragma once

#include <stddef.h>

struct report;

struct bench {
	const char *penumbra, *bare; /* programs to compare */
	const char *penumbra_timed, *bare_timed; /* with a clock around KVM_RUN (timed_run.c) */
	const char *hello, *solo5, *ports, *idle, *mmucost, *disk, *memory, *clock; /* guest images */
	unsigned int runs;		  /* of a pair of launches */
	unsigned int mib;		  /* of RAM that a guest has which is saved */
};

void bench_launch(const struct bench *b, struct report *r);
void bench_port_exit(const struct bench *b, struct report *r);
void bench_memory(const struct bench *b, struct report *r);
void bench_density(const struct bench *b, struct report *r);
void bench_shadow(const struct bench *b, struct report *r);
void bench_solo5(const struct bench *b, struct report *r);
void bench_disk(const struct bench *b, struct report *r);
void bench_disk_guest(const struct bench *b, struct report *r);
void bench_fault(const struct bench *b, struct report *r);
void bench_snapshot(const struct bench *b, struct report *r);
void bench_checkpoint(const struct bench *b, struct report *r);
void bench_clone(const struct bench *b, struct report *r);
void bench_scavenger(const struct bench *b, struct report *r);
void bench_ksm(const struct bench *b, struct report *r);
void bench_recording(const struct bench *b, struct report *r);
void bench_reverse(const struct bench *b, struct report *r);

/* calloc() that does not fail. */
void *bench_alloc(size_t n, size_t size);
