/*
 * One privileged instruction at a time on the guest of shadow_kernel.h: for tests that say what comes out.
 */
#pragma once

#include "shadow/privileged.h"
#include "tests/unit/shadow_kernel.h"

#define EXECUTE_MAX 10

struct execute {
	struct guest guest;
	struct privileged p;
	struct trap trap;
	struct access port[GUEST_LOG]; /* accesses of ports, in order */
	unsigned int ports;
	unsigned int end_at; /* the port access that ends the VM, from 1; 0 = none */
	uint64_t tsc;
};

/* A good guest in ring cpl, with everything to be set by the test. */
void execute_start(struct execute *e, unsigned int cpl);
void execute_end(struct execute *e);

/* Executes the bytes at RIP. */
enum insn_result execute_bytes(struct execute *e, const uint8_t *bytes, unsigned int size);

#define EXECUTE(e, ...) execute_bytes(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* What an IN of this port answers. */
uint64_t execute_port_value(uint64_t port, unsigned int n, unsigned int size);

/* Five words for IRET on the guest's stack, RFLAGS with nothing set. */
void execute_put_frame(struct execute *e, uint64_t rip, uint16_t cs, uint64_t rsp, uint16_t ss);

/* The state of a test that calls its machine `e`. */
#define CS (e.guest.cs)
#define RAX CS.gpr[CPU_RAX]
#define RBX CS.gpr[CPU_RBX]
#define RCX CS.gpr[CPU_RCX]
#define RDX CS.gpr[CPU_RDX]
#define RSP CS.gpr[CPU_RSP]
