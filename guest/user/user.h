/*
 * The library of user programs. A program is a function `int NAME_main(int argc, char **argv)`; what it returns is its
 * exit code, argv[0] its name. It runs in ring 3, without SSE, in an address space of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/lib/syscalls.h"

#define PAGE_SIZE 4096ull
#define END_OF_INPUT 0x04 /* what a console sends for ^D */

static inline long syscall(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $4" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "memory");
	return result;
}

noreturn void exit(int code);
void write(const char *text, size_t size);
/* To the console, at most 255 bytes; see guest/lib/format.h. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One line on the console, then the end with exit code 2. */
noreturn void usage(const char *text);

/* The next byte of the console; waits for it. */
int read_byte(void);
/*
 * The next line, without its end, cut to size - 1 bytes. With `echo`, typed characters are shown and can be erased, as
 * people at a terminal expect. False when ^D arrived instead.
 */
bool read_line(char *to, size_t size, bool echo);

/* Fresh zero pages, which stay; `now` = mapped at once, not at the first touch. Ends the program if there are none. */
void *grow(size_t pages, bool now);
/* Gives back the last so many pages of the heap: those that grow() and alias() returned last. False: it has fewer. */
bool shrink(size_t pages);
/* The same pages of the heap at a second place, in both directions until a fork. Ends the program if that cannot be. */
void *alias(void *gva, size_t pages);
/* Memory that stays, zero, 16-byte aligned. */
void *allocate(size_t size);

/* See guest/lib/syscalls.h for what these return. */
int fork(void);
int spawn(const char *line);
int exec(const char *line);
int wait(int *status);
/* Runs `body(arg)` as a thread, which ends when it returns. */
int thread(void (*body)(void *arg), void *arg);
void yield(void);
void sleep_ticks(uint64_t ticks);
uint64_t clock_ns(void);
uint64_t ticks_now(void);
bool set_timer(uint64_t hz);
uint64_t guest_number(void);
struct syscall_stats stats(void);
