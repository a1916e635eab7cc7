/*
 * The real CPU as an oracle: a scenario run by KVM, with nothing of ours between the guest and KVM but the accesses to
 * devices and ports, which are written down.
 */
#pragma once

#include "tests/vm/scenario.h"
#include "vmm/access.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

#define OUTCOME_ACCESSES 64

enum outcome_end {
	OUTCOME_STORE,	  /* to the device page */
	OUTCOME_HALTED,
	OUTCOME_SHUTDOWN, /* triple fault */
	OUTCOME_REFUSED,  /* KVM cannot execute it */
	OUTCOME_ENDLESS,
	OUTCOME_UNKNOWN,  /* model: not in its repertoire */
};

/* What became of a scenario. */
struct outcome {
	enum outcome_end end;
	struct cpu_state cs;
	struct access access[OUTCOME_ACCESSES];
	unsigned int accesses;
};

struct oracle {
	struct kvm kvm;
	struct vm vm;
	bool nested; /* the host has nested paging */
};

/* Exits with 77 where there is no KVM. */
void oracle_create(struct oracle *o);

/* RAM of the guest, SCENARIO_RAM bytes. */
uint8_t *oracle_ram(struct oracle *o);

/* Runs the state on what is in RAM. */
void oracle_run(struct oracle *o, const struct scenario *s, struct outcome *out);

/* Writes an access down, and answers it if it is a read. Returns false when there is no room for more. */
bool outcome_access(struct outcome *out, struct access *a);
