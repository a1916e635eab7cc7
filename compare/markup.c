#include "compare/markup.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "compare/label.h"

static void put(FILE *out, char c)
{
	switch (c) {
	case '<': fputs("&lt;", out); return;
	case '>': fputs("&gt;", out); return;
	case '&': fputs("&amp;", out); return;
	case '"': fputs("&quot;", out); return;
	case '\'': fputs("&#39;", out); return;
	default: fputc(c, out);
	}
}

void markup_label(FILE *out, const char *text)
{
	char clean[LABEL_ROOM];

	for (const char *c = label(clean, text); *c; c++)
		put(out, *c);
}

/* The "us" of "12 us". */
static bool is_unit(const char *text, size_t at)
{
	return at >= 2 && !strncmp(text + at, "us", 2) && text[at - 1] == ' ' && isdigit((unsigned char)text[at - 2]) &&
	       !isalnum((unsigned char)text[at + 2]);
}

void markup_prose(FILE *out, const char *text)
{
	for (size_t i = 0; text[i]; i++) {
		if (is_unit(text, i))
			fputs("\302\265", out);
		else
			put(out, text[i]);
	}
}

void markup_amount(FILE *out, const char *amount)
{
	for (size_t i = 0; amount[i]; i++) {
		if (amount[i] == 'x')
			fputs("\303\227", out);
		else if (is_unit(amount, i))
			fputs("\302\265", out);
		else if (amount[i] == '-' && i > 0 && isdigit((unsigned char)amount[i - 1]))
			fputs("\342\200\223", out);
		else
			put(out, amount[i]);
	}
}
