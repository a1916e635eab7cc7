#include "vmm/pci.h"

#include <stddef.h>
#include <string.h>

#include "vmm/ensure.h"
#include "vmm/state.h"

#define PORTS 8u
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu

/* Configuration space, type 0 header (6.1). */
#define VENDOR 0x00u
#define DEVICE 0x02u
#define COMMAND 0x04u
#define STATUS 0x06u
#define CLASS 0x09u
#define BAR0 0x10u
#define SUBSYSTEM_VENDOR 0x2cu
#define SUBSYSTEM 0x2eu
#define CAPABILITIES 0x34u
#define INTERRUPT_LINE 0x3cu
#define INTERRUPT_PIN 0x3du

#define COMMAND_WRITABLE 0x507u /* I/O, memory, bus master, SERR, interrupt disable */
#define STATUS_CAPABILITIES 0x10u

/* No product's: a host bridge is known by its class. */
static const struct pci_identity bridge_identity = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

static void put(struct pci_function *f, unsigned int at, uint32_t value, unsigned int bytes)
{
	memcpy(f->config + at, &value, bytes);
}

static uint32_t get(const struct pci_function *f, unsigned int at, unsigned int bytes)
{
	uint32_t value = 0;

	memcpy(&value, f->config + at, bytes);
	return value;
}

static void identify(struct pci_function *f, const struct pci_identity *id)
{
	memset(f, 0, sizeof(*f));
	put(f, VENDOR, id->vendor, 2);
	put(f, DEVICE, id->device, 2);
	put(f, CLASS, id->class_code, 3);
	put(f, SUBSYSTEM_VENDOR, id->subsystem_vendor, 2);
	put(f, SUBSYSTEM, id->subsystem, 2);
}

void pci_add(struct pci *p, unsigned int number, struct pci_function *f, const struct pci_identity *id, uint32_t window,
	     uint32_t window_bytes, uint8_t irq)
{
	ensure(number < PCI_MAX_FUNCTIONS && !p->function[number] && window % window_bytes == 0);
	identify(f, id);
	f->window = window_bytes;
	f->irq = irq;
	put(f, STATUS, STATUS_CAPABILITIES, 2);
	put(f, BAR0, window, 4);
	put(f, CAPABILITIES, PCI_CAPABILITIES, 1);
	put(f, INTERRUPT_LINE, irq, 1);
	put(f, INTERRUPT_PIN, 1, 1);
	p->function[number] = f;
}

/*
 * All ones ask how large the window is; until anything else is written, that is what the register shows. Any address that is
 * written then leaves it where it is.
 */
static void write_bar(struct pci_function *f, uint32_t old, uint32_t value)
{
	uint32_t base = old & ~(f->window - 1);

	if (!f->window)
		return;
	put(f, BAR0, base | (value == UINT32_MAX), 4);
}

static uint32_t read_dword(const struct pci_function *f, unsigned int at)
{
	uint32_t value = get(f, at, 4);

	/* Bit 0 of what is kept says that the size was asked for; drivers never see it: it says "memory" there, as 0. */
	if (at == BAR0 && f->window)
		return value & 1 ? ~(f->window - 1) : value;
	return value;
}

static void write_dword(struct pci_function *f, unsigned int at, uint32_t value)
{
	uint32_t old = get(f, at, 4);

	if (at == COMMAND)
		put(f, at, value & COMMAND_WRITABLE, 2);
	else if (at == BAR0)
		write_bar(f, old, value);
	else if (at == INTERRUPT_LINE)
		put(f, at, value, 1);
}

static struct pci_function *addressed(const struct pci *p)
{
	unsigned int bus = p->address >> 16 & 0xff, device = p->address >> 11 & 0x1f, function = p->address >> 8 & 7;

	if (!(p->address & ADDRESS_ENABLE) || bus || function || device >= PCI_MAX_FUNCTIONS)
		return NULL;
	return p->function[device];
}

static uint32_t mask_of(unsigned int bytes)
{
	return bytes < 4 ? (1u << (8 * bytes)) - 1 : UINT32_MAX;
}

/* The data port: bytes of the register that is addressed, from `offset` on; none beyond it. */
static void access_data(struct pci *p, struct access *a, unsigned int offset)
{
	struct pci_function *f = addressed(p);
	unsigned int at = p->address & 0xfc, shift = 8 * offset;
	uint32_t mask = mask_of(a->size) << shift, value = f ? read_dword(f, at) : UINT32_MAX;

	if (access_is_read(a->kind))
		a->value = value >> shift & mask_of(a->size);
	else if (f)
		write_dword(f, at, (value & ~mask) | ((uint32_t)a->value << shift & mask));
}

void pci_ports(struct pci *p, struct access *a)
{
	if (a->addr >= 4 && a->size + a->addr <= PORTS) {
		access_data(p, a, (unsigned int)a->addr - 4);
	} else if (a->addr == 0 && a->size == 4) {
		if (access_is_read(a->kind))
			a->value = p->address;
		else
			p->address = (uint32_t)a->value & ADDRESS_BITS;
	} else if (access_is_read(a->kind)) {
		a->value = UINT64_MAX >> (64 - 8 * a->size);
	}
}

static void pci_access(struct device *d, unsigned int range, struct access *a)
{
	pci_ports((struct pci *)d, a);
}

/* What drivers have written goes; what the function is stays. */
static void reset_function(struct pci_function *f)
{
	put(f, COMMAND, 0, 2);
	write_bar(f, get(f, BAR0, 4), 0);
	put(f, INTERRUPT_LINE, f->irq, 1);
}

static void pci_reset(struct device *d)
{
	struct pci *p = (struct pci *)d;

	p->address = 0;
	for (unsigned int i = 0; i < PCI_MAX_FUNCTIONS; i++)
		if (p->function[i])
			reset_function(p->function[i]);
}

static void visit_function(struct pci_function *f, struct state *s)
{
	uint16_t command = (uint16_t)get(f, COMMAND, 2);
	bool asked = get(f, BAR0, 4) & 1;
	uint8_t line = (uint8_t)get(f, INTERRUPT_LINE, 1);

	state_u16(s, &command);
	state_bool(s, &asked);
	state_u8(s, &line);
	state_check(s, !(command & ~COMMAND_WRITABLE), "pci: reserved command bits");
	state_check(s, f->window || !asked, "pci: no such window");
	put(f, COMMAND, command & COMMAND_WRITABLE, 2);
	write_bar(f, get(f, BAR0, 4), asked ? UINT32_MAX : 0);
	put(f, INTERRUPT_LINE, line, 1);
}

static void pci_visit(struct device *d, struct state *s)
{
	struct pci *p = (struct pci *)d;

	state_begin(s, "pci", 1);
	state_u32(s, &p->address);
	state_check(s, !(p->address & ~ADDRESS_BITS), "pci: reserved address bits");
	for (unsigned int i = 0; i < PCI_MAX_FUNCTIONS; i++)
		if (p->function[i])
			visit_function(p->function[i], s);
	state_end(s);
}

void pci_init(struct pci *p, struct bus *b)
{
	*p = (struct pci){.device = {.name = "pci", .access = pci_access, .reset = pci_reset, .visit = pci_visit}};
	identify(&p->bridge, &bridge_identity);
	p->function[0] = &p->bridge;
	bus_add(b, &p->device);
}
