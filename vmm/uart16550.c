#include "vmm/uart16550.h"

#include <string.h>

#include "vmm/state.h"

#define UART_PORT 0x3f8u
#define UART_PORTS 8u

/* Registers by offset; 0 and 1 are the divisor while LCR.DLAB is set. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX 0x01u
#define IER_THRE 0x02u
#define IER_LINE 0x04u
#define IER_MODEM 0x08u
#define IER_ALL 0x0fu

#define IIR_NONE 0x01u
#define IIR_MODEM 0x00u
#define IIR_THRE 0x02u
#define IIR_RX 0x04u
#define IIR_LINE 0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFO 0xc0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u

#define LCR_DLAB 0x80u

#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_ALL 0x1fu

#define LSR_DATA 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_EMPTY 0x60u /* holding register and transmitter */

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u
#define MSR_TERI 0x04u

static const uint8_t trigger_levels[4] = { 1, 4, 8, 14 };

/* Modem lines: in loopback the outputs come back as inputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) | (mcr & MCR_OUT1 ? MSR_RI : 0) |
			 (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

/* The cause of highest priority that is enabled, as IIR shows it. */
static uint8_t interrupt_cause(const struct uart16550 *u)
{
	if (u->ier & IER_LINE && u->overrun)
		return IIR_LINE;
	if (u->ier & IER_RX && u->count)
		return u->fifo_enabled && u->count < u->trigger ? IIR_TIMEOUT : IIR_RX;
	if (u->ier & IER_THRE && u->thre_pending)
		return IIR_THRE;
	if (u->ier & IER_MODEM && u->modem_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* On a PC, MCR.OUT2 connects the interrupt to the bus; in loopback the output pin is off. */
static void update_irq(struct uart16550 *u)
{
	bool connected = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(&u->irq, connected && interrupt_cause(u) != IIR_NONE);
}

static size_t capacity(const struct uart16550 *u)
{
	return u->fifo_enabled ? UART_FIFO_SIZE : 1;
}

static void enqueue(struct uart16550 *u, uint8_t byte)
{
	u->fifo[(u->first + u->count) % UART_FIFO_SIZE] = byte;
	u->count++;
}

/* A character at the receiver that may not fit: a full FIFO keeps what it has, a lone register takes the new one. */
static void arrive(struct uart16550 *u, uint8_t byte)
{
	if (u->count < capacity(u)) {
		enqueue(u, byte);
		return;
	}
	u->overrun = true;
	if (!u->fifo_enabled)
		u->fifo[u->first] = byte;
}

size_t uart_room(const struct uart16550 *u)
{
	return (u->mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS ? capacity(u) - u->count : 0;
}

size_t uart_receive(struct uart16550 *u, const uint8_t *bytes, size_t size)
{
	size_t room = uart_room(u);
	size_t n = size < room ? size : room;

	for (size_t i = 0; i < n; i++)
		enqueue(u, bytes[i]);
	if (n)
		update_irq(u);
	return n;
}

static uint8_t read_data(struct uart16550 *u)
{
	if (u->count) {
		u->rbr = u->fifo[u->first];
		u->first = (u->first + 1) % UART_FIFO_SIZE;
		u->count--;
	}
	return u->rbr;
}

static uint8_t read_iir(struct uart16550 *u)
{
	uint8_t cause = interrupt_cause(u);

	if (cause == IIR_THRE)
		u->thre_pending = false;
	return cause | (u->fifo_enabled ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct uart16550 *u)
{
	uint8_t lsr = (uint8_t)(LSR_EMPTY | (u->count ? LSR_DATA : 0) | (u->overrun ? LSR_OVERRUN : 0));

	u->overrun = false;
	return lsr;
}

static uint8_t read_msr(struct uart16550 *u)
{
	uint8_t msr = modem_lines(u->mcr) | u->modem_delta;

	u->modem_delta = 0;
	return msr;
}

static uint8_t uart_read(struct uart16550 *u, unsigned int reg)
{
	bool divisor = u->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return divisor ? u->dll : read_data(u);
	case REG_IER:
		return divisor ? u->dlm : u->ier;
	case REG_IIR_FCR:
		return read_iir(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return read_lsr(u);
	case REG_MSR:
		return read_msr(u);
	default:
		return u->scr;
	}
}

static void transmit(struct uart16550 *u, uint8_t byte)
{
	/* A full holding register takes the request away until it is empty again: an edge for the controller to see. */
	u->thre_pending = false;
	update_irq(u);
	if (u->mcr & MCR_LOOP)
		arrive(u, byte);
	else
		u->put(u->put_arg, byte);
	u->thre_pending = true;
}

static void write_ier(struct uart16550 *u, uint8_t value)
{
	/* Enabling the interrupt of a transmitter that is empty already raises it. */
	if (value & ~u->ier & IER_THRE)
		u->thre_pending = true;
	u->ier = value & IER_ALL;
}

static void write_fcr(struct uart16550 *u, uint8_t value)
{
	bool enable = value & FCR_ENABLE;

	if (enable != u->fifo_enabled || (enable && value & FCR_CLEAR_RX))
		u->first = u->count = 0;
	u->fifo_enabled = enable;
	if (enable)
		u->trigger = trigger_levels[value >> 6];
}

static void write_mcr(struct uart16550 *u, uint8_t value)
{
	uint8_t before = modem_lines(u->mcr), after;

	u->mcr = value & MCR_ALL;
	after = modem_lines(u->mcr);
	u->modem_delta |= (uint8_t)((before ^ after) >> 4 & ~MSR_TERI);
	if (before & ~after & MSR_RI)
		u->modem_delta |= MSR_TERI; /* the ring indicator tells its trailing edge only */
}

static void uart_write(struct uart16550 *u, unsigned int reg, uint8_t value)
{
	bool divisor = u->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (divisor)
			u->dll = value;
		else
			transmit(u, value);
		break;
	case REG_IER:
		if (divisor)
			u->dlm = value;
		else
			write_ier(u, value);
		break;
	case REG_IIR_FCR:
		write_fcr(u, value);
		break;
	case REG_LCR:
		u->lcr = value;
		break;
	case REG_MCR:
		write_mcr(u, value);
		break;
	case REG_SCR:
		u->scr = value;
		break;
	default:
		break; /* LSR and MSR: writing them is for factory tests */
	}
}

static void uart_access(struct device *d, unsigned int range, struct access *a)
{
	struct uart16550 *u = (struct uart16550 *)d;

	if (access_is_read(a->kind))
		a->value = uart_read(u, (unsigned int)a->addr);
	else
		uart_write(u, (unsigned int)a->addr, (uint8_t)a->value);
	update_irq(u);
}

static void clear_registers(struct uart16550 *u)
{
	memset(u->fifo, 0, sizeof(u->fifo));
	u->first = u->count = 0;
	u->ier = u->lcr = u->mcr = u->scr = u->dll = u->dlm = 0;
	u->modem_delta = u->rbr = 0;
	u->trigger = trigger_levels[0];
	u->fifo_enabled = u->overrun = u->thre_pending = false;
}

static void uart_reset(struct device *d)
{
	struct uart16550 *u = (struct uart16550 *)d;

	clear_registers(u);
	update_irq(u);
}

static bool known_trigger(uint8_t trigger)
{
	return memchr(trigger_levels, trigger, sizeof(trigger_levels));
}

static void uart_visit(struct device *d, struct state *s)
{
	struct uart16550 *u = (struct uart16550 *)d;

	state_begin(s, "uart", 1);
	state_bytes(s, u->fifo, sizeof(u->fifo));
	state_u8(s, &u->first);
	state_u8(s, &u->count);
	state_u8(s, &u->ier);
	state_u8(s, &u->lcr);
	state_u8(s, &u->mcr);
	state_u8(s, &u->scr);
	state_u8(s, &u->dll);
	state_u8(s, &u->dlm);
	state_u8(s, &u->trigger);
	state_u8(s, &u->modem_delta);
	state_u8(s, &u->rbr);
	state_bool(s, &u->fifo_enabled);
	state_bool(s, &u->overrun);
	state_bool(s, &u->thre_pending);
	state_check(s, u->first < UART_FIFO_SIZE, "uart: FIFO position out of range");
	state_check(s, u->count <= capacity(u), "uart: more characters than fit");
	state_check(s, !(u->ier & ~IER_ALL), "uart: reserved interrupt enables");
	state_check(s, !(u->mcr & ~MCR_ALL), "uart: reserved modem controls");
	state_check(s, !(u->modem_delta & 0xf0), "uart: reserved modem changes");
	state_check(s, known_trigger(u->trigger), "uart: no such trigger level");
	state_end(s);
}

void uart_init(struct uart16550 *u, struct bus *b, struct irq_line irq, void (*put)(void *arg, uint8_t byte), void *put_arg)
{
	*u = (struct uart16550){
		.device = {
			.name = "uart16550", .byte_wide = true, .access = uart_access, .reset = uart_reset,
			.visit = uart_visit,
		},
		.irq = irq,
		.put = put,
		.put_arg = put_arg,
	};
	clear_registers(u);
	bus_add(b, &u->device);
	bus_claim(b, &u->device, BUS_PORT, UART_PORT, UART_PORTS, 0);
}
