/* The 8259 pair: interrupt lines 0 to 15 arrive at vectors VECTOR_IRQ to VECTOR_IRQ + 15. */
#pragma once

#include "guest/kernel/trap.h"

#define IRQ_TIMER 0
#define IRQ_CONSOLE 4

/* Puts both chips into a known state, all lines masked. May be called again. */
void pic_init(void);
/* Lets `line` interrupt: `handler` is called, the end of interrupt is signalled before it. */
void pic_enable(unsigned int line, trap_handler *handler);
