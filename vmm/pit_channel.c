#include "vmm/pit_channel.h"

#include "vmm/clock.h"
#include "vmm/state.h"

#define CONTROL_BCD 0x01u
#define RW_LOW 1u
#define RW_HIGH 2u
#define RW_BOTH 3u
#define STATUS_OUT 0x80u
#define STATUS_NULL 0x40u

enum { MODE_TERMINAL, MODE_ONE_SHOT, MODE_RATE, MODE_SQUARE, MODE_STROBE, MODE_HW_STROBE };

void pit_channel_reset(struct pit_channel *c, uint64_t now, bool gate)
{
	*c = (struct pit_channel){ .at = now, .control = RW_BOTH << 4, .gate = gate };
}

unsigned int pit_channel_mode(const struct pit_channel *c)
{
	unsigned int mode = c->control >> 1 & 7;

	return mode > MODE_HW_STROBE ? mode - 4 : mode; /* 6 and 7 are other names of 2 and 3 */
}

static unsigned int channel_rw(const struct pit_channel *c)
{
	return c->control >> 4 & 3;
}

static bool triggered_by_gate(const struct pit_channel *c)
{
	return pit_channel_mode(c) == MODE_ONE_SHOT || pit_channel_mode(c) == MODE_HW_STROBE;
}

static bool periodic(const struct pit_channel *c)
{
	return pit_channel_mode(c) == MODE_RATE || pit_channel_mode(c) == MODE_SQUARE;
}

/* How many values the counting element goes through before it comes round. */
static uint32_t modulus(const struct pit_channel *c)
{
	return c->control & CONTROL_BCD ? 10000 : PIT_MAX_COUNT;
}

/* The count that the next load gives: at least 1. Digits above 9 count for what they would be worth. */
static uint32_t reload_count(const struct pit_channel *c)
{
	uint32_t n = c->reload;

	if (c->control & CONTROL_BCD)
		n = (n >> 12) * 1000 + (n >> 8 & 15) * 100 + (n >> 4 & 15) * 10 + (n & 15);
	return n ? n : modulus(c);
}

/* The counting element as the guest reads it. */
static uint16_t shown_count(const struct pit_channel *c)
{
	uint32_t n = c->count % modulus(c);

	if (c->control & CONTROL_BCD)
		n = n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
	return (uint16_t)n;
}

static bool counts(const struct pit_channel *c)
{
	return c->running && (c->gate || triggered_by_gate(c));
}

static void load_count(struct pit_channel *c)
{
	uint32_t n = reload_count(c);

	c->count = n;
	c->load = c->null_count = false;
	c->running = c->armed = true;
	switch (pit_channel_mode(c)) {
	case MODE_ONE_SHOT:
		c->out = false;
		break;
	case MODE_RATE:
		c->out = n != 1;
		break;
	case MODE_SQUARE:
		c->count = n & ~1u;
		c->odd = n & 1;
		break;
	case MODE_STROBE:
	case MODE_HW_STROBE:
		c->out = true;
		break;
	}
}

/* The next three let n > 0 ticks pass and tell whether OUT rose in them. */
static bool count_down_once(struct pit_channel *c, uint64_t n)
{
	bool strobe = pit_channel_mode(c) == MODE_STROBE || pit_channel_mode(c) == MODE_HW_STROBE;
	bool rose = strobe && !c->out; /* a strobe ends after one tick, even if the gate stops the count */
	uint32_t wrap = modulus(c);

	c->out |= strobe;
	if (!counts(c))
		return rose;
	if (c->armed && n >= c->count) {
		c->armed = false;
		rose |= strobe ? n > c->count : !c->out;
		c->out = !(strobe && n == c->count);
	}
	c->count = n <= c->count ? c->count - (uint32_t)n : (wrap - (uint32_t)((n - c->count) % wrap)) % wrap;
	return rose;
}

static bool count_down_rate(struct pit_channel *c, uint64_t n)
{
	bool reloads = n >= c->count;

	if (reloads) {
		n -= c->count;
		load_count(c);
		n %= c->count;
	}
	c->count -= (uint32_t)n;
	c->out = c->count != 1;
	return reloads && reload_count(c) != 1;
}

/* Ticks until this half of the square wave ends. An odd count makes the high half one tick longer. */
static uint32_t half_left(const struct pit_channel *c)
{
	return c->count / 2 + (c->odd && c->out);
}

static bool count_down_square(struct pit_channel *c, uint64_t n)
{
	bool rose = false;

	while (n >= half_left(c)) {
		uint32_t period = reload_count(c);

		n -= half_left(c);
		rose |= !c->out;
		c->out = !c->out || period == 1; /* a low half of no ticks */
		load_count(c);
		rose |= n >= period && period != 1;
		n %= period;
	}
	c->count -= 2 * (uint32_t)n;
	return rose;
}

static bool count_down(struct pit_channel *c, uint64_t n)
{
	if (!periodic(c))
		return count_down_once(c, n);
	if (!counts(c))
		return false;
	return pit_channel_mode(c) == MODE_RATE ? count_down_rate(c, n) : count_down_square(c, n);
}

bool pit_channel_advance(struct pit_channel *c, uint64_t to)
{
	bool rose = false;

	if (c->at < to && c->load) {
		bool out = c->out;

		load_count(c);
		rose = !out && c->out;
		c->at++;
	}
	if (c->at < to) {
		rose |= count_down(c, to - c->at);
		c->at = to;
	}
	return rose;
}

/* Ticks until OUT rises if nobody touches the channel; 0 = never. */
static uint64_t ticks_to_rise(const struct pit_channel *c)
{
	bool never_low = periodic(c) && reload_count(c) == 1;

	switch (pit_channel_mode(c)) {
	case MODE_TERMINAL:
	case MODE_ONE_SHOT:
		return counts(c) && c->armed && !c->out ? c->count : 0;
	case MODE_RATE:
		return counts(c) && !never_low ? c->count : 0;
	case MODE_SQUARE:
		if (!counts(c) || (c->out && never_low))
			return 0;
		return half_left(c) + (c->out ? reload_count(c) / 2 : 0);
	default:
		if (!c->out)
			return 1;
		return counts(c) && c->armed ? c->count + 1 : 0;
	}
}

uint64_t pit_channel_next_rise(const struct pit_channel *c)
{
	struct pit_channel then = *c;
	uint64_t ticks;

	if (c->load && pit_channel_advance(&then, c->at + 1))
		return then.at;
	ticks = ticks_to_rise(&then);
	return ticks ? then.at + ticks : UINT64_MAX;
}

static void set_reload(struct pit_channel *c, unsigned int count)
{
	c->reload = (uint16_t)count;
	c->null_count = true;
	if (pit_channel_mode(c) == MODE_TERMINAL)
		c->out = false;
	if (!triggered_by_gate(c) && !(periodic(c) && c->written))
		c->load = true;
	c->written = true;
}

void pit_channel_write(struct pit_channel *c, uint8_t value)
{
	if (channel_rw(c) == RW_LOW) {
		set_reload(c, value);
	} else if (channel_rw(c) == RW_HIGH) {
		set_reload(c, (unsigned int)value << 8);
	} else if (c->write_high) {
		c->write_high = false;
		set_reload(c, (unsigned int)value << 8 | c->write_low);
	} else {
		c->write_low = value;
		c->write_high = true;
		if (pit_channel_mode(c) == MODE_TERMINAL)
			c->out = c->running = c->load = false; /* half a count stops the old one */
	}
}

uint8_t pit_channel_read(struct pit_channel *c)
{
	uint16_t count = c->count_latched ? c->latched_count : shown_count(c);
	bool high = channel_rw(c) == RW_HIGH || (channel_rw(c) == RW_BOTH && c->read_high);

	if (c->status_latched) {
		c->status_latched = false;
		return c->latched_status;
	}
	c->read_high = channel_rw(c) == RW_BOTH && !high;
	if (!c->read_high)
		c->count_latched = false;
	return (uint8_t)(high ? count >> 8 : count);
}

void pit_channel_latch_count(struct pit_channel *c)
{
	if (c->count_latched)
		return;
	c->latched_count = shown_count(c);
	c->count_latched = true;
	c->read_high = false;
}

void pit_channel_latch_status(struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->latched_status =
		(uint8_t)(c->control | (c->out ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0));
	c->status_latched = true;
}

void pit_channel_set_control(struct pit_channel *c, uint8_t control)
{
	*c = (struct pit_channel){
		.at = c->at, .count = c->count, .reload = c->reload, .gate = c->gate, .control = control,
		.null_count = true,
	};
	c->out = pit_channel_mode(c) != MODE_TERMINAL;
}

void pit_channel_set_gate(struct pit_channel *c, bool gate)
{
	bool rising = gate && !c->gate;

	c->gate = gate;
	if (rising && c->written && (triggered_by_gate(c) || periodic(c)))
		c->load = true;
	if (!gate && periodic(c))
		c->out = true;
}

void pit_channel_visit(struct pit_channel *c, struct state *s)
{
	state_u64(s, &c->at);
	state_u32(s, &c->count);
	state_u16(s, &c->reload);
	state_u8(s, &c->control);
	state_bool(s, &c->gate);
	state_bool(s, &c->out);
	state_bool(s, &c->written);
	state_bool(s, &c->load);
	state_bool(s, &c->running);
	state_bool(s, &c->null_count);
	state_bool(s, &c->armed);
	state_bool(s, &c->odd);
	state_bool(s, &c->write_high);
	state_bool(s, &c->read_high);
	state_u8(s, &c->write_low);
	state_bool(s, &c->count_latched);
	state_bool(s, &c->status_latched);
	state_u16(s, &c->latched_count);
	state_u8(s, &c->latched_status);
	state_check(s, c->at <= clock_ticks(CLOCK_MAX_NS, PIT_HZ), "pit: time out of range");
	state_check(s, c->count <= PIT_MAX_COUNT, "pit: count out of range");
	state_check(s, !(c->control & 0xc0) && channel_rw(c), "pit: no such control word");
	state_check(s, c->written || !(c->load || c->running), "pit: counts without a count");
	state_check(s, !c->running || pit_channel_mode(c) != MODE_RATE || c->count, "pit: rate generator at 0");
	state_check(s, !c->running || pit_channel_mode(c) != MODE_SQUARE || !(c->count & 1), "pit: odd square wave");
}
