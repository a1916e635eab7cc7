/*
 * What a Solo5 unikernel with a disk and a network needs from a test: a file, and a pair of sockets that keep frames apart and stands for
 * the TAP interface. Failures are the test's.
 */
#pragma once

#include <stddef.h>

#define SECTOR 512u
#define NET_FD 60 /* in the program */
#define FRAME_MAX 1514

struct bench {
	char disk[40];
	int net; /* the test's end, -1 = closed */
};

void make_bench(struct bench *b, size_t bytes);

/* After the program was started: the test keeps no end of its. */
void give_away(void);
void leave_bench(struct bench *b);

/* `run` with the devices, options and words of the guest; the caller frees it. */
char *line_of(const struct bench *b, const char *options, const char *words);

/* A frame there, and, turned around, back. */
void exchange(const struct bench *b, unsigned int number, size_t size);
