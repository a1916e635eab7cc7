/*
 * Delivery of an exception or interrupt through the guest's own IDT, TSS and IST, as a 64-bit CPU does it (AMD APM vol. 2,
 * 8.9; Intel SDM vol. 3, 6.14), worked out on struct cpu_state and guest memory alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/gmem.h"
#include "shadow/insn.h"

enum deliver_source {
	DELIVER_FAULT,	   /* an exception: contributory rules and double faults apply */
	DELIVER_INTERRUPT, /* from the interrupt controller */
	DELIVER_SOFTWARE,  /* INT n, INT3, INTO: the gate's DPL is checked; RIP is past the instruction on success */
};

enum deliver_result {
	DELIVER_DONE,	  /* cs stands at the handler's first instruction */
	DELIVER_SHUTDOWN, /* triple fault */
	DELIVER_ENDED,	  /* the VM ended meanwhile (a device was touched) */
};

/*
 * Delivers `trap`. A fault on the way becomes, by the contributory table, the next event to deliver: the second exception
 * itself, a double fault, or shutdown. `length`: bytes of the software interrupt instruction, else 0. CR2 is set for page
 * faults. Interrupt gates clear IF; TF, NT, RF, VM are cleared; RF is pushed set for faults.
 */
enum deliver_result deliver(struct gmem *g, const struct trap *trap, enum deliver_source source, uint8_t length);
