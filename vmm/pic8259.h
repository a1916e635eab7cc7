/*
 * Two cascaded 8259A interrupt controllers as in a PC: master at ports 0x20-0x21, slave at 0xa0-0xa1 on the master's
 * input 2, edge/level registers (ELCR) at 0x4d0-0x4d1.
 *
 * Source: Intel 8259A data sheet (231468), "Programming the 8259A"; ELCR: Intel 82371AB (PIIX4) data sheet, 7.1.3.
 *
 * In edge mode a request is a rising edge whose line is still high: an input that falls before the acknowledge takes its
 * request back, as the data sheet says. The cascade input follows the slave's output as a level. Until a chip has been
 * given its whole initialization sequence it requests nothing (a PC's firmware would have done that).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"

/* What the next byte to the odd port means. */
enum pic_expect { PIC_OCW1, PIC_ICW2, PIC_ICW3, PIC_ICW4 };

struct pic_chip {
	uint8_t lines;	/* level of the eight inputs */
	uint8_t edges;	/* rising edges not yet acknowledged; a subset of lines */
	uint8_t imr;	/* masked inputs */
	uint8_t isr;	/* in service */
	uint8_t elcr;	/* level-triggered inputs */
	uint8_t base;	/* vector of input 0; a multiple of 8 */
	uint8_t icw3;	/* master: inputs with a slave; slave: its number */
	uint8_t lowest; /* input of lowest priority, 0..7 */
	uint8_t expect; /* enum pic_expect */
	bool ready;	/* initialized */
	bool single;	/* ICW1.SNGL: no cascade, no ICW3 */
	bool need_icw4; /* ICW1.IC4 */
	bool all_level; /* ICW1.LTIM */
	bool auto_eoi;
	bool auto_rotate;
	bool nested_special; /* ICW4.SFNM: a slave's input may interrupt itself */
	bool special_mask;
	bool read_isr; /* the even port reads ISR, not IRR */
	bool poll;     /* the next read is an acknowledge */
};

struct pic8259 {
	struct device device;
	struct pic_chip chip[2]; /* master, slave */
	bool intr;		 /* output to the CPU: recomputed at every change */
};

/* Reset, on the bus, all inputs low. */
void pic_init(struct pic8259 *p, struct bus *b);

/* Sets input n (0..15 without 2) of the struct pic8259 behind `pic`; fits struct irq_line. */
void pic_set_irq(void *pic, unsigned int n, bool level);

/* The INTR output: an interrupt waits for the CPU. */
static inline bool pic_pending(const struct pic8259 *p)
{
	return p->intr;
}

/* The CPU's acknowledge cycle. Returns the vector: the spurious one (input 7) if nothing requests any more. */
uint8_t pic_acknowledge(struct pic8259 *p);
