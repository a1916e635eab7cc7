/* The machine as a whole: how it was booted, its clock, and its end. */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/abi.h"

#define EXIT_USAGE 2
#define EXIT_INIT_DIED 98 /* the first process was killed by an exception */
#define EXIT_PANIC 99

/* What the VMM told us; valid while the guest runs. */
const struct abi_boot *machine_boot(void);
/* Nanoseconds since boot by the guest's clock. */
uint64_t machine_clock(void);
/* Ends the guest with exit code `code` (bits 7:0). */
noreturn void machine_exit(int code);
/* One line on the console, then the end with EXIT_PANIC: the kernel cannot go on. */
noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One usage line on the console, then the end with EXIT_USAGE. */
noreturn void machine_usage(const char *usage);

/* What an image defines: runs it with the arguments of its command line; the result is the exit code. */
int image_main(const char *args);
