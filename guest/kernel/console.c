#include "guest/kernel/console.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/io.h"
#include "guest/kernel/pic.h"
#include "guest/lib/format.h"

/* Registers and bits: National Semiconductor PC16550D, section 8. */
#define UART 0x3f8
#define UART_DATA (UART + 0)
#define UART_IER (UART + 1)
#define UART_FCR (UART + 2)
#define UART_MCR (UART + 4)
#define UART_LSR (UART + 5)
#define IER_RECEIVE 0x01
#define FCR_ENABLE 0x01
#define MCR_DTR_RTS_OUT2 0x0b /* RTS: send now; OUT2 gates the interrupt line of a PC */
#define LSR_DATA 0x01
#define LSR_THRE 0x20
#define FIFO_DEPTH 16u
#define RING_SIZE 256u

static struct {
	char ring[RING_SIZE];
	unsigned int put; /* both only grow: put - taken bytes wait */
	unsigned int taken;
	bool stopped; /* the ring was full: the rest stays in the UART, which holds back who sends */
	void (*woken)(void);
} input;

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

static void receive(void)
{
	while (input.put - input.taken < RING_SIZE && (inb(UART_LSR) & LSR_DATA))
		input.ring[input.put++ % RING_SIZE] = (char)inb(UART_DATA);
	if (input.put - input.taken == RING_SIZE) {
		outb(UART_IER, 0);
		input.stopped = true;
	}
}

static void console_interrupt(struct trap_frame *frame)
{
	receive();
	input.woken();
}

void console_input_start(void (*woken)(void))
{
	input.woken = woken;
	pic_enable(IRQ_CONSOLE, console_interrupt);
	outb(UART_IER, IER_RECEIVE);
	outb(UART_MCR, MCR_DTR_RTS_OUT2);
}

size_t console_read(char *to, size_t size)
{
	size_t count = 0;

	while (count < size && input.taken != input.put)
		to[count++] = input.ring[input.taken++ % RING_SIZE];
	if (input.stopped && count > 0) {
		input.stopped = false;
		outb(UART_IER, IER_RECEIVE);
	}
	return count;
}
