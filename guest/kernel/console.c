#include "guest/kernel/console.h"

#include <stdarg.h>
#include <stdint.h>

#include "guest/kernel/io.h"
#include "guest/lib/format.h"

/* Registers and bits: National Semiconductor PC16550D, section 8. */
#define UART 0x3f8
#define UART_DATA (UART + 0)
#define UART_FCR (UART + 2)
#define UART_LSR (UART + 5)
#define FCR_ENABLE 0x01
#define LSR_THRE 0x20
#define FIFO_DEPTH 16u

void console_init(void)
{
	outb(UART_FCR, FCR_ENABLE);
}

void console_write(const char *text, size_t size)
{
	while (size > 0) {
		size_t chunk = size < FIFO_DEPTH ? size : FIFO_DEPTH;

		while (!(inb(UART_LSR) & LSR_THRE))
			;
		outsb(UART_DATA, text, chunk);
		text += chunk;
		size -= chunk;
	}
}

void kprintf(const char *fmt, ...)
{
	char line[256];
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = format(line, sizeof(line), fmt, args);
	va_end(args);
	console_write(line, length);
}
