#include "vmm/pit8254.h"

#include "vmm/state.h"

#define REFRESH_TICKS 18u /* what firmware programs channel 1 with for memory refresh */

#define READ_BACK 3u /* channel number in a control word */
#define READ_BACK_NO_COUNT 0x20u
#define READ_BACK_NO_STATUS 0x10u

#define P61_GATE2 0x01u
#define P61_WRITABLE 0x0fu
#define P61_REFRESH 0x10u
#define P61_OUT2 0x20u

enum { RANGE_PIT, RANGE_61 };

static void write_control(struct pit8254 *p, uint8_t value)
{
	unsigned int n = value >> 6;

	if (n == READ_BACK) {
		for (n = 0; n < PIT_CHANNELS; n++) {
			if (!(value & 2u << n))
				continue;
			if (!(value & READ_BACK_NO_COUNT))
				pit_channel_latch_count(&p->channel[n]);
			if (!(value & READ_BACK_NO_STATUS))
				pit_channel_latch_status(&p->channel[n]);
		}
	} else if (value >> 4 & 3) {
		pit_channel_set_control(&p->channel[n], value & 0x3f);
	} else {
		pit_channel_latch_count(&p->channel[n]);
	}
}

static uint8_t read_61(const struct pit8254 *p)
{
	bool refresh = p->channel[0].at / REFRESH_TICKS & 1;

	return (uint8_t)(p->control61 | (refresh ? P61_REFRESH : 0) | (p->channel[2].out ? P61_OUT2 : 0));
}

static void write_61(struct pit8254 *p, uint8_t value)
{
	p->control61 = value & P61_WRITABLE;
	pit_channel_set_gate(&p->channel[2], value & P61_GATE2);
}

/* Moves all channels on to now; tells whether channel 0 rose. */
static bool advance_all(struct pit8254 *p)
{
	uint64_t now = clock_ticks(clock_now(p->clock), PIT_HZ);
	bool rose = pit_channel_advance(&p->channel[0], now);

	pit_channel_advance(&p->channel[1], now);
	pit_channel_advance(&p->channel[2], now);
	return rose;
}

/* Wakes us for channel 0's next rising edge. */
static void arm(struct pit8254 *p)
{
	uint64_t tick = pit_channel_next_rise(&p->channel[0]);

	clock_timer_set(p->clock, &p->timer, tick == UINT64_MAX ? CLOCK_NEVER : clock_tick_ns(tick, PIT_HZ));
}

/* Shows channel 0's output to the interrupt controller, see pit8254.h, and arms the timer for its next edge. */
static void update_output(struct pit8254 *p, bool rose)
{
	const struct pit_channel *c = &p->channel[0];
	bool level = pit_channel_mode(c) >= 2 || c->out;

	if (rose || !level)
		irq_set(&p->irq, false);
	if (level)
		irq_set(&p->irq, true);
	arm(p);
}

static void pit_fire(void *owner, uint64_t now)
{
	struct pit8254 *p = owner;

	update_output(p, advance_all(p));
}

static void pit_access(struct device *d, unsigned int range, struct access *a)
{
	struct pit8254 *p = (struct pit8254 *)d;
	bool rose = advance_all(p), before = p->channel[0].out;
	bool read = access_is_read(a->kind);
	uint8_t value = (uint8_t)a->value;

	if (range == RANGE_61 && read)
		a->value = read_61(p);
	else if (range == RANGE_61)
		write_61(p, value);
	else if (a->addr < PIT_CHANNELS && read)
		a->value = pit_channel_read(&p->channel[a->addr]);
	else if (a->addr < PIT_CHANNELS)
		pit_channel_write(&p->channel[a->addr], value);
	else if (read)
		a->value = 0xff;
	else
		write_control(p, value);
	update_output(p, rose || (!before && p->channel[0].out));
}

static bool pit_timed(const struct device *d, unsigned int range, uint64_t offset)
{
	return true;
}

static void pit_reset(struct device *d)
{
	struct pit8254 *p = (struct pit8254 *)d;
	uint64_t now = clock_ticks(clock_now(p->clock), PIT_HZ);

	for (unsigned int i = 0; i < PIT_CHANNELS; i++)
		pit_channel_reset(&p->channel[i], now, i != 2);
	p->control61 = 0;
	update_output(p, false);
}

static void pit_visit(struct device *d, struct state *s)
{
	struct pit8254 *p = (struct pit8254 *)d;

	state_begin(s, "pit8254", 1);
	for (unsigned int i = 0; i < PIT_CHANNELS; i++)
		pit_channel_visit(&p->channel[i], s);
	state_u8(s, &p->control61);
	state_check(s, !(p->control61 & ~P61_WRITABLE), "pit: reserved bits of port 0x61");
	state_check(s, p->channel[0].gate && p->channel[1].gate, "pit: a gate that is always high is low");
	state_check(s, p->channel[2].gate == (p->control61 & P61_GATE2), "pit: gate 2 is not what port 0x61 says");
	state_end(s);
	if (state_loading(s) && !s->error)
		arm(p);
}

void pit_init(struct pit8254 *p, struct bus *b, struct clock *c, struct irq_line irq)
{
	*p = (struct pit8254){
		.device = {
			.name = "pit8254", .byte_wide = true, .timed = pit_timed, .access = pit_access, .reset = pit_reset, .visit = pit_visit,
		},
		.clock = c,
		.irq = irq,
	};
	clock_timer_add(c, &p->timer, pit_fire, p);
	pit_reset(&p->device);
	bus_add(b, &p->device);
	bus_claim(b, &p->device, BUS_PORT, 0x40, 4, RANGE_PIT);
	bus_claim(b, &p->device, BUS_PORT, 0x61, 1, RANGE_61);
}
