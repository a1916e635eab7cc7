#include "vmm/abi_device.h"

#include <string.h>

#include "vmm/clock.h"
#include "vmm/state.h"

#define PORTS_BASE ABI_PORT_EXIT
#define PORTS_SIZE (ABI_PORT_COUNTER + 4 - PORTS_BASE)

enum { RANGE_PORTS, RANGE_WINDOW };
enum { REG_EXIT, REG_CLOCK, REG_CLOCK_HI, REG_SCRATCH, REG_COUNTER };

static uint32_t read_register(struct abi_device *d, unsigned int reg, unsigned int offset)
{
	switch (reg) {
	case REG_CLOCK:
		if (offset == 0)
			d->latched = clock_now(d->clock);
		return (uint32_t)d->latched;
	case REG_CLOCK_HI:
		return (uint32_t)(d->latched >> 32);
	case REG_SCRATCH:
		return d->scratch;
	case REG_COUNTER:
		return d->counter++;
	default:
		return UINT32_MAX;
	}
}

static void read_ports(struct abi_device *d, struct access *a)
{
	unsigned int offset = a->addr % 4;
	uint64_t value = 0xffffffff00000000ull | read_register(d, (unsigned int)a->addr / 4, offset);

	value >>= 8 * offset;
	a->value = a->size < 4 ? value & ((1ull << (8 * a->size)) - 1) : value & UINT32_MAX;
}

/* The bytes of a register that a write covers. */
static uint32_t merge(uint32_t old, unsigned int offset, unsigned int size, uint32_t value)
{
	uint32_t mask = size < 4 ? (1u << (8 * size)) - 1 : UINT32_MAX;

	return (old & ~(mask << (8 * offset))) | (value & mask) << (8 * offset);
}

static void write_ports(struct abi_device *d, const struct access *a)
{
	unsigned int reg = (unsigned int)a->addr / 4, offset = a->addr % 4;
	uint32_t value = (uint32_t)a->value;

	if (reg == REG_SCRATCH)
		d->scratch = merge(d->scratch, offset, a->size, value);
	else if (reg == REG_COUNTER && offset == 0)
		d->counter = value;
	else if (reg == REG_EXIT && offset == 0)
		d->ended(d->ended_arg, (uint8_t)value);
}

static void access_window(struct abi_device *d, struct access *a)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < a->size; i++) {
		uint8_t *byte = &d->window[(a->addr + i) % ABI_SCRATCH_BYTES];

		if (a->kind == ACCESS_MMIO_WRITE)
			*byte = (uint8_t)(a->value >> (8 * i));
		value |= (uint64_t)*byte << (8 * i);
	}
	a->value = value;
}

static void abi_access(struct device *device, unsigned int range, struct access *a)
{
	struct abi_device *d = (struct abi_device *)device;

	if (range == RANGE_WINDOW)
		access_window(d, a);
	else if (access_is_read(a->kind))
		read_ports(d, a);
	else
		write_ports(d, a);
}

static bool abi_timed(const struct device *d, unsigned int range, uint64_t offset)
{
	return range == RANGE_PORTS && offset / 4 == REG_CLOCK;
}

static void abi_reset(struct device *device)
{
	struct abi_device *d = (struct abi_device *)device;

	d->latched = 0;
	d->scratch = d->counter = 0;
	memset(d->window, 0, sizeof(d->window));
}

static void abi_visit(struct device *device, struct state *s)
{
	struct abi_device *d = (struct abi_device *)device;

	state_begin(s, "abi", 1);
	state_u64(s, &d->latched);
	state_u32(s, &d->scratch);
	state_u32(s, &d->counter);
	state_bytes(s, d->window, sizeof(d->window));
	state_end(s);
}

void abi_device_init(struct abi_device *d, struct bus *b, const struct clock *clock,
		     void (*ended)(void *arg, uint8_t code), void *arg)
{
	*d = (struct abi_device){
		.device = { .name = "abi", .timed = abi_timed, .access = abi_access, .reset = abi_reset, .visit = abi_visit },
		.clock = clock,
		.ended = ended,
		.ended_arg = arg,
	};
	bus_add(b, &d->device);
	bus_claim(b, &d->device, BUS_PORT, PORTS_BASE, PORTS_SIZE, RANGE_PORTS);
	bus_claim(b, &d->device, BUS_MMIO, ABI_MMIO_SCRATCH, ABI_MMIO_SCRATCH_SIZE, RANGE_WINDOW);
}
