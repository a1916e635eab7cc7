#include "vmm/report.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>

#include "vmm/ensure.h"

#define STATE_WIDTH 4
#define NAME_WIDTH 19
#define WHAT_WIDTH 28
#define LEFT_WIDTH (2 + STATE_WIDTH + 1 + NAME_WIDTH + 1 + WHAT_WIDTH + 1)
#define MIN_MEANING_WIDTH 20

static const char *const state_names[] = {
	[FINDING_OK] = "ok",
	[FINDING_NOTE] = "note",
	[FINDING_LACK] = "lack",
	[FINDING_BAD] = "BAD",
};

void report_add(struct report *r, enum finding_state state, const char *name, const char *fmt, ...)
{
	struct finding *f = &r->list[r->count++];
	va_list args;

	ensure(r->count <= REPORT_MAX);
	*f = (struct finding){.section = r->section, .state = state};
	snprintf(f->name, sizeof(f->name), "%s", name);
	va_start(args, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, args);
	va_end(args);
}

void report_mean(struct report *r, const char *fmt, ...)
{
	struct finding *f = &r->list[r->count - 1];
	va_list args;

	ensure(r->count > 0);
	va_start(args, fmt);
	vsnprintf(f->meaning, sizeof(f->meaning), fmt, args);
	va_end(args);
}

bool report_good(const struct report *r)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (r->list[i].state == FINDING_BAD)
			return false;
	return true;
}

size_t report_piece(const char *text, size_t width, const char **next)
{
	size_t n = strlen(text), end = n;

	if (n > width) {
		for (end = width; end > 0 && text[end] != ' '; end--)
			;
		end = end ? end : width;
	}
	*next = text + end + strspn(text + end, " ");
	return end;
}

/* Prints the next piece of *text as a cell of the table and moves *text behind it. */
static void print_cell(FILE *out, const char **text, size_t width)
{
	const char *piece = *text;
	size_t n = report_piece(piece, width, text);

	fprintf(out, "%.*s%*s", (int)n, piece, (int)(width - n), "");
}

static void print_finding(const struct finding *f, FILE *out, size_t width)
{
	const char *state = state_names[f->state], *name = f->name, *what = f->what, *meaning = f->meaning, *piece;

	do {
		fputs("  ", out);
		print_cell(out, &state, STATE_WIDTH + 1);
		print_cell(out, &name, NAME_WIDTH);
		fputs(" ", out);
		print_cell(out, &what, WHAT_WIDTH);
		piece = meaning;
		fprintf(out, " %.*s\n", (int)report_piece(piece, width, &meaning), piece);
	} while (*name || *what || *meaning);
}

int report_print(const struct report *r, FILE *out, int width)
{
	size_t room = width > LEFT_WIDTH + MIN_MEANING_WIDTH ? (size_t)width - LEFT_WIDTH : MIN_MEANING_WIDTH;

	for (unsigned int i = 0; i < r->count; i++) {
		const struct finding *f = &r->list[i];

		if (i == 0 || f->section != r->list[i - 1].section)
			fprintf(out, "%s%s\n", i ? "\n" : "", f->section);
		print_finding(f, out, room);
	}
	return fflush(out) || ferror(out) ? -1 : 0;
}

static json_t *finding_object(const struct finding *f)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "section", f->section, "name", f->name, "state",
			 f->state == FINDING_BAD ? "bad" : state_names[f->state], "finding", f->what, "meaning",
			 f->meaning);
}

int report_print_json(const struct report *r, FILE *out)
{
	json_t *list = json_array(), *root;
	int bad;

	for (unsigned int i = 0; i < r->count; i++)
		json_array_append_new(list, finding_object(&r->list[i]));
	root = json_pack("{s:b, s:o}", "guests_run", report_good(r), "findings", list);
	bad = !root || json_dumpf(root, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER) || fputc('\n', out) == EOF || fflush(out);
	json_decref(root);
	return bad ? -1 : 0;
}
