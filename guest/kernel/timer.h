/* Time by interrupts: channel 0 of the 8254, which counts 1,193,182 times a second. */
#pragma once

#include <stdint.h>

#define TIMER_INPUT_HZ 1193182u
#define TIMER_MIN_HZ 19u /* below, the 16-bit counter is too short */
#define TIMER_MAX_HZ 1000u /* a host that interprets ring 0 needs some 0.1 ms for one */

/* Programs `hz` interrupts a second (again, if need be) (TIMER_MIN_HZ to TIMER_MAX_HZ) and calls `tick` (may be NULL) at each. */
void timer_start(unsigned int hz, void (*tick)(void));
/* How many have arrived. */
uint64_t timer_ticks(void);
/* The rate that was asked for; 0 before timer_start(). */
unsigned int timer_hz(void);
