#include "vmm/pic8259.h"

#include <string.h>

#include "vmm/ensure.h"
#include "vmm/state.h"

#define CASCADE 2u
#define SPURIOUS 7u

#define ICW1_INIT 0x10u
#define ICW1_LTIM 0x08u
#define ICW1_SNGL 0x02u
#define ICW1_IC4 0x01u
#define ICW4_SFNM 0x10u
#define ICW4_AEOI 0x02u
#define OCW3_SELECT 0x08u
#define OCW3_ESMM 0x40u
#define OCW3_SMM 0x20u
#define OCW3_POLL 0x04u
#define OCW3_RR 0x02u
#define OCW3_RIS 0x01u
#define POLL_REQUEST 0x80u

/* OCW2 bits 7:5. */
enum ocw2 {
	OCW2_ROTATE_AUTO_CLEAR = 0,
	OCW2_EOI = 1,
	OCW2_SPECIFIC_EOI = 3,
	OCW2_ROTATE_AUTO_SET = 4,
	OCW2_ROTATE_EOI = 5,
	OCW2_SET_PRIORITY = 6,
	OCW2_ROTATE_SPECIFIC_EOI = 7,
};

enum { RANGE_MASTER, RANGE_SLAVE, RANGE_ELCR };

/* The timer, keyboard, cascade, RTC and coprocessor inputs of a PC are edge-triggered whatever is written. */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

static uint8_t bit(unsigned int n)
{
	return (uint8_t)(1u << n);
}

static bool has_slave(const struct pic_chip *master)
{
	return !master->single && master->icw3 & bit(CASCADE);
}

/* Requests: rising edges, and the lines themselves where they are level-triggered. */
static uint8_t chip_irr(const struct pic_chip *c)
{
	uint8_t level = c->all_level ? 0xff : c->elcr;

	return (uint8_t)((c->lines & level) | (c->edges & ~level));
}

static uint8_t irr(const struct pic8259 *p, unsigned int which)
{
	const struct pic_chip *c = &p->chip[which];

	if (which == 0)
		return (uint8_t)((chip_irr(c) & ~bit(CASCADE)) | (c->lines & bit(CASCADE)));
	return chip_irr(c);
}

/*
 * The input that would be acknowledged now, or -1. Inputs are looked at in order of priority; the first one in service
 * ends the search, except that with SFNM a slave's input does not hold back itself.
 */
static int chip_request(const struct pic8259 *p, unsigned int which)
{
	const struct pic_chip *c = &p->chip[which];
	uint8_t request = irr(p, which) & (uint8_t)~c->imr;
	uint8_t blocking = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
	uint8_t open = which == 0 && c->nested_special && has_slave(c) ? bit(CASCADE) : 0;

	if (!c->ready || !request)
		return -1;
	for (unsigned int i = 1; i <= 8; i++) {
		unsigned int n = (c->lowest + i) % 8;

		if (request & bit(n) && (!(blocking & bit(n)) || open & bit(n)))
			return (int)n;
		if (blocking & bit(n))
			return -1;
	}
	return -1;
}

static void set_line(struct pic_chip *c, unsigned int n, bool level)
{
	if (!level) {
		c->lines &= (uint8_t)~bit(n);
		c->edges &= (uint8_t)~bit(n);
	} else if (!(c->lines & bit(n))) {
		c->lines |= bit(n);
		c->edges |= bit(n);
	}
}

static void update(struct pic8259 *p)
{
	set_line(&p->chip[0], CASCADE, chip_request(p, 1) >= 0);
	p->intr = chip_request(p, 0) >= 0;
}

void pic_set_irq(void *pic, unsigned int n, bool level)
{
	struct pic8259 *p = pic;

	ensure(n < 16 && n != CASCADE);
	set_line(&p->chip[n / 8], n % 8, level);
	update(p);
}

/* One chip's part of the acknowledge cycle: n goes into service. */
static void chip_acknowledge(struct pic_chip *c, unsigned int n)
{
	c->edges &= (uint8_t)~bit(n);
	c->isr |= bit(n);
	if (!c->auto_eoi)
		return;
	c->isr &= (uint8_t)~bit(n);
	if (c->auto_rotate)
		c->lowest = (uint8_t)n;
}

/* The input acknowledged, or the spurious one, for which nothing goes into service. */
static unsigned int acknowledge(struct pic8259 *p, unsigned int which)
{
	int n = chip_request(p, which);

	if (n < 0)
		return SPURIOUS;
	chip_acknowledge(&p->chip[which], (unsigned int)n);
	return (unsigned int)n;
}

static uint8_t slave_vector(struct pic8259 *p)
{
	const struct pic_chip *slave = &p->chip[1];

	if ((slave->icw3 & 7) != CASCADE)
		return 0xff; /* it does not know that it is meant, so nobody drives the bus */
	return (uint8_t)(slave->base + acknowledge(p, 1));
}

uint8_t pic_acknowledge(struct pic8259 *p)
{
	bool cascaded = has_slave(&p->chip[0]);
	unsigned int n = acknowledge(p, 0);
	uint8_t vector = (uint8_t)(p->chip[0].base + n);

	if (n == CASCADE && cascaded)
		vector = slave_vector(p);
	update(p);
	return vector;
}

static void write_icw1(struct pic_chip *c, uint8_t value)
{
	c->edges = 0; /* only a new rising edge counts from here on */
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->icw3 = 0;
	c->ready = false;
	c->auto_eoi = c->auto_rotate = c->nested_special = c->special_mask = c->read_isr = c->poll = false;
	c->single = value & ICW1_SNGL;
	c->need_icw4 = value & ICW1_IC4;
	c->all_level = value & ICW1_LTIM;
	c->expect = PIC_ICW2;
}

static void next_icw(struct pic_chip *c, enum pic_expect next)
{
	if (next == PIC_ICW3 && c->single)
		next = PIC_ICW4;
	if (next == PIC_ICW4 && !c->need_icw4)
		next = PIC_OCW1;
	c->expect = next;
	c->ready = next == PIC_OCW1;
}

static void write_odd(struct pic_chip *c, uint8_t value)
{
	switch (c->expect) {
	case PIC_OCW1:
		c->imr = value;
		break;
	case PIC_ICW2:
		c->base = value & 0xf8;
		next_icw(c, PIC_ICW3);
		break;
	case PIC_ICW3:
		c->icw3 = value;
		next_icw(c, PIC_ICW4);
		break;
	case PIC_ICW4:
		c->auto_eoi = value & ICW4_AEOI;
		c->nested_special = value & ICW4_SFNM;
		next_icw(c, PIC_OCW1);
		break;
	}
}

/* The input in service that an unspecific EOI ends, or -1. The special mask mode keeps masked ones in service. */
static int highest_in_service(const struct pic_chip *c)
{
	uint8_t isr = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;

	for (unsigned int i = 1; i <= 8; i++) {
		unsigned int n = (c->lowest + i) % 8;

		if (isr & bit(n))
			return (int)n;
	}
	return -1;
}

static void end_of_interrupt(struct pic_chip *c, int n, bool rotate)
{
	if (n < 0)
		return;
	c->isr &= (uint8_t)~bit((unsigned int)n);
	if (rotate)
		c->lowest = (uint8_t)n;
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
	int n = value & 7;

	switch (value >> 5) {
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		end_of_interrupt(c, highest_in_service(c), value >> 5 == OCW2_ROTATE_EOI);
		break;
	case OCW2_SPECIFIC_EOI:
	case OCW2_ROTATE_SPECIFIC_EOI:
		end_of_interrupt(c, n, value >> 5 == OCW2_ROTATE_SPECIFIC_EOI);
		break;
	case OCW2_SET_PRIORITY:
		c->lowest = (uint8_t)n;
		break;
	case OCW2_ROTATE_AUTO_SET:
	case OCW2_ROTATE_AUTO_CLEAR:
		c->auto_rotate = value >> 5 == OCW2_ROTATE_AUTO_SET;
		break;
	}
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	c->poll = value & OCW3_POLL;
}

static void write_even(struct pic_chip *c, uint8_t value)
{
	if (value & ICW1_INIT)
		write_icw1(c, value);
	else if (value & OCW3_SELECT)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
}

static uint8_t read_poll(struct pic8259 *p, unsigned int which)
{
	int n = chip_request(p, which);

	p->chip[which].poll = false;
	if (n < 0)
		return 0;
	chip_acknowledge(&p->chip[which], (unsigned int)n);
	update(p);
	return (uint8_t)(POLL_REQUEST | (unsigned int)n);
}

static uint8_t chip_read(struct pic8259 *p, unsigned int which, bool odd)
{
	const struct pic_chip *c = &p->chip[which];

	if (c->poll)
		return read_poll(p, which);
	if (odd)
		return c->imr;
	return c->read_isr ? c->isr : irr(p, which);
}

static void pic_access(struct device *d, unsigned int range, struct access *a)
{
	struct pic8259 *p = (struct pic8259 *)d;
	uint8_t value = (uint8_t)a->value;

	if (access_is_read(a->kind)) {
		a->value = range == RANGE_ELCR ? p->chip[a->addr].elcr : chip_read(p, range, a->addr);
		return;
	}
	if (range == RANGE_ELCR)
		p->chip[a->addr].elcr = value & elcr_writable[a->addr];
	else if (a->addr)
		write_odd(&p->chip[range], value);
	else
		write_even(&p->chip[range], value);
	update(p);
}

/* The inputs belong to the devices that drive them: they stay as they are. */
static void pic_reset(struct device *d)
{
	struct pic8259 *p = (struct pic8259 *)d;

	for (unsigned int i = 0; i < 2; i++) {
		uint8_t lines = p->chip[i].lines;

		p->chip[i] = (struct pic_chip){ .lines = lines, .lowest = 7 };
	}
	update(p);
}

static void visit_chip(struct pic_chip *c, unsigned int which, struct state *s)
{
	state_u8(s, &c->lines);
	state_u8(s, &c->edges);
	state_u8(s, &c->imr);
	state_u8(s, &c->isr);
	state_u8(s, &c->elcr);
	state_u8(s, &c->base);
	state_u8(s, &c->icw3);
	state_u8(s, &c->lowest);
	state_u8(s, &c->expect);
	state_bool(s, &c->ready);
	state_bool(s, &c->single);
	state_bool(s, &c->need_icw4);
	state_bool(s, &c->all_level);
	state_bool(s, &c->auto_eoi);
	state_bool(s, &c->auto_rotate);
	state_bool(s, &c->nested_special);
	state_bool(s, &c->special_mask);
	state_bool(s, &c->read_isr);
	state_bool(s, &c->poll);
	state_check(s, !(c->edges & ~c->lines), "pic: an edge on a line that is low");
	state_check(s, !(c->elcr & ~elcr_writable[which]), "pic: a line that cannot be level-triggered is");
	state_check(s, !(c->base & 7), "pic: vector base is no multiple of 8");
	state_check(s, c->lowest <= 7, "pic: no such priority");
	state_check(s, c->expect <= PIC_ICW4, "pic: no such initialization step");
	state_check(s, !(c->ready && c->expect != PIC_OCW1), "pic: ready and not initialized");
}

static void pic_visit(struct device *d, struct state *s)
{
	struct pic8259 *p = (struct pic8259 *)d;

	state_begin(s, "pic8259", 1);
	visit_chip(&p->chip[0], 0, s);
	visit_chip(&p->chip[1], 1, s);
	state_end(s);
	if (state_loading(s) && !s->error)
		update(p);
}

void pic_init(struct pic8259 *p, struct bus *b)
{
	memset(p, 0, sizeof(*p));
	p->device = (struct device){
		.name = "pic8259", .byte_wide = true, .access = pic_access, .reset = pic_reset, .visit = pic_visit,
	};
	pic_reset(&p->device);
	bus_add(b, &p->device);
	bus_claim(b, &p->device, BUS_PORT, 0x20, 2, RANGE_MASTER);
	bus_claim(b, &p->device, BUS_PORT, 0xa0, 2, RANGE_SLAVE);
	bus_claim(b, &p->device, BUS_PORT, 0x4d0, 2, RANGE_ELCR);
}
