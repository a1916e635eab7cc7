#include "guest/kernel/pic.h"

#include <stddef.h>

#include "guest/kernel/io.h"

/* Command words: Intel 8259A data sheet, "Initialization command words" and "Operation command words". */
#define MASTER_COMMAND 0x20
#define MASTER_DATA 0x21
#define SLAVE_COMMAND 0xa0
#define SLAVE_DATA 0xa1
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086 0x01
#define OCW2_EOI 0x20
#define CASCADE_LINE 2
#define LINES 16

static struct {
	uint16_t mask;
	bool ready;
	trap_handler *handlers[LINES];
} pic;

static void interrupt(struct trap_frame *frame)
{
	unsigned int line = (unsigned int)frame->vector - VECTOR_IRQ;

	/* A spurious interrupt (7 or 15) was never in service: it has no handler, and the chip wants no EOI for it. */
	if (line >= 8 && (line != 15 || pic.handlers[line] != NULL))
		outb(SLAVE_COMMAND, OCW2_EOI);
	if (line != 7 || pic.handlers[line] != NULL)
		outb(MASTER_COMMAND, OCW2_EOI);
	if (pic.handlers[line] != NULL)
		pic.handlers[line](frame);
}

void pic_init(void)
{
	static const uint8_t words[][2] = {
		{ MASTER_COMMAND, ICW1_INIT_ICW4 }, { MASTER_DATA, VECTOR_IRQ },
		{ MASTER_DATA, 1 << CASCADE_LINE }, { MASTER_DATA, ICW4_8086 },
		{ SLAVE_COMMAND, ICW1_INIT_ICW4 },  { SLAVE_DATA, VECTOR_IRQ + 8 },
		{ SLAVE_DATA, CASCADE_LINE },       { SLAVE_DATA, ICW4_8086 },
	};

	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		outb(words[i][0], words[i][1]);
	for (unsigned int line = 0; line < LINES; line++)
		trap_set(VECTOR_IRQ + line, interrupt);
	pic.mask = 0xffff & ~(1u << CASCADE_LINE);
	outb(MASTER_DATA, (uint8_t)pic.mask);
	outb(SLAVE_DATA, (uint8_t)(pic.mask >> 8));
	pic.ready = true;
}

void pic_enable(unsigned int line, trap_handler *handler)
{
	if (!pic.ready)
		pic_init();
	pic.handlers[line] = handler;
	pic.mask &= (uint16_t)~(1u << line);
	outb(line < 8 ? MASTER_DATA : SLAVE_DATA, (uint8_t)(line < 8 ? pic.mask : pic.mask >> 8));
}
