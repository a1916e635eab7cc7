#include "compare/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare/amount.h"
#include "compare/cause.h"
#include "compare/explain.h"
#include "compare/host_facts.h"
#include "compare/label.h"
#include "compare/notes.h"
#include "compare/rows.h"
#include "compare/versus.h"
#include "vmm/log.h"
#include "vmm/report.h"

#define TEXT_WIDTH 100
#define BLOCK 3 /* columns of results beside each other */
#define NAME_LEAST 12
#define NAME_MOST 22
#define TIME_WIDTH 19
#define EXITS_WIDTH 6
#define RATIO_WIDTH 8

struct paper {
	FILE *out;
	const struct comparison *c;
	bool colour;
	int name_width;
	struct notes notes;
};

enum ink { INK_PLAIN, INK_BOLD, INK_FAINT, INK_DEARER, INK_CHEAPER };

static const char *const inks[] = {
	[INK_PLAIN] = "", [INK_BOLD] = "\033[1m", [INK_FAINT] = "\033[2m", [INK_DEARER] = "\033[33m",
	[INK_CHEAPER] = "\033[32m",
};

/* Text of one ink, cut and padded to `width` columns; negative: to the left. Zero: as it is. */
static void put(const struct paper *p, enum ink ink, int width, const char *text)
{
	size_t most = (size_t)abs(width), bytes = width ? label_prefix(text, most) : strlen(text);
	char piece[LABEL_ROOM];
	int pad;

	snprintf(piece, sizeof(piece), "%.*s", (int)bytes, text);
	pad = width ? (int)(most - label_width(piece)) : 0;
	fprintf(p->out, "%*s%s%s%s%*s", width > 0 ? pad : 0, "", p->colour ? inks[ink] : "", piece,
		p->colour && *inks[ink] ? "\033[0m" : "", width < 0 ? pad : 0, "");
}

static void put_wrapped(const struct paper *p, const char *first, const char *rest, const char *text)
{
	const char *lead = first, *next;

	while (*text) {
		size_t n = report_piece(text, TEXT_WIDTH - strlen(lead), &next), whole = label_prefix(text, n);

		while (whole > n && n > 1 && ((unsigned char)text[n] & 0xc0) == 0x80)
			next = text + --n;
		fprintf(p->out, "%s%.*s\n", lead, (int)n, text);
		text = next;
		lead = rest;
	}
}

static void put_fact(void *arg, const char *name, const char *what)
{
	const struct paper *p = arg;
	char lead[32];

	snprintf(lead, sizeof(lead), "  %-12s", name);
	put_wrapped(p, lead, "              ", what);
}

static void put_hosts(struct paper *p)
{
	char names[LABEL_ROOM];

	for (unsigned int i = 0; i < p->c->columns; i++) {
		if (!host_facts_first(p->c, i))
			continue;
		put(p, INK_BOLD, 0, host_facts_columns(names, p->c, i));
		fputc('\n', p->out);
		host_facts(p->c, i, put_fact, p);
		fputc('\n', p->out);
	}
}

static bool has_ratio(const struct paper *p, unsigned int column)
{
	return versus_base(p->c, column) != NO_COLUMN;
}

static void put_time(const struct paper *p, const struct row *r, unsigned int column)
{
	const struct cell *cell = &r->cell[column];
	struct spread s = spread_of(&cell->us);
	char text[AMOUNT_ROOM];

	if (cell->kind == CELL_CANNOT) {
		snprintf(text, sizeof(text), "cannot [%u]", notes_number(&p->notes, cell->why));
		put(p, INK_FAINT, TIME_WIDTH, text);
	} else if (cell->kind == CELL_EMPTY || !s.n) {
		put(p, INK_FAINT, TIME_WIDTH, "-");
	} else if (!cell_has_time(p->c, r, column)) {
		put(p, INK_FAINT, TIME_WIDTH, "counts only");
	} else {
		put(p, INK_PLAIN, TIME_WIDTH, amount_spread(text, &s));
	}
}

static enum ink ink_of(const struct verdict *v)
{
	if (v->kind != VERDICT_DIFFERS)
		return INK_FAINT;
	return v->ratio > 1 ? INK_DEARER : INK_CHEAPER;
}

static void put_cell(const struct paper *p, const struct row *r, unsigned int column)
{
	const struct cell *cell = &r->cell[column];
	struct verdict v;
	char text[AMOUNT_ROOM];

	fputs("  ", p->out);
	put_time(p, r, column);
	fputc(' ', p->out);
	put(p, INK_PLAIN, EXITS_WIDTH, cell->kind == CELL_MEASURED ? amount_count(text, cell->exits) : "");
	if (!has_ratio(p, column))
		return;
	v = versus(p->c, r, column, versus_base(p->c, column));
	fputc(' ', p->out);
	put(p, ink_of(&v), RATIO_WIDTH, amount_verdict(text, &v));
}

/* A long name has a line of its own. */
static void put_name(const struct paper *p, const struct row *r)
{
	char name[LABEL_ROOM], text[LABEL_ROOM + 8];

	snprintf(text, sizeof(text), "  %s%s", label(name, r->name), row_is_incomplete(p->c, r) ? "*" : "");
	if (label_width(text) > (size_t)p->name_width) {
		fprintf(p->out, "%s\n", text);
		text[0] = '\0';
	}
	put(p, INK_PLAIN, -p->name_width, text);
}

static void put_headings(const struct paper *p, unsigned int first, unsigned int end)
{
	char name[LABEL_ROOM];

	put(p, INK_PLAIN, -p->name_width, "");
	for (unsigned int i = first; i < end; i++) {
		fputs("  ", p->out);
		put(p, INK_BOLD, TIME_WIDTH + 1 + EXITS_WIDTH + (has_ratio(p, i) ? 1 + RATIO_WIDTH : 0), label(name, p->c->column[i].name));
	}
	fputc('\n', p->out);
	put(p, INK_PLAIN, -p->name_width, "");
	for (unsigned int i = first; i < end; i++) {
		fputs("  ", p->out);
		put(p, INK_FAINT, TIME_WIDTH, "median (min-max)");
		put(p, INK_FAINT, EXITS_WIDTH + 1, "exits");
		put(p, INK_FAINT, has_ratio(p, i) ? RATIO_WIDTH + 1 : 0, has_ratio(p, i) ? "ratio" : "");
	}
	fputc('\n', p->out);
}

static void put_group(const struct paper *p, size_t row, unsigned int first, unsigned int end)
{
	const char *group = p->c->row[row].group;
	char name[LABEL_ROOM];

	put(p, INK_BOLD, 0, label(name, group));
	fputc('\n', p->out);
	for (size_t i = row; i < p->c->rows; i++) {
		if (strcmp(p->c->row[i].group, group))
			continue;
		put_name(p, &p->c->row[i]);
		for (unsigned int j = first; j < end; j++)
			put_cell(p, &p->c->row[i], j);
		fputc('\n', p->out);
	}
}

static void put_results(const struct paper *p)
{
	for (unsigned int first = 0; first < p->c->columns; first += BLOCK) {
		unsigned int end = first + BLOCK < p->c->columns ? first + BLOCK : p->c->columns;

		put_headings(p, first, end);
		for (size_t i = 0; i < p->c->rows; i++)
			if (row_starts_group(p->c, i))
				put_group(p, i, first, end);
		fputc('\n', p->out);
	}
}

static void put_legend(const struct paper *p)
{
	char one[LABEL_ROOM], other[LABEL_ROOM], lead[32], text[3 * LABEL_ROOM];

	put_wrapped(p, "", "", "Times are of one operation, in processor time; exits are returns to the program, per operation.");
	for (unsigned int i = 0; i < p->c->columns; i++) {
		unsigned int base = versus_base(p->c, i);

		if (base == NO_COLUMN)
			continue;
		snprintf(text, sizeof(text), "ratio: time of %s over that of %s; \"noise\": too wide to say one.",
			 label(one, p->c->column[i].name), label(other, p->c->column[base].name));
		put_wrapped(p, "", "", text);
	}
	for (size_t i = 0; i < p->c->rows; i++)
		if (row_is_incomplete(p->c, &p->c->row[i])) {
			put_wrapped(p, "", "", "*: fewer rounds than were asked for.");
			break;
		}
	for (unsigned int i = 0; i < p->notes.n; i++) {
		snprintf(lead, sizeof(lead), "[%u] ", i + 1);
		put_wrapped(p, lead, "    ", label(one, p->notes.why[i]));
	}
	fputc('\n', p->out);
}

/* "1.00 system calls, 1.00 returns from the kernel" */
static void describe_causes(char *text, size_t room, const struct cell *cell)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];
	unsigned int n = exit_causes(cell, list);
	size_t used = 0;
	char count[AMOUNT_ROOM];

	text[0] = '\0';
	for (unsigned int i = 0; i < n && used < room; i++)
		used += (size_t)snprintf(text + used, room - used, "%s%s %s", i ? ", " : "",
					 amount_count(count, list[i].per_operation), list[i].words);
}

static void put_causes_of(const struct paper *p, const struct row *r)
{
	char text[512], lead[3 * LABEL_ROOM], name[LABEL_ROOM], column[LABEL_ROOM];
	bool named = false;

	for (unsigned int i = 0; i < p->c->columns; i++) {
		describe_causes(text, sizeof(text), &r->cell[i]);
		if (!text[0])
			continue;
		snprintf(lead, sizeof(lead), "  %-*.*s  %-14.14s  ", NAME_MOST, NAME_MOST, named ? "" : label(name, r->name),
			 label(column, p->c->column[i].name));
		named = true;
		put_wrapped(p, lead, "                                          ", text);
	}
}

static bool has_causes(const struct paper *p)
{
	char text[512] = "";

	for (size_t i = 0; i < p->c->rows && !text[0]; i++)
		for (unsigned int j = 0; j < p->c->columns && !text[0]; j++)
			describe_causes(text, sizeof(text), &p->c->row[i].cell[j]);
	return text[0];
}

static void put_causes(const struct paper *p)
{
	if (!has_causes(p))
		return;
	put(p, INK_BOLD, 0, "Exits of an operation by cause");
	fputc('\n', p->out);
	for (size_t i = 0; i < p->c->rows; i++)
		put_causes_of(p, &p->c->row[i]);
	fputc('\n', p->out);
}

static void put_paragraph(const struct paper *p, const char *text)
{
	if (!strncmp(text, "# ", 2)) {
		fputc('\n', p->out);
		put(p, INK_BOLD, 0, text + 2);
		fputc('\n', p->out);
	} else if (!strncmp(text, "- ", 2)) {
		put_wrapped(p, "- ", "  ", text + 2);
	} else {
		put_wrapped(p, "", "", text);
	}
}

static int put_explanation(const struct paper *p)
{
	char *text = NULL, *at, *line;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return log_errno(errno, "compare: the explanation");
	explain(p->c, f);
	if (fclose(f)) {
		free(text);
		return log_errno(ENOMEM, "compare: the explanation");
	}
	at = text;
	while ((line = strsep(&at, "\n")))
		put_paragraph(p, line);
	free(text);
	return 0;
}

static int widest_name(const struct comparison *c)
{
	size_t width = NAME_LEAST;
	char name[LABEL_ROOM];

	for (size_t i = 0; i < c->rows; i++) {
		size_t this = label_width(label(name, c->row[i].name)) + 3;

		if (this > width && this <= NAME_MOST)
			width = this;
	}
	return (int)width;
}

int table_print(FILE *out, const struct comparison *c)
{
	struct paper p = {.out = out, .c = c, .colour = isatty(fileno(out)) && !getenv("NO_COLOR"),
			  .name_width = widest_name(c), .notes = notes_of(c)};

	if (!c->columns || !c->rows) {
		fprintf(out, "Nothing was measured.\n");
		return 0;
	}
	put_hosts(&p);
	put_results(&p);
	put_legend(&p);
	put_causes(&p);
	return put_explanation(&p);
}
