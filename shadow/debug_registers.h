/*
 * The real debug registers, while a guest runs in shadow mode: its own, but for what would stop the monitor. Layout: AMD APM
 * vol. 2, 13.1.1; Intel SDM vol. 3, 17.2.
 */
#pragma once

#include <stdint.h>

struct cpu_state;
struct vcpu;

#define DR6_MET 0xfull	       /* breakpoints that were met, whether they are on or not */
#define DR6_BS (1ull << 14) /* single step */

/*
 * DR7 for the real CPU. Breakpoints at the monitor's addresses are off: the guest has nothing there that could meet them. So is
 * GD: MOV DR of ring 3 faults anyway, and is emulated by the guest's own.
 */
uint64_t debug_registers_dr7(const struct cpu_state *cs);

/* Writes all of them, DR6 as given; reads DR6. Return 0 or a logged -errno. */
int debug_registers_write(struct vcpu *v, const struct cpu_state *cs, uint64_t dr6);
int debug_registers_read_dr6(struct vcpu *v, uint64_t *dr6);
