#include "vmm/stats_table.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define CELL 16
#define MANY 100000.0
#define US_PER_SECOND 1e6

struct table {
	FILE *out;
	const json_t *guests, *before;
	unsigned int columns; /* one bit each */
	unsigned int width, lines;
	const char *end;
	char line[160];
};

/* One guest, now and the last time; NULL = there is none. */
struct pair {
	const json_t *now, *before;
};

struct column {
	const char *title;
	unsigned int width;
	bool scavenger;				    /* only of a run that has one */
	void (*print)(char text[CELL], double value);
	double (*value)(const struct pair *guest);  /* NaN = not known */
};

static double number(const json_t *object, const char *field)
{
	return (double)json_integer_value(json_object_get(object, field));
}

static double scavenged(const json_t *guest, const char *field)
{
	return number(json_object_get(guest, "scavenger"), field);
}

/* Of what was counted, a second of the guest's. One that has ended does nothing any more. */
static double rate(const struct pair *guest, double now, double before)
{
	double seconds = (number(guest->now, "wall_us") - number(guest->before, "wall_us")) / US_PER_SECOND;

	if (!guest->before)
		return NAN;
	return seconds > 0 ? (now - before) / seconds : 0;
}

static double resident(const struct pair *guest)
{
	return scavenged(guest->now, "resident_kib");
}

static double zero(const struct pair *guest)
{
	return scavenged(guest->now, "zero_kib");
}

static double shared(const struct pair *guest)
{
	return scavenged(guest->now, "shared_kib");
}

static double cold(const struct pair *guest)
{
	return scavenged(guest->now, "same_kib") + scavenged(guest->now, "delta_kib") + scavenged(guest->now, "compressed_kib");
}

static double saved(const struct pair *guest)
{
	return scavenged(guest->now, "saved_kib");
}

static double refaults(const struct pair *guest)
{
	return rate(guest, scavenged(guest->now, "refaults"), scavenged(guest->before, "refaults"));
}

static double scavenger_percent(const struct pair *guest)
{
	return rate(guest, scavenged(guest->now, "cpu_us"), scavenged(guest->before, "cpu_us")) / US_PER_SECOND * 100;
}

static double all_exits(const json_t *guest)
{
	json_t *exits = json_object_get(guest, "exits"), *count;
	const char *name;
	double sum = 0;

	json_object_foreach(exits, name, count)
		sum += (double)json_integer_value(count);
	return sum;
}

static double exits(const struct pair *guest)
{
	return rate(guest, all_exits(guest->now), all_exits(guest->before));
}

static void print_kib(char text[CELL], double kib)
{
	static const char units[] = "KMGT";
	int unit = 0;

	for (; fabs(kib) >= 1000 && unit < 3; unit++)
		kib /= 1024;
	snprintf(text, CELL, "%.*f%c", unit && fabs(kib) < 100 ? 1 : 0, kib, units[unit]);
}

static void print_rate(char text[CELL], double value)
{
	if (value >= MANY)
		snprintf(text, CELL, "%.0fk", fmin(value / 1000, 9999999));
	else
		snprintf(text, CELL, "%.*f", value && value < 10 ? 1 : 0, value);
}

static void print_percent(char text[CELL], double value)
{
	snprintf(text, CELL, "%.1f%%", fmin(value, 9999));
}

static const struct column columns[] = {
	{"resident", 9, true, print_kib, resident},  {"zero", 8, true, print_kib, zero},
	{"shared", 8, true, print_kib, shared},	     {"cold", 8, true, print_kib, cold},
	{"saved", 8, true, print_kib, saved},	     {"faults/s", 9, true, print_rate, refaults},
	{"cpu", 7, true, print_percent, scavenger_percent}, {"exits/s", 9, false, print_rate, exits},
};

#define COLUMNS (sizeof(columns) / sizeof(*columns))
#define FIRST_COLUMNS 18u /* number and mode */

static bool has_scavenger(const json_t *guests)
{
	for (size_t i = 0; i < json_array_size(guests); i++)
		if (json_object_get(json_array_get(guests, i), "scavenger"))
			return true;
	return false;
}

/* The columns that fit, as bits: all up to the first that does not. */
static unsigned int choose_columns(const json_t *guests, unsigned int width)
{
	bool scavenger = has_scavenger(guests);
	unsigned int chosen = 0, used = FIRST_COLUMNS;

	for (unsigned int i = 0; i < COLUMNS; i++) {
		if (columns[i].scavenger && !scavenger)
			continue;
		used += columns[i].width;
		if (used > width)
			break;
		chosen |= 1u << i;
	}
	return chosen;
}

/* The mode that it is in, or how it ended, by the first words of that. */
static const char *mode_of(const json_t *guest)
{
	const char *how = json_string_value(json_object_get(json_object_get(guest, "ended"), "how"));
	const char *mode = json_string_value(json_object_get(guest, "mmu_now"));

	if (how && strcmp(how, "running"))
		return strncmp(how, "cannot ", 7) ? how : "cannot";
	return mode ? mode : "";
}

static struct pair pair_at(const struct table *t, size_t i)
{
	return (struct pair){json_array_get(t->guests, i), json_array_get(t->before, i)};
}

static double sum_of(const struct table *t, const struct column *c)
{
	double sum = 0;

	for (size_t i = 0; i < json_array_size(t->guests); i++) {
		struct pair p = pair_at(t, i);

		sum += c->value(&p);
	}
	return sum;
}

static void put(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds to the line. */
static void put(struct table *t, const char *fmt, ...)
{
	size_t used = strlen(t->line);
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->line + used, sizeof(t->line) - used, fmt, args);
	va_end(args);
}

static void end_line(struct table *t)
{
	fprintf(t->out, "%.*s%s", (int)t->width, t->line, t->end);
	t->line[0] = '\0';
	t->lines++;
}

/* guest: NULL = the sums. */
static void put_numbers(struct table *t, const struct pair *guest)
{
	for (unsigned int i = 0; i < COLUMNS; i++) {
		const struct column *c = &columns[i];
		char text[CELL] = "-";
		double value;

		if (!(t->columns & 1u << i))
			continue;
		value = guest ? c->value(guest) : sum_of(t, c);
		if (!isnan(value))
			c->print(text, value);
		put(t, "%*s", (int)c->width, text);
	}
	end_line(t);
}

static void put_titles(struct table *t)
{
	put(t, "%5s %-12s", "guest", "mode");
	for (unsigned int i = 0; i < COLUMNS; i++)
		if (t->columns & 1u << i)
			put(t, "%*s", (int)columns[i].width, columns[i].title);
	end_line(t);
}

static void put_guest(struct table *t, size_t i)
{
	struct pair p = pair_at(t, i);

	put(t, "%5.0f %-12.12s", number(p.now, "number"), mode_of(p.now));
	put_numbers(t, &p);
}

unsigned int stats_table_print(FILE *out, const json_t *guests, const json_t *before, unsigned int width, unsigned int height,
			       const char *end)
{
	struct table t = {.out = out, .guests = guests, .before = before, .columns = choose_columns(guests, width), .width = width,
			  .end = end};
	size_t count = json_array_size(guests), others = count > 1 ? 2 : 1, shown = count;

	if (count + others > height)
		shown = height > others + 1 ? height - others - 1 : 0;
	put_titles(&t);
	for (size_t i = 0; i < shown; i++)
		put_guest(&t, i);
	if (shown < count) {
		put(&t, "  and %zu more", count - shown);
		end_line(&t);
	}
	if (count > 1) {
		put(&t, "%5s %-12s", "all", "");
		put_numbers(&t, NULL);
	}
	return t.lines;
}
