#include "compare/amount.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define SMALLEST_COUNT 1e-4

struct unit {
	const char *name;
	double us;
};

static const struct unit times[] = {{"s", 1e6}, {"ms", 1e3}, {"us", 1}, {"ns", 1e-3}};

#define TIMES (sizeof(times) / sizeof(*times))

static const struct unit *unit_of(double us)
{
	for (size_t i = 0; i < TIMES; i++)
		if (us >= times[i].us)
			return &times[i];
	return &times[TIMES - 1];
}

/* Up to three digits in at most seven characters, and no exponent where people would not write one. */
static int digits(char *out, size_t room, double x)
{
	double size = fabs(x);

	if (!isfinite(x))
		return snprintf(out, room, "?");
	if (size >= 1e6)
		return snprintf(out, room, "%.2g", x);
	if (size >= 99.95)
		return snprintf(out, room, "%.0f", x);
	if (size >= 9.995)
		return snprintf(out, room, "%.1f", x);
	if (size >= 0.0995 || size == 0)
		return snprintf(out, room, "%.2f", x);
	return snprintf(out, room, size < 0.000995 ? "%.1g" : "%.2g", x);
}

char *amount_time(char *out, double us)
{
	const struct unit *unit = unit_of(us);
	char number[16];

	digits(number, sizeof(number), us / unit->us);
	snprintf(out, AMOUNT_ROOM, "%s %s", number, unit->name);
	return out;
}

char *amount_spread(char *out, const struct spread *s)
{
	const struct unit *unit = unit_of(s->median);
	char median[AMOUNT_ROOM], low[12], high[12];

	amount_time(median, s->median);
	digits(low, sizeof(low), s->min / unit->us);
	digits(high, sizeof(high), s->max / unit->us);
	if (s->n > 1)
		snprintf(out, AMOUNT_ROOM, "%.16s (%s-%s)", median, low, high);
	else
		snprintf(out, AMOUNT_ROOM, "%s", median);
	return out;
}

char *amount_count(char *out, double n)
{
	if (n == 0)
		snprintf(out, AMOUNT_ROOM, "0");
	else if (fabs(n) < SMALLEST_COUNT)
		snprintf(out, AMOUNT_ROOM, "~0");
	else
		digits(out, AMOUNT_ROOM, n);
	return out;
}

char *amount_verdict(char *out, const struct verdict *v)
{
	static const char *const words[] = {[VERDICT_NONE] = "-", [VERDICT_NOISE] = "noise", [VERDICT_SAME] = "same"};

	if (v->kind != VERDICT_DIFFERS) {
		snprintf(out, AMOUNT_ROOM, "%s", words[v->kind]);
		return out;
	}
	out[0] = 'x';
	digits(out + 1, AMOUNT_ROOM - 1, v->ratio);
	return out;
}

char *amount_bytes(char *out, uint64_t bytes)
{
	static const char *const names[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;

	while (unit + 1 < sizeof(names) / sizeof(*names) && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	if (bytes)
		snprintf(out, AMOUNT_ROOM, "%" PRIu64 " %s", bytes, names[unit]);
	else
		snprintf(out, AMOUNT_ROOM, "unknown");
	return out;
}

char *amount_share(char *out, double share)
{
	if (share < 0.01)
		snprintf(out, AMOUNT_ROOM, "less than 1 %%");
	else
		snprintf(out, AMOUNT_ROOM, "%.0f %%", 100 * share);
	return out;
}
