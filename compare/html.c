#include "compare/html.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compare/cause.h"
#include "compare/explain.h"
#include "compare/host_facts.h"
#include "compare/html_style.h"
#include "compare/html_table.h"
#include "compare/label.h"
#include "compare/markup.h"
#include "compare/plot.h"
#include "compare/rows.h"
#include "compare/versus.h"
#include "vmm/log.h"

static void put_head(FILE *out)
{
	fprintf(out, "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
		"<meta name=\"generator\" content=\"Penumbra " PENUMBRA_VERSION "\"/>\n"
		"<title>Penumbra: what each MMU mode costs</title>\n<style>\n%s</style>\n</head>\n<body>\n", html_style);
}

static void put_title(FILE *out, const struct comparison *c)
{
	fprintf(out, "<header>\n<h1>What each MMU mode costs</h1>\n<p class=\"lead\">The same guests under ");
	for (unsigned int i = 0; i < c->columns; i++) {
		fputs(i == 0 ? "" : i + 1 == c->columns ? " and " : ", ", out);
		markup_label(out, c->column[i].name);
	}
	fprintf(out, ": %zu workload%s, %u round%s each.</p>\n<nav aria-label=\"Contents\"><a href=\"#hosts\">Hosts</a> "
		"<a href=\"#plots\">Plots</a> <a href=\"#table\">All numbers</a> <a href=\"#causes\">Causes</a> "
		"<a href=\"#explanation\">What they say</a> <a href=\"#how\">How it was measured</a></nav>\n</header>\n<main>\n",
		c->rows, c->rows == 1 ? "" : "s", c->rounds, c->rounds == 1 ? "" : "s");
	if (c->partial)
		fputs("<div class=\"warn\" role=\"note\"><p><strong>Partial.</strong> Measuring was stopped before all rounds were "
		      "done; rows with a star have fewer of them, or none.</p></div>\n", out);
}

static void put_fact(void *arg, const char *name, const char *what)
{
	FILE *out = arg;

	fputs("<dt>", out);
	markup_label(out, name);
	fputs("</dt><dd>", out);
	markup_prose(out, what);
	fputs("</dd>\n", out);
}

static void put_hosts(FILE *out, const struct comparison *c)
{
	char names[LABEL_ROOM];

	fputs("<h2 id=\"hosts\">Hosts</h2>\n<div class=\"cards\">\n", out);
	for (unsigned int i = 0; i < c->columns; i++) {
		if (!host_facts_first(c, i))
			continue;
		fputs("<section class=\"card\"><h3>", out);
		markup_label(out, host_facts_columns(names, c, i));
		fputs("</h3>\n<dl>\n", out);
		host_facts(c, i, put_fact, out);
		fputs("</dl></section>\n", out);
	}
	fputs("</div>\n", out);
}

static void put_columns_legend(FILE *out, const struct comparison *c)
{
	fputs("<ul class=\"legend\" aria-label=\"Columns\">\n", out);
	for (unsigned int i = 0; i < c->columns; i++) {
		unsigned int base = versus_base(c, i);

		fputs("<li><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">", out);
		plot_sign(out, i, 7, 7, false);
		fputs("</svg><span>", out);
		markup_label(out, c->column[i].name);
		if (base != NO_COLUMN) {
			fputs(", as ratio to ", out);
			markup_label(out, c->column[base].name);
		}
		fputs("</span></li>\n", out);
	}
	fputs("</ul>\n", out);
}

static void put_classes_legend(FILE *out)
{
	fputs("<ul class=\"legend\" aria-label=\"Causes of exits\">\n", out);
	for (unsigned int i = 0; i < CAUSE_CLASSES; i++) {
		fprintf(out, "<li><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">"
			"<rect class=\"k%u\" x=\"1\" y=\"2\" width=\"12\" height=\"10\"/></svg><span>", i);
		markup_label(out, cause_class_name(i));
		fputs("</span></li>\n", out);
	}
	fputs("</ul>\n", out);
}

static void put_plots(FILE *out, const struct comparison *c, size_t row)
{
	const char *group = c->row[row].group;

	fputs("<h3>", out);
	markup_label(out, group);
	fputs("</h3>\n<div class=\"pair\">\n", out);
	fputs("<figure class=\"card\"><figcaption>Time, as a ratio</figcaption>\n", out);
	if (plot_has_ratios(c, group))
		plot_ratios(out, c, group, row);
	else
		fputs("<p class=\"quiet\">No ratio of times to show.</p>\n", out);
	fputs("</figure>\n<figure class=\"card\"><figcaption>Exits by cause</figcaption>\n", out);
	if (plot_has_exits(c, group))
		plot_exits(out, c, group, row);
	else
		fputs("<p class=\"quiet\">No exits to show.</p>\n", out);
	fputs("</figure>\n", out);
	fputs("</div>\n", out);
}

static void put_all_plots(FILE *out, const struct comparison *c)
{
	fputs("<h2 id=\"plots\">Plots</h2>\n<p>For each group, the time of an operation as a ratio on a logarithmic axis, with its "
	      "interval, hollow where the noise allows no ratio; and what makes the guest leave for the program.</p>\n", out);
	put_columns_legend(out, c);
	put_classes_legend(out);
	for (size_t i = 0; i < c->rows; i++)
		if (row_starts_group(c, i))
			put_plots(out, c, i);
}

static void put_paragraph(FILE *out, const char *text, bool *list)
{
	bool item = !strncmp(text, "- ", 2), heading = !strncmp(text, "# ", 2);
	const char *tag = item ? "li" : heading ? "h3" : "p";

	if (item != *list)
		fputs(item ? "<ul>\n" : "</ul>\n", out);
	*list = item;
	if (!*text)
		return;
	fprintf(out, "<%s>", tag);
	markup_prose(out, item || heading ? text + 2 : text);
	fprintf(out, "</%s>\n", tag);
}

static int put_explanation(FILE *out, const struct comparison *c)
{
	char *text = NULL, *at, *line;
	bool list = false;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return log_errno(errno, "compare: the explanation");
	explain(c, f);
	if (fclose(f)) {
		free(text);
		return log_errno(ENOMEM, "compare: the explanation");
	}
	fputs("<h2 id=\"explanation\">What the numbers say</h2>\n", out);
	at = text;
	while ((line = strsep(&at, "\n")))
		put_paragraph(out, line, &list);
	free(text);
	return 0;
}

static void put_method(FILE *out)
{
	fputs("<h2 id=\"how\">How it was measured</h2>\n"
	      "<p>Every run is a fresh virtual machine. For each workload the columns ran in turn, A B A B, after a round that does not "
	      "count, so that neighbours share whatever else the host was doing. The guest marks where its work begins and ends; what "
	      "a mark costs by itself was measured in the same run and taken away.</p>\n"
	      "<p>Time is processor time of the thread that runs the guest, the guest\342\200\231s own in it, for one operation: median "
	      "and, in brackets, least and most. An exit is a return of KVM_RUN to the program for something the guest did; what KVM "
	      "does inside the kernel is in the time, but not among the exits.</p>\n"
	      "<p>A ratio is the median of the ratios of neighbours. It is said only if it is farther from 1 than its interval is "
	      "wide; \342\200\234same\342\200\235 means that the whole interval is close to 1, \342\200\234noise\342\200\235 that nothing can be said. Columns "
	      "of different machines have no ratio. Where the processor is emulated, times that differ by more than a fifth are "
	      "left out, and the row has counts only.</p>\n"
	      "<p>The floors are the least that can be paid on the host: a guest of a few bytes that reads a port over and over, and "
	      "a loop that multiplies and adds without any guest.</p>\n", out);
}

int html_write(FILE *out, const struct comparison *c)
{
	int r = 0;

	put_head(out);
	put_title(out, c);
	if (!c->columns || !c->rows) {
		fputs("<p>Nothing was measured.</p>\n", out);
	} else {
		put_hosts(out, c);
		put_all_plots(out, c);
		html_results(out, c);
		html_causes(out, c);
		r = put_explanation(out, c);
	}
	put_method(out);
	fputs("</main>\n<footer>Made by Penumbra " PENUMBRA_VERSION ", penumbra compare --html.</footer>\n</body>\n</html>\n", out);
	return r;
}
