#include "compare/plot.h"

#include <math.h>
#include <string.h>

#include "compare/amount.h"
#include "compare/cause.h"
#include "compare/markup.h"
#include "compare/versus.h"

#define WIDTH 500.0
#define LEFT 146.0  /* for names */
#define RIGHT 62.0  /* for numbers */
#define TOP 8.0
#define AXIS 34.0   /* below the rows */
#define LINE 17.0   /* for a column's part of a row */
#define GAP 9.0	    /* between rows */
#define BAR 11.0
#define SIGN 4.6
#define NAME_ROOM 20 /* characters */
#define FAR 4.0	    /* decades: what is farther from 1 is drawn at the edge */
#define LEAST_SPAN 0.35 /* decades to both sides */

struct axis {
	double low, high; /* decades */
};


typedef bool column_fn(const struct comparison *c, const struct row *r, unsigned int column);

static bool has_ratio(const struct comparison *c, const struct row *r, unsigned int column)
{
	unsigned int base = versus_base(c, column);

	return base != NO_COLUMN && versus(c, r, column, base).kind != VERDICT_NONE;
}

static bool has_exits(const struct comparison *c, const struct row *r, unsigned int column)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];

	return r->cell[column].kind == CELL_MEASURED && exit_causes(&r->cell[column], list) > 0;
}

static unsigned int count_columns(const struct comparison *c, const struct row *r, column_fn *has)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->columns; i++)
		n += has(c, r, i);
	return n;
}

static bool any(const struct comparison *c, const char *group, column_fn *has)
{
	for (size_t i = 0; i < c->rows; i++)
		if (!strcmp(c->row[i].group, group) && count_columns(c, &c->row[i], has))
			return true;
	return false;
}

bool plot_has_ratios(const struct comparison *c, const char *group)
{
	return any(c, group, has_ratio);
}

bool plot_has_exits(const struct comparison *c, const char *group)
{
	return any(c, group, has_exits);
}

/* The same in both plots, so that rows beside each other are in line. */
static double row_height(const struct comparison *c, const struct row *r)
{
	unsigned int n = count_columns(c, r, has_ratio), exits = count_columns(c, r, has_exits);

	n = n > exits ? n : exits;
	return GAP + LINE * (n ? n : 1);
}

static double rows_height(const struct comparison *c, const char *group)
{
	double height = 0;

	for (size_t i = 0; i < c->rows; i++)
		if (!strcmp(c->row[i].group, group))
			height += row_height(c, &c->row[i]);
	return height;
}

static double clamp(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

static double decades(double ratio)
{
	return ratio > 0 ? clamp(log10(ratio), -FAR, FAR) : 0;
}

static struct axis axis_of(const struct comparison *c, const char *group)
{
	struct axis a = {-LEAST_SPAN, LEAST_SPAN};

	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 0; j < c->columns; j++) {
			struct verdict v;

			if (strcmp(c->row[i].group, group) || !has_ratio(c, &c->row[i], j))
				continue;
			v = versus(c, &c->row[i], j, versus_base(c, j));
			a.low = fmin(a.low, decades(v.low) - 0.08);
			a.high = fmax(a.high, decades(v.high) + 0.08);
		}
	return a;
}

/* `at` is on the axis: it was made for all that is drawn. */
static double x_of(const struct axis *a, double at)
{
	return LEFT + (WIDTH - LEFT - RIGHT) * (at - a->low) / (a->high - a->low);
}

static void begin(FILE *out, double height, const char *kind, size_t id, const char *title, const char *group, const char *desc)
{
	fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
		"aria-labelledby=\"%s%zu-title %s%zu-desc\">\n<title id=\"%s%zu-title\">%s: ", WIDTH, height, kind, id, kind, id,
		kind, id, title);
	markup_label(out, group);
	fprintf(out, "</title>\n<desc id=\"%s%zu-desc\">%s The same numbers are in the table below.</desc>\n", kind, id, desc);
}

static void line(FILE *out, const char *class, double x1, double y1, double x2, double y2)
{
	fprintf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

/* Long names end in dots; the whole one is in the element's title. */
static void put_name(FILE *out, const char *name, double y)
{
	char cut[sizeof(((struct row *)NULL)->name)];

	fprintf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", LEFT - 10, y);
	if (strlen(name) > NAME_ROOM) {
		snprintf(cut, sizeof(cut), "%.*s", NAME_ROOM - 1, name);
		fputs("<title>", out);
		markup_label(out, name);
		fputs("</title>", out);
		markup_label(out, cut);
		fputs("\342\200\246", out);
	} else {
		markup_label(out, name);
	}
	fputs("</text>\n", out);
}

static void put_number(FILE *out, const char *class, const char *amount, double y)
{
	fprintf(out, "<text class=\"number %s\" x=\"%.1f\" y=\"%.1f\">", class, WIDTH - 4, y);
	markup_amount(out, amount);
	fputs("</text>\n", out);
}

static void put_tick(FILE *out, const struct axis *a, double value, double bottom)
{
	double x = x_of(a, log10(value));
	char text[AMOUNT_ROOM];

	line(out, value == 1 ? "one" : "grid", x, TOP, x, bottom);
	snprintf(text, sizeof(text), "x%g", value);
	fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">", x, bottom + 15);
	markup_amount(out, text);
	fputs("</text>\n", out);
}

/* 1, 10, 100 on a wide axis, otherwise 1, 2, 5, 10 too. */
static void put_axis(FILE *out, const struct axis *a, double bottom)
{
	static const double steps[] = {1, 2, 5};
	unsigned int n = a->high - a->low < 2 ? 3 : 1;

	for (int decade = -(int)FAR; decade <= (int)FAR; decade++)
		for (unsigned int i = 0; i < n; i++) {
			double value = steps[i] * pow(10, decade);

			if (log10(value) >= a->low && log10(value) <= a->high)
				put_tick(out, a, value, bottom);
		}
	fprintf(out, "<text class=\"hint\" x=\"%.1f\" y=\"%.1f\">\342\206\220 cheaper</text>\n", LEFT, bottom + 29);
	fprintf(out, "<text class=\"hint end\" x=\"%.1f\" y=\"%.1f\">dearer \342\206\222</text>\n", WIDTH - RIGHT, bottom + 29);
}

void plot_sign(FILE *out, unsigned int column, double x, double y, bool hollow)
{
	static const struct {
		unsigned int corners;
		double turn; /* of a whole one */
	} signs[] = {{0, 0}, {4, 0.125}, {3, 0.75}, {4, 0}, {3, 0.25}, {5, 0.75}, {6, 0}, {8, 0}};
	unsigned int corners = signs[column].corners;
	double size = corners == 3 ? SIGN * 1.3 : corners ? SIGN * 1.15 : SIGN;

	fprintf(out, "<%s class=\"sign c%u%s\"", corners ? "polygon" : "circle", column, hollow ? " hollow" : "");
	if (!corners) {
		fprintf(out, " cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", x, y, size);
		return;
	}
	fputs(" points=\"", out);
	for (unsigned int i = 0; i < corners; i++) {
		double angle = 2 * M_PI * (signs[column].turn + (double)i / corners);

		fprintf(out, "%s%.1f,%.1f", i ? " " : "", x + size * cos(angle), y + size * sin(angle));
	}
	fputs("\"/>\n", out);
}

static void put_ratio(FILE *out, const struct comparison *c, const struct row *r, unsigned int column, const struct axis *a,
		      double y)
{
	struct verdict v = versus(c, r, column, versus_base(c, column));
	bool noise = v.kind == VERDICT_NOISE;
	char class[32], text[AMOUNT_ROOM];

	if (!noise) {
		snprintf(class, sizeof(class), "stem c%u", column);
		line(out, class, x_of(a, 0), y, x_of(a, decades(v.ratio)), y);
	}
	snprintf(class, sizeof(class), "interval c%u%s", column, noise ? " unsure" : "");
	line(out, class, x_of(a, decades(v.low)), y, x_of(a, decades(v.high)), y);
	plot_sign(out, column, x_of(a, decades(v.ratio)), y, noise);
	put_number(out, v.kind == VERDICT_DIFFERS ? "" : "quiet", amount_verdict(text, &v), y + 4);
}

/* Where the first of a row's parts lies, if they are in its middle. */
static double first_line(const struct comparison *c, const struct row *r, column_fn *has, double y)
{
	unsigned int n = count_columns(c, r, has);

	return y + (row_height(c, r) - GAP - LINE * (n ? n : 1)) / 2 + LINE / 2;
}

/* Between rows, not above the first. */
static void put_divider(FILE *out, double y)
{
	if (y > TOP + GAP)
		line(out, "divider", 0, y - GAP / 2, WIDTH, y - GAP / 2);
}

/* What is drawn of a column in a row. */
struct plot {
	column_fn *has;
	const char *none; /* where no column has it */
	void (*put)(FILE *out, const struct comparison *c, const struct row *r, unsigned int column, const struct axis *a,
		    double y);
	const struct axis *axis; /* for put(), if it needs one */
};

static void put_row(FILE *out, const struct comparison *c, const struct row *r, const struct plot *p, double y)
{
	double at = first_line(c, r, p->has, y);

	put_divider(out, y);
	put_name(out, r->name, y + (row_height(c, r) - GAP) / 2 + 4);
	if (!count_columns(c, r, p->has))
		put_number(out, "quiet", p->none, at + 4);
	for (unsigned int i = 0; i < c->columns; i++)
		if (p->has(c, r, i)) {
			p->put(out, c, r, i, p->axis, at);
			at += LINE;
		}
}

static void put_rows(FILE *out, const struct comparison *c, const char *group, const struct plot *p)
{
	double y = TOP + GAP / 2;

	for (size_t i = 0; i < c->rows; i++)
		if (!strcmp(c->row[i].group, group)) {
			put_row(out, c, &c->row[i], p, y);
			y += row_height(c, &c->row[i]);
		}
}

void plot_ratios(FILE *out, const struct comparison *c, const char *group, size_t id)
{
	struct axis a = axis_of(c, group);
	double bottom = TOP + rows_height(c, group);

	begin(out, bottom + AXIS, "ratio", id, "Ratio of times", group,
	      "For each workload a sign at the ratio of its time to that of the column it is read against, with its interval, "
	      "on a logarithmic axis.");
	put_axis(out, &a, bottom);
	put_rows(out, c, group, &(struct plot){has_ratio, "no ratio", put_ratio, &a});
	fputs("</svg>\n", out);
}

static void put_part(FILE *out, const struct exit_cause *cause, double x, double width, double y)
{
	char count[AMOUNT_ROOM];

	fprintf(out, "<rect class=\"k%u\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", cause->class, x, y - BAR / 2,
		width, BAR);
	markup_amount(out, amount_count(count, cause->per_operation));
	fputc(' ', out);
	markup_label(out, cause->words);
	fputs("</title></rect>\n", out);
}

static void put_bar(FILE *out, const struct comparison *c, const struct row *r, unsigned int column, const struct axis *a,
		    double y)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];
	const struct cell *cell = &r->cell[column];
	unsigned int n = exit_causes(cell, list);
	double all = 0, x = LEFT + 14, room = WIDTH - RIGHT - x;
	char count[AMOUNT_ROOM];

	for (unsigned int i = 0; i < n; i++)
		all += list[i].per_operation;
	plot_sign(out, column, LEFT, y, false);
	for (unsigned int class = 0; class < CAUSE_CLASSES; class++)
		for (unsigned int i = 0; i < n; i++)
			if (list[i].class == class) {
				put_part(out, &list[i], x, room * list[i].per_operation / all, y);
				x += room * list[i].per_operation / all;
			}
	put_number(out, "", amount_count(count, cell->exits), y + 4);
}

void plot_exits(FILE *out, const struct comparison *c, const char *group, size_t id)
{
	double bottom = TOP + rows_height(c, group);

	begin(out, bottom + AXIS, "exits", id, "Exits by cause", group,
	      "For each workload a bar for each column that leaves the guest: how its exits share out among causes, and how many an "
	      "operation takes.");
	fprintf(out, "<text class=\"hint\" x=\"%.1f\" y=\"%.1f\">share of each cause</text>\n", LEFT + 14, bottom + 15);
	fprintf(out, "<text class=\"hint end\" x=\"%.1f\" y=\"%.1f\">exits an operation</text>\n", WIDTH - 4, bottom + 15);
	put_rows(out, c, group, &(struct plot){has_exits, "none", put_bar, NULL});
	fputs("</svg>\n", out);
}
