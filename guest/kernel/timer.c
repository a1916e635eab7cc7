#include "guest/kernel/timer.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/pic.h"

/* Intel 8254 data sheet, "Control word format". */
#define PIT_CHANNEL0 0x40
#define PIT_CONTROL 0x43
#define CONTROL_CHANNEL0_LOHI_RATE 0x34 /* mode 2: one pulse every `reload` counts */

static struct {
	uint64_t ticks;
	unsigned int hz;
	void (*tick)(void);
} timer;

static void timer_interrupt(struct trap_frame *frame)
{
	timer.ticks++;
	if (timer.tick != NULL)
		timer.tick();
}

void timer_start(unsigned int hz, void (*tick)(void))
{
	unsigned int reload = (TIMER_INPUT_HZ + hz / 2) / hz;

	timer.hz = hz;
	timer.tick = tick;
	outb(PIT_CONTROL, CONTROL_CHANNEL0_LOHI_RATE);
	outb(PIT_CHANNEL0, (uint8_t)reload);
	outb(PIT_CHANNEL0, (uint8_t)(reload >> 8));
	pic_enable(IRQ_TIMER, timer_interrupt);
}

uint64_t timer_ticks(void)
{
	return timer.ticks;
}

unsigned int timer_hz(void)
{
	return timer.hz;
}
