/* Operations of ring 0 on the processor itself: privileged instructions, ports, faults, computing. */
#include "guest/images/mmucost.h"

#include <stddef.h>

#include "guest/abi.h"
#include "guest/kernel/io.h"
#include "guest/kernel/probe.h"
#include "guest/lib/lcg.h"

#define COMPUTE_STEPS 1000u
#define CR0_TS 0x8u
#define PORT_VALUE 0x5ca7u

static struct {
	uint64_t cr0;
	uint64_t good; /* operations that had their effect */
	uint64_t state;
} cpu;

static uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value) : : "memory");
	return value;
}

static void write_cr0(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr0" : : "r"(value) : "memory");
}

static bool all_good(uint64_t count)
{
	return cpu.good == count;
}

static void nothing(uint64_t count)
{
}

static void set_up_privileged(uint64_t count)
{
	cpu.cr0 = read_cr0();
}

static void privileged(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		cpu.good += read_cr0() == cpu.cr0;
}

/* CR0.TS changes every time, as when a kernel leaves the FPU to its next user. */
static void write_cr(uint64_t count)
{
	uint64_t value = cpu.cr0;

	for (uint64_t i = 0; i < count; i++) {
		value ^= CR0_TS;
		write_cr0(value);
	}
}

static void set_up_write_cr(uint64_t count)
{
	cpu.cr0 = read_cr0();
	write_cr(2);
}

static bool cr_is_right(uint64_t count)
{
	return read_cr0() == (cpu.cr0 ^ (count % 2 ? CR0_TS : 0));
}

static void port_in(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		cpu.good += inl(ABI_PORT_COUNTER) == PORT_VALUE + i;
}

static void set_up_port(uint64_t count)
{
	inl(ABI_PORT_COUNTER);
	outl(ABI_PORT_COUNTER, PORT_VALUE);
}

/* Through the whole exception: the handler looks up where to go on. */
static void fault(uint64_t count)
{
	uint8_t value;

	for (uint64_t i = 0; i < count; i++)
		cpu.good += !probe_read(MMUCOST_NOWHERE, &value);
}

static void set_up_fault(uint64_t count)
{
	entry_at(read_cr3(), MMUCOST_NOWHERE, 1);
	fault(1);
	cpu.good = 0;
}

static void compute(uint64_t count)
{
	uint64_t state = 1;

	for (uint64_t i = 0; i < count * COMPUTE_STEPS; i++) {
		state = lcg_next(state);
		__asm__ volatile("" : "+r"(state));
	}
	cpu.state = state;
}

static void set_up_compute(uint64_t count)
{
	cpu.state = 0;
}

static bool compute_is_right(uint64_t count)
{
	return cpu.state == lcg_after(1, count * COMPUTE_STEPS);
}

const struct operation cpu_operations[] = {
	{ "kernel-nothing", NULL, nothing, NULL },
	{ "privileged", set_up_privileged, privileged, all_good },
	{ "cr0-write", set_up_write_cr, write_cr, cr_is_right },
	{ "port-in", set_up_port, port_in, all_good },
	{ "kernel-fault", set_up_fault, fault, all_good },
	{ "kernel-compute", set_up_compute, compute, compute_is_right },
	{ NULL, NULL, NULL, NULL },
};
