/*
 * The same scenario worked out by shadow/ alone: fetch, decode, privileged_execute(), deliver().
 */
#pragma once

#include "tests/vm/oracle.h"

#define MODEL_STORES 128u

struct model_frame {
	uint64_t gpa[6]; /* of the quadwords from RSP on, after a delivery; ~0 = not in RAM */
};

struct model {
	struct mem mem;
	struct outcome *out;
	struct cpu_state *cs;
	uint32_t cpu;
	struct model_frame frame[16]; /* of each delivery */
	uint64_t store[MODEL_STORES]; /* gpas of what was stored, a quadword each */
	unsigned int stores;
	unsigned int deliveries;
	unsigned int faults; /* deliveries of exceptions among them */
	bool stack_fault; /* #SS(0) was raised: a stack address that is not canonical */
	bool bad_target;  /* #GP(0) was raised by an IRET, far RET or SYSRET */
	bool odd_gate;	  /* an event went, or may have gone, by a gate whose selector is not the kernel's */
	bool injected;	  /* an exception was raised by an instruction that KVM emulates everywhere */
	bool nested; /* an exception was raised by the delivery of an event */
	char trace[512];
};

void model_create(struct model *m, uint32_t cpu);
uint8_t *model_ram(struct model *m);
void model_run(struct model *m, const struct scenario *s, struct outcome *out);
