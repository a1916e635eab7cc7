/*
 * A 16550A serial port at ports 0x3f8-0x3ff: the guest's console.
 *
 * Source: National Semiconductor PC16550D data sheet (TL/C/8652), section 8.
 *
 * Transmission takes no time, so the transmitter is always empty, and a character timeout is reported at once when fewer
 * characters wait than the trigger level asks for. The modem lines say "connected and ready".
 * As on a PC, interrupts reach the controller only while MCR.OUT2 is set.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/irq.h"

#define UART_FIFO_SIZE 16u

struct uart16550 {
	struct device device;
	struct irq_line irq;
	void (*put)(void *arg, uint8_t byte);
	void *put_arg;

	uint8_t fifo[UART_FIFO_SIZE]; /* received characters, oldest at `first` */
	uint8_t first, count;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	uint8_t trigger;    /* characters that raise "data available": 1, 4, 8, 14 */
	uint8_t modem_delta; /* MSR bits 3:0 */
	uint8_t rbr;	    /* what an empty receiver reads: the last character read */
	bool fifo_enabled;
	bool overrun;
	bool thre_pending; /* the transmitter became empty and nobody was told */
};

/* Reset, on the bus. `put` gets every byte that the guest sends, on the vCPU's thread. */
void uart_init(struct uart16550 *u, struct bus *b, struct irq_line irq, void (*put)(void *arg, uint8_t byte), void *put_arg);

/*
 * How many bytes from outside fit now. It grows only when the guest touches the device. None in loopback mode, and none
 * until the guest raises RTS: enabling the FIFO clears it, so what came before the guest was ready would be lost.
 */
size_t uart_room(const struct uart16550 *u);

/* Receives bytes from outside, as many as fit; returns how many that were. The caller announces them (access.h). */
size_t uart_receive(struct uart16550 *u, const uint8_t *bytes, size_t size);
