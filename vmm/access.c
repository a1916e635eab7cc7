#include "vmm/access.h"

#include "vmm/bus.h"
#include "vmm/mem.h"

static uint64_t size_mask(unsigned int size)
{
	return size < 8 ? (1ull << (8 * size)) - 1 : UINT64_MAX;
}

void access_complete(struct access_port *p, struct access *a)
{
	if (p->mem && mem_is_lost(p->mem)) {
		a->value = size_mask(a->size);
		return;
	}
	a->value &= size_mask(a->size);
	if (p->tap && p->tap->before)
		p->tap->before(p->tap, p->position, a);
	if (a->kind != ACCESS_HLT)
		bus_access(p->bus, a);
	a->value &= size_mask(a->size);
	p->position++;
	if (p->tap && p->tap->access)
		p->tap->access(p->tap, p->position, a);
}

void access_external(struct access_port *p, enum access_source source, void *bytes, size_t size)
{
	if (p->tap && p->tap->external)
		p->tap->external(p->tap, p->position, source, bytes, size);
}

void access_interrupt(struct access_port *p, uint8_t vector)
{
	if (p->tap && p->tap->interrupt)
		p->tap->interrupt(p->tap, p->position, vector);
}

void access_seen(struct access_port *p)
{
	if (p->tap && p->tap->seen)
		p->tap->seen(p->tap, p->position);
}

bool access_is_told(const struct access_port *p)
{
	return p->tap && p->tap->was_done;
}

bool access_was_done(const struct access_port *p, enum access_source source)
{
	return access_is_told(p) && p->tap->was_done(p->tap, p->position, source);
}
