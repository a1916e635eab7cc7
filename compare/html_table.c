#include "compare/html_table.h"

#include <string.h>

#include "compare/amount.h"
#include "compare/cause.h"
#include "compare/markup.h"
#include "compare/notes.h"
#include "compare/rows.h"
#include "compare/versus.h"

static unsigned int parts_of(const struct comparison *c, unsigned int column)
{
	return versus_base(c, column) == NO_COLUMN ? 2 : 3;
}

static void put_headings(FILE *out, const struct comparison *c)
{
	fputs("<thead>\n<tr><th class=\"name\" rowspan=\"2\" scope=\"col\">workload</th>", out);
	for (unsigned int i = 0; i < c->columns; i++) {
		fprintf(out, "<th class=\"first\" colspan=\"%u\" scope=\"colgroup\">", parts_of(c, i));
		markup_label(out, c->column[i].name);
		fputs("</th>", out);
	}
	fputs("</tr>\n<tr>", out);
	for (unsigned int i = 0; i < c->columns; i++) {
		fputs("<th class=\"first\" scope=\"col\">time</th><th scope=\"col\">exits</th>", out);
		if (parts_of(c, i) < 3)
			continue;
		fputs("<th scope=\"col\">to ", out);
		markup_label(out, c->column[versus_base(c, i)].name);
		fputs("</th>", out);
	}
	fputs("</tr>\n</thead>\n", out);
}

static void put_time(FILE *out, const struct comparison *c, const struct row *r, unsigned int column, const struct notes *notes)
{
	const struct cell *cell = &r->cell[column];
	struct spread s = spread_of(&cell->us);
	char text[AMOUNT_ROOM];
	const char *range;

	if (cell->kind == CELL_CANNOT) {
		unsigned int n = notes_number(notes, cell->why);

		fprintf(out, "<span class=\"quiet\">cannot <a href=\"#note-%u\">[%u]</a></span>", n, n);
	} else if (cell->kind == CELL_EMPTY || !s.n) {
		fputs("<span class=\"quiet\">not measured</span>", out);
	} else if (!cell_has_time(c, r, column)) {
		fputs("<span class=\"quiet\">counts only</span>", out);
	} else {
		range = strchr(amount_spread(text, &s), '(');
		if (range)
			text[range - text - 1] = '\0';
		markup_amount(out, text);
		if (range) {
			fputs("<small>", out);
			markup_amount(out, range);
			fputs("</small>", out);
		}
	}
}

static void put_cell(FILE *out, const struct comparison *c, const struct row *r, unsigned int column, const struct notes *notes)
{
	const struct cell *cell = &r->cell[column];
	unsigned int base = versus_base(c, column);
	struct verdict v;
	char text[AMOUNT_ROOM];

	fputs("<td class=\"first\">", out);
	put_time(out, c, r, column, notes);
	fputs("</td><td>", out);
	if (cell->kind == CELL_MEASURED)
		markup_amount(out, amount_count(text, cell->exits));
	fputs("</td>", out);
	if (base == NO_COLUMN)
		return;
	v = versus(c, r, column, base);
	fprintf(out, "<td class=\"%s\">", v.kind != VERDICT_DIFFERS ? "quiet" : v.ratio > 1 ? "dear" : "cheap");
	markup_amount(out, amount_verdict(text, &v));
	fputs("</td>", out);
}

static void put_name(FILE *out, const struct comparison *c, const struct row *r)
{
	fputs("<th scope=\"row\">", out);
	markup_label(out, r->name);
	if (row_is_incomplete(c, r))
		fputs("<abbr title=\"fewer rounds than were asked for\">*</abbr>", out);
	if (*r->what) {
		fputs("<small>", out);
		markup_label(out, r->what);
		fputs("</small>", out);
	}
	fputs("</th>", out);
}

static void put_group(FILE *out, const struct comparison *c, size_t row, const struct notes *notes)
{
	const char *group = c->row[row].group;
	unsigned int width = 1;

	for (unsigned int i = 0; i < c->columns; i++)
		width += parts_of(c, i);
	fprintf(out, "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"%u\">", width);
	markup_label(out, group);
	fputs("</th></tr>\n", out);
	for (size_t i = row; i < c->rows; i++) {
		if (strcmp(c->row[i].group, group))
			continue;
		fputs("<tr>", out);
		put_name(out, c, &c->row[i]);
		for (unsigned int j = 0; j < c->columns; j++)
			put_cell(out, c, &c->row[i], j, notes);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n", out);
}

void html_results(FILE *out, const struct comparison *c)
{
	struct notes notes = notes_of(c);

	fputs("<h2 id=\"table\">All numbers</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All numbers\">"
	      "<table>\n", out);
	put_headings(out, c);
	for (size_t i = 0; i < c->rows; i++)
		if (row_starts_group(c, i))
			put_group(out, c, i, &notes);
	fputs("</table></div>\n", out);
	if (!notes.n)
		return;
	fputs("<ol>\n", out);
	for (unsigned int i = 0; i < notes.n; i++) {
		fprintf(out, "<li id=\"note-%u\">", i + 1);
		markup_label(out, notes.why[i]);
		fputs("</li>\n", out);
	}
	fputs("</ol>\n", out);
}

static void put_causes(FILE *out, const struct cell *cell)
{
	struct exit_cause list[CELL_MAX_CAUSES + 1];
	unsigned int n = exit_causes(cell, list);
	char count[AMOUNT_ROOM];

	for (unsigned int i = 0; i < n; i++) {
		fputs(i ? ", " : "", out);
		markup_amount(out, amount_count(count, list[i].per_operation));
		fputc(' ', out);
		markup_label(out, list[i].words);
	}
	if (!n)
		fputs("<span class=\"quiet\">none</span>", out);
}

static void put_walk(FILE *out, const struct walk_length *w)
{
	if (!w->references)
		fputs("<span class=\"quiet\">not known</span>", out);
	else if (w->host_levels)
		fprintf(out, "%u <span class=\"quiet\">(%u by %u levels)</span>", w->references, w->guest_levels, w->host_levels);
	else
		fprintf(out, "%u <span class=\"quiet\">(%u levels)</span>", w->references, w->guest_levels);
}

static void put_causes_of_row(FILE *out, const struct comparison *c, const struct row *r)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->columns; i++)
		n += r->cell[i].kind == CELL_MEASURED;
	for (unsigned int i = 0, done = 0; i < c->columns; i++) {
		if (r->cell[i].kind != CELL_MEASURED)
			continue;
		fputs("<tr>", out);
		if (done++ == 0) {
			fprintf(out, "<th scope=\"row\" rowspan=\"%u\">", n);
			markup_label(out, r->name);
			fputs("</th>", out);
		}
		fputs("<td class=\"words first\">", out);
		markup_label(out, c->column[i].name);
		fputs("</td><td class=\"words\">", out);
		put_causes(out, &r->cell[i]);
		fputs("</td><td>", out);
		put_walk(out, &r->cell[i].walk);
		fputs("</td></tr>\n", out);
	}
}

void html_causes(FILE *out, const struct comparison *c)
{
	fputs("<h2 id=\"causes\">Exits by cause, and the length of a page walk</h2>\n<p>Exits of one operation, and the references to "
	      "memory that a TLB miss costs if nothing is cached.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
	      "aria-label=\"Exits by cause\"><table>\n<thead><tr><th class=\"name\" scope=\"col\">workload</th>"
	      "<th class=\"name\" scope=\"col\">column</th><th class=\"name\" scope=\"col\">exits by cause</th>"
	      "<th scope=\"col\">references</th></tr></thead>\n<tbody>\n", out);
	for (size_t i = 0; i < c->rows; i++)
		put_causes_of_row(out, c, &c->row[i]);
	fputs("</tbody>\n</table></div>\n", out);
}
