#include "vmm/pc_power.h"

#include "vmm/pci.h"
#include "vmm/state.h"

enum { RANGE_CONTROL_A, RANGE_PCI, RANGE_POWER, RANGE_DEBUG_EXIT };

#define CONTROL_A_RESET 0x01u
#define CONTROL_A_A20 0x02u
#define PCI_RESET_OFFSET 1u /* 0xcf9 from 0xcf8 */
#define PCI_RESET 0x04u
#define SLEEP_ENABLE 0x2000u

static void write_control_a(struct pc_power *p, const struct access *a)
{
	p->control_a = (uint8_t)(a->value & ~CONTROL_A_RESET);
	if (a->value & CONTROL_A_RESET)
		p->ended(p->ended_arg, PC_RESET, 0);
}

static void write_pci(struct pc_power *p, const struct access *a)
{
	p->reset_control = (uint8_t)(a->value & ~PCI_RESET);
	if (a->value & PCI_RESET)
		p->ended(p->ended_arg, PC_RESET, 0);
}

static void write_power(struct pc_power *p, const struct access *a)
{
	if (a->addr == 0 && (a->value & SLEEP_ENABLE))
		p->ended(p->ended_arg, PC_POWER_OFF, 0);
}

static void write_debug_exit(struct pc_power *p, const struct access *a)
{
	if (a->addr == 0)
		p->ended(p->ended_arg, PC_DEBUG_EXIT, (uint8_t)(a->value << 1 | 1));
}

static void (*const writes[])(struct pc_power *p, const struct access *a) = {
	[RANGE_CONTROL_A] = write_control_a,
	[RANGE_PCI] = write_pci,
	[RANGE_POWER] = write_power,
	[RANGE_DEBUG_EXIT] = write_debug_exit,
};

static uint64_t read_port(const struct pc_power *p, unsigned int range, const struct access *a)
{
	if (range == RANGE_CONTROL_A)
		return p->control_a;
	if (range == RANGE_PCI)
		return p->reset_control;
	return UINT64_MAX >> (64 - 8 * a->size); /* as where nobody answers */
}

static void access_pci(struct pc_power *p, struct access *a)
{
	if (p->pci)
		pci_ports(p->pci, a);
	else if (access_is_read(a->kind))
		a->value = UINT64_MAX >> (64 - 8 * a->size);
}

static void power_access(struct device *device, unsigned int range, struct access *a)
{
	struct pc_power *p = (struct pc_power *)device;

	if (range == RANGE_PCI && !(a->addr == PCI_RESET_OFFSET && a->size == 1))
		access_pci(p, a);
	else if (a->kind == ACCESS_PORT_READ)
		a->value = read_port(p, range, a);
	else
		writes[range](p, a);
}

static void power_reset(struct device *device)
{
	struct pc_power *p = (struct pc_power *)device;

	p->control_a = CONTROL_A_A20;
	p->reset_control = 0;
}

static void power_visit(struct device *device, struct state *s)
{
	struct pc_power *p = (struct pc_power *)device;

	state_begin(s, "pcpower", 1);
	state_u8(s, &p->control_a);
	state_u8(s, &p->reset_control);
	state_check(s, !(p->control_a & CONTROL_A_RESET) && !(p->reset_control & PCI_RESET), "pcpower: in the middle of a reset");
	state_end(s);
}

void pc_power_init(struct pc_power *p, struct bus *b, struct pci *pci, void (*ended)(void *arg, enum pc_end end, uint8_t status), void *arg)
{
	*p = (struct pc_power){
		.device = {.name = "pc_power", .access = power_access, .reset = power_reset, .visit = power_visit},
		.ended = ended,
		.ended_arg = arg,
		.pci = pci,
	};
	power_reset(&p->device);
	bus_add(b, &p->device);
	bus_claim(b, &p->device, BUS_PORT, 0x92, 1, RANGE_CONTROL_A);
	bus_claim(b, &p->device, BUS_PORT, 0xcf8, 8, RANGE_PCI);
	bus_claim(b, &p->device, BUS_PORT, 0x604, 2, RANGE_POWER);
	bus_claim(b, &p->device, BUS_PORT, 0xb004, 2, RANGE_POWER);
	bus_claim(b, &p->device, BUS_PORT, 0xf4, 4, RANGE_DEBUG_EXIT);
}
