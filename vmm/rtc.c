#include "vmm/rtc.h"

#include <string.h>

#include "vmm/state.h"

#define SECONDS_PER_DAY 86400u
#define CYCLE_HZ 32768u
#define UIP_NS 244000u
#define CALENDAR_CYCLE 400u /* years */
#define RELEASE_NS (CLOCK_NS_PER_S / 2) /* from the end of the divider's reset to the first update */

enum {
	REG_SECONDS,
	REG_SECONDS_ALARM,
	REG_MINUTES,
	REG_MINUTES_ALARM,
	REG_HOURS,
	REG_HOURS_ALARM,
	REG_WEEKDAY, /* 1 = Sunday */
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_CENTURY = 0x32,
};

#define A_UIP 0x80u
#define A_DIVIDER 0x60u /* both set: the divider is held in reset */
#define A_RATE 0x0fu
#define A_DEFAULT 0x26u /* 32768 Hz, 1024 periodic interrupts a second */
#define B_SET 0x80u
#define B_PIE 0x40u
#define B_AIE 0x20u
#define B_UIE 0x10u
#define B_BINARY 0x04u
#define B_24H 0x02u
#define C_IRQ 0x80u
#define C_PERIODIC 0x40u
#define C_ALARM 0x20u
#define C_UPDATE 0x10u
#define D_VALID 0x80u
#define HOUR_PM 0x80u
#define ALARM_ANY 0xc0u /* an alarm byte from here on fits everything */

static uint8_t encode(const struct rtc *r, unsigned int n)
{
	return (uint8_t)(r->cmos[REG_B] & B_BINARY ? n : n / 10 << 4 | n % 10);
}

static unsigned int decode(const struct rtc *r, uint8_t byte)
{
	return r->cmos[REG_B] & B_BINARY ? byte : (byte >> 4) * 10u + (byte & 15u);
}

static uint8_t encode_hour(const struct rtc *r, unsigned int hour)
{
	unsigned int twelve = hour % 12 ? hour % 12 : 12;

	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, twelve) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned int decode_hour(const struct rtc *r, uint8_t byte)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, byte);
	return decode(r, byte & (uint8_t)~HOUR_PM) % 12 + (byte & HOUR_PM ? 12 : 0);
}

/*
 * Days since 0000-03-01 of the proleptic Gregorian calendar, for later dates. Years begin in March, so that the leap day is their last:
 * month m (0 = March) then begins on day (153 m + 2) / 5.
 */
static uint64_t days_of_date(uint64_t year, unsigned int month, unsigned int day)
{
	uint64_t y = month > 2 ? year : year - 1;
	unsigned int m = (month + 9) % 12;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
}

static void date_of_days(uint64_t days, uint64_t *year, unsigned int *month, unsigned int *day)
{
	uint64_t y = days * 400 / 146097 + 1; /* 400 years have 146097 days; never too early */
	unsigned int m, of_year;

	while (days_of_date(y, 3, 1) > days)
		y--;
	of_year = (unsigned int)(days - days_of_date(y, 3, 1));
	m = (5 * of_year + 2) / 153;
	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = (m + 2) % 12 + 1;
	*year = y + (*month <= 2);
}

static unsigned int clamp(unsigned int n, unsigned int low, unsigned int high)
{
	return n < low ? low : n > high ? high : n;
}

/* Dates are counted from a calendar cycle before the year 0, whose January lies before day 0 otherwise. */
static void store_date(struct rtc *r, uint64_t days)
{
	unsigned int month, day;
	uint64_t year;

	date_of_days(days, &year, &month, &day);
	year -= CALENDAR_CYCLE;
	r->cmos[REG_DAY] = encode(r, day);
	r->cmos[REG_MONTH] = encode(r, month);
	r->cmos[REG_YEAR] = encode(r, (unsigned int)(year % 100));
	r->cmos[REG_CENTURY] = encode(r, (unsigned int)(year / 100 % 100));
}

static void store_time(struct rtc *r, unsigned int second_of_day)
{
	r->cmos[REG_SECONDS] = encode(r, second_of_day % 60);
	r->cmos[REG_MINUTES] = encode(r, second_of_day / 60 % 60);
	r->cmos[REG_HOURS] = encode_hour(r, second_of_day / 3600);
}

/* What the bytes say, each clamped to what it may be. */
static unsigned int load_time(const struct rtc *r)
{
	return clamp(decode_hour(r, r->cmos[REG_HOURS]), 0, 23) * 3600 +
	       clamp(decode(r, r->cmos[REG_MINUTES]), 0, 59) * 60 + clamp(decode(r, r->cmos[REG_SECONDS]), 0, 59);
}

static uint64_t load_date(const struct rtc *r)
{
	uint64_t century = clamp(decode(r, r->cmos[REG_CENTURY]), 0, 99);
	uint64_t year = century * 100 + clamp(decode(r, r->cmos[REG_YEAR]), 0, 99);
	unsigned int month = clamp(decode(r, r->cmos[REG_MONTH]), 1, 12);

	return days_of_date(year + CALENDAR_CYCLE, month, clamp(decode(r, r->cmos[REG_DAY]), 1, 31));
}

/* The chip knows no calendar behind the day of the week: it only counts. */
static void add_weekdays(struct rtc *r, uint64_t days)
{
	unsigned int weekday = clamp(decode(r, r->cmos[REG_WEEKDAY]), 1, 7);

	r->cmos[REG_WEEKDAY] = encode(r, (unsigned int)((weekday - 1 + days) % 7) + 1);
}

static bool alarm_fits(const struct rtc *r, unsigned int reg, uint8_t byte)
{
	return r->cmos[reg] >= ALARM_ANY || r->cmos[reg] == byte;
}

/* The first second of the day at or after `from` that the alarm fits, or SECONDS_PER_DAY. */
static unsigned int alarm_in_day(const struct rtc *r, unsigned int from)
{
	unsigned int t = from;

	while (t < SECONDS_PER_DAY) {
		if (!alarm_fits(r, REG_HOURS_ALARM, encode_hour(r, t / 3600)))
			t = (t / 3600 + 1) * 3600;
		else if (!alarm_fits(r, REG_MINUTES_ALARM, encode(r, t / 60 % 60)))
			t = (t / 60 + 1) * 60;
		else if (!alarm_fits(r, REG_SECONDS_ALARM, encode(r, t % 60)))
			t++;
		else
			return t;
	}
	return SECONDS_PER_DAY;
}

/* Updates from second_of_day on until the alarm fits: 1..86400, or 0 if it never does. */
static unsigned int updates_to_alarm(const struct rtc *r, unsigned int second_of_day)
{
	unsigned int at = alarm_in_day(r, second_of_day + 1);

	if (at < SECONDS_PER_DAY)
		return at - second_of_day;
	at = alarm_in_day(r, 0);
	return at < SECONDS_PER_DAY ? at + SECONDS_PER_DAY - second_of_day : 0;
}

static bool held(const struct rtc *r)
{
	return (r->cmos[REG_A] & A_DIVIDER) == A_DIVIDER;
}

static bool updates(const struct rtc *r)
{
	return !held(r) && !(r->cmos[REG_B] & B_SET);
}

static uint64_t divider_ns(const struct rtc *r)
{
	return clock_wall(r->clock) + r->phase;
}

/* n > 0 updates: the time bytes move on, the flags say so. */
static void update_time(struct rtc *r, uint64_t n)
{
	unsigned int second_of_day = load_time(r);
	unsigned int alarm = updates_to_alarm(r, second_of_day);
	uint64_t sum = second_of_day + n;

	r->cmos[REG_C] |= C_UPDATE;
	if (alarm && alarm <= n)
		r->cmos[REG_C] |= C_ALARM;
	store_date(r, load_date(r) + sum / SECONDS_PER_DAY);
	add_weekdays(r, sum / SECONDS_PER_DAY);
	store_time(r, (unsigned int)(sum % SECONDS_PER_DAY));
}

/* Divider bits that make one periodic interrupt; rates 1 and 2 are those of 8 and 9. 0 = none. */
static unsigned int periodic_shift(const struct rtc *r)
{
	unsigned int rate = r->cmos[REG_A] & A_RATE;

	return rate && rate <= 2 ? rate + 6 : rate ? rate - 1 : 0;
}

/* Makes up for the time since the last look. */
static void catch_up(struct rtc *r)
{
	uint64_t ns = divider_ns(r);
	uint64_t second = ns / CLOCK_NS_PER_S, cycle = clock_ticks(ns, CYCLE_HZ);
	unsigned int shift = periodic_shift(r);

	if (updates(r) && second > r->second)
		update_time(r, second - r->second);
	if (!held(r) && shift && cycle >> shift > r->cycle >> shift)
		r->cmos[REG_C] |= C_PERIODIC;
	r->second = second;
	r->cycle = cycle;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Divider time of the next event that raises the interrupt, or CLOCK_NEVER. */
static uint64_t next_event(const struct rtc *r)
{
	uint8_t enabled = r->cmos[REG_B];
	unsigned int shift = periodic_shift(r), alarm;
	uint64_t next = CLOCK_NEVER;

	if (enabled & B_PIE && shift && !held(r))
		next = clock_tick_ns(((r->cycle >> shift) + 1) << shift, CYCLE_HZ);
	if (!updates(r))
		return next;
	if (enabled & B_UIE)
		next = earlier(next, (r->second + 1) * CLOCK_NS_PER_S);
	if (enabled & B_AIE) {
		alarm = updates_to_alarm(r, load_time(r));
		if (alarm)
			next = earlier(next, (r->second + alarm) * CLOCK_NS_PER_S);
	}
	return next;
}

static bool interrupting(const struct rtc *r)
{
	return r->cmos[REG_C] & r->cmos[REG_B] & (C_PERIODIC | C_ALARM | C_UPDATE);
}

/* While the interrupt is raised nothing can raise it again, so no rate wakes a VMM whose guest does not answer. */
static void arm(struct rtc *r)
{
	uint64_t next = interrupting(r) ? CLOCK_NEVER : next_event(r);
	uint64_t start = r->clock->wall_base_ns + r->phase; /* divider time of clock value 0 */

	if (next != CLOCK_NEVER)
		next = next > start ? next - start : 0;
	clock_timer_set(r->clock, &r->timer, next);
}

static void update_irq(struct rtc *r)
{
	irq_set(&r->irq, interrupting(r));
	arm(r);
}

static void rtc_fire(void *owner, uint64_t now)
{
	struct rtc *r = owner;

	catch_up(r);
	update_irq(r);
}

static uint8_t read_a(const struct rtc *r)
{
	bool soon = divider_ns(r) % CLOCK_NS_PER_S >= CLOCK_NS_PER_S - UIP_NS;

	return r->cmos[REG_A] | (updates(r) && soon ? A_UIP : 0);
}

static uint8_t read_c(struct rtc *r)
{
	uint8_t value = r->cmos[REG_C] | (interrupting(r) ? C_IRQ : 0);

	r->cmos[REG_C] = 0;
	return value;
}

static uint8_t read_cmos(struct rtc *r)
{
	switch (r->index) {
	case REG_A:
		return read_a(r);
	case REG_C:
		return read_c(r);
	default:
		return r->cmos[r->index];
	}
}

static void write_a(struct rtc *r, uint8_t value)
{
	bool was_held = held(r);

	r->cmos[REG_A] = value & (uint8_t)~A_UIP;
	if (!was_held || held(r))
		return;
	r->phase = (RELEASE_NS + CLOCK_NS_PER_S - clock_wall(r->clock) % CLOCK_NS_PER_S) % CLOCK_NS_PER_S;
	r->second = divider_ns(r) / CLOCK_NS_PER_S;
	r->cycle = clock_ticks(divider_ns(r), CYCLE_HZ);
}

static void write_b(struct rtc *r, uint8_t value)
{
	if (value & ~r->cmos[REG_B] & B_SET)
		value &= (uint8_t)~B_UIE;
	r->cmos[REG_B] = value;
}

static void write_cmos(struct rtc *r, uint8_t value)
{
	switch (r->index) {
	case REG_A:
		write_a(r, value);
		break;
	case REG_B:
		write_b(r, value);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		r->cmos[r->index] = value;
		break;
	}
}

static void rtc_access(struct device *d, unsigned int range, struct access *a)
{
	struct rtc *r = (struct rtc *)d;
	bool read = access_is_read(a->kind);

	if (a->addr == 0) {
		if (read)
			a->value = 0xff; /* the index cannot be read */
		else
			r->index = (uint8_t)(a->value % RTC_CMOS_SIZE); /* bit 7 masks NMI, of which there is none */
		return;
	}
	catch_up(r);
	if (read)
		a->value = read_cmos(r);
	else
		write_cmos(r, (uint8_t)a->value);
	update_irq(r);
}

static bool rtc_timed(const struct device *d, unsigned int range, uint64_t offset)
{
	return true;
}

static void rtc_reset(struct device *d)
{
	struct rtc *r = (struct rtc *)d;
	uint64_t ns = clock_wall(r->clock), second = ns / CLOCK_NS_PER_S;
	uint64_t days = second / SECONDS_PER_DAY;

	memset(r->cmos, 0, sizeof(r->cmos));
	r->cmos[REG_A] = A_DEFAULT;
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_D] = D_VALID;
	r->index = 0;
	r->phase = 0;
	r->second = second;
	r->cycle = clock_ticks(ns, CYCLE_HZ);
	store_date(r, days_of_date(1970 + CALENDAR_CYCLE, 1, 1) + days);
	store_time(r, (unsigned int)(second % SECONDS_PER_DAY));
	r->cmos[REG_WEEKDAY] = (uint8_t)((4 + days) % 7 + 1); /* 1970 began on a Thursday */
	update_irq(r);
}

static void rtc_visit(struct device *d, struct state *s)
{
	const uint64_t max_ns = 2 * CLOCK_MAX_NS; /* wall base and clock, each at its limit */
	struct rtc *r = (struct rtc *)d;

	state_begin(s, "rtc", 1);
	state_bytes(s, r->cmos, sizeof(r->cmos));
	state_u8(s, &r->index);
	state_u64(s, &r->phase);
	state_u64(s, &r->second);
	state_u64(s, &r->cycle);
	state_check(s, r->index < RTC_CMOS_SIZE, "rtc: index out of range");
	state_check(s, r->phase < CLOCK_NS_PER_S, "rtc: phase is more than a second");
	state_check(s, r->second <= max_ns / CLOCK_NS_PER_S + 1, "rtc: time out of range");
	state_check(s, r->cycle <= clock_ticks(max_ns, CYCLE_HZ) + CYCLE_HZ, "rtc: divider out of range");
	state_check(s, !(r->cmos[REG_A] & A_UIP), "rtc: update in progress");
	state_check(s, !(r->cmos[REG_C] & ~(C_PERIODIC | C_ALARM | C_UPDATE)), "rtc: reserved flags");
	state_check(s, r->cmos[REG_D] == D_VALID, "rtc: register D is not what it always is");
	state_end(s);
	if (state_loading(s) && !s->error)
		arm(r);
}

void rtc_init(struct rtc *r, struct bus *b, struct clock *c, struct irq_line irq)
{
	*r = (struct rtc){
		.device = {
			.name = "rtc", .byte_wide = true, .timed = rtc_timed, .access = rtc_access, .reset = rtc_reset, .visit = rtc_visit,
		},
		.clock = c,
		.irq = irq,
	};
	clock_timer_add(c, &r->timer, rtc_fire, r);
	rtc_reset(&r->device);
	bus_add(b, &r->device);
	bus_claim(b, &r->device, BUS_PORT, 0x70, 2, 0);
}
