#include "vmm/bus.h"

#include <string.h>

#include "vmm/ensure.h"
#include "vmm/state.h"

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
}

void bus_add(struct bus *b, struct device *d)
{
	ensure(b->device_count < BUS_MAX_DEVICES);
	b->devices[b->device_count++] = d;
}

static bool ranges_overlap(const struct bus_range *a, const struct bus_range *b)
{
	return a->space == b->space && a->base <= b->base + (b->size - 1) && b->base <= a->base + (a->size - 1);
}

void bus_claim(struct bus *b, struct device *d, enum bus_space space, uint64_t base, uint64_t size, unsigned int range)
{
	const struct bus_range new = { .space = space, .base = base, .size = size, .device = d, .range = range };

	ensure(size && base + (size - 1) >= base);
	ensure(space != BUS_PORT || base + (size - 1) <= UINT16_MAX);
	ensure(b->range_count < BUS_MAX_RANGES);
	for (unsigned int i = 0; i < b->range_count; i++)
		ensure(!ranges_overlap(&b->ranges[i], &new));
	b->ranges[b->range_count++] = new;
}

const struct bus_range *bus_find(const struct bus *b, enum bus_space space, uint64_t addr, uint64_t size)
{
	for (const struct bus_range *r = b->ranges; r < b->ranges + b->range_count; r++) {
		if (r->space != space || addr - r->base >= r->size)
			continue;
		return size && size <= r->size - (addr - r->base) ? r : NULL;
	}
	return NULL;
}

static void access_range(const struct bus_range *r, struct access *a)
{
	uint64_t addr = a->addr;

	a->addr -= r->base;
	r->device->access(r->device, r->range, a);
	a->addr = addr;
}

/* What ISA does with an access wider than what answers: one byte after the other, from the lowest address on. */
static void access_bytes(struct bus *b, enum bus_space space, struct access *a)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < a->size; i++) {
		struct access byte = { .kind = a->kind, .size = 1, .addr = a->addr + i };
		const struct bus_range *r = bus_find(b, space, byte.addr, 1);

		byte.value = access_is_read(a->kind) ? 0xff : (a->value >> (8 * i)) & 0xff;
		if (r)
			access_range(r, &byte);
		value |= (byte.value & 0xff) << (8 * i);
	}
	if (access_is_read(a->kind))
		a->value = value;
}

static enum bus_space space_of(const struct access *a)
{
	return a->kind == ACCESS_PORT_READ || a->kind == ACCESS_PORT_WRITE ? BUS_PORT : BUS_MMIO;
}

bool bus_is_timed(const struct bus *b, const struct access *a)
{
	for (uint64_t addr = a->addr; addr < a->addr + a->size; addr++) {
		const struct bus_range *r = bus_find(b, space_of(a), addr, 1);

		if (r && r->device->timed && r->device->timed(r->device, r->range, addr - r->base))
			return true;
	}
	return false;
}

void bus_access(struct bus *b, struct access *a)
{
	enum bus_space space = space_of(a);
	const struct bus_range *r = bus_find(b, space, a->addr, a->size);

	ensure(a->kind != ACCESS_HLT && a->size >= 1 && a->size <= 8);
	if (r && (a->size == 1 || !r->device->byte_wide))
		access_range(r, a);
	else if (a->size > 1)
		access_bytes(b, space, a);
	else if (access_is_read(a->kind))
		a->value = 0xff;
}

void bus_reset(struct bus *b)
{
	for (unsigned int i = 0; i < b->device_count; i++)
		b->devices[i]->reset(b->devices[i]);
}

void bus_visit(struct bus *b, struct state *s)
{
	for (unsigned int i = 0; i < b->device_count; i++)
		b->devices[i]->visit(b->devices[i], s);
	if (state_loading(s) && s->error)
		bus_reset(b); /* half-loaded devices may hold what no check has passed */
}
