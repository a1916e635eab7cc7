/*
 * The console: a 16550 at 0x3f8. Output waits for the transmitter (once for every 16 bytes, the depth of its FIFO);
 * input arrives by interrupt into a ring buffer once console_input_start() was called.
 */
#pragma once

#include <stddef.h>

/* Call before any output. */
void console_init(void);
void console_write(const char *text, size_t size);
/* Formats like format() (guest/lib/format.h); at most 255 bytes come out. */
void kprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Unmasks the receive interrupt; `woken` is called from the interrupt handler when bytes have come in. */
void console_input_start(void (*woken)(void));
/* Takes up to `size` bytes that have come in, returns how many; 0 = none yet. */
size_t console_read(char *to, size_t size);
