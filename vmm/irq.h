/*
 * An interrupt request line: what a device knows of the interrupt controller it is wired to.
 */
#pragma once

#include <stdbool.h>

struct irq_line {
	void (*set)(void *controller, unsigned int n, bool level);
	void *controller;
	unsigned int n; /* 0..15: input of the 8259 pair */
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	line->set(line->controller, line->n, level);
}
