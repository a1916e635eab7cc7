/*
 * The ports and the MMIO scratch window of guest/abi.h.
 *
 * A port access belongs to the register that holds its first byte. A narrow or unaligned read sees the bytes of that
 * register from there on; bytes past its end read as ones, writes to them are dropped. Byte 0 of CLOCK latches all 64
 * bits of the time, the other bytes of CLOCK and CLOCK_HI show what was latched. A write to SCRATCH changes the bytes it
 * covers; a write to COUNTER at its first byte sets it whole, whatever its size, and one elsewhere in it is dropped; EXIT
 * takes a write of any size at its first byte. Reading EXIT gives ones.
 */
#pragma once

#include <stdint.h>

#include "guest/abi.h"
#include "vmm/bus.h"

struct clock;

struct abi_device {
	struct device device;
	const struct clock *clock;
	void (*ended)(void *arg, uint8_t code);
	void *ended_arg;

	uint64_t latched; /* ns: what CLOCK and CLOCK_HI show */
	uint32_t scratch;
	uint32_t counter;
	uint8_t window[ABI_SCRATCH_BYTES];
};

/* Reset, on the bus. `ended` is called on the vCPU's thread when the guest writes its exit code. */
void abi_device_init(struct abi_device *d, struct bus *b, const struct clock *clock,
		     void (*ended)(void *arg, uint8_t code), void *arg);
