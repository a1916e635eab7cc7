/*
 * Fuzz target: any bytes as a comparison. What is refused is so for a reason of one line; what is taken holds to the limits of
 * comparison.h, and says the same when it is written and read again. Joined with itself it has no more columns and rows, and
 * nothing in it breaks a verdict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/comparison_json.h"
#include "compare/join.h"
#include "compare/verdict.h"
#include "tests/fuzz/target.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz comparison: %s\n", what);
	abort();
}

static char *write_text(const struct comparison *c, size_t *size)
{
	char *text;
	FILE *out = open_memstream(&text, size);

	require(out && comparison_to_json(out, c) == 0 && fclose(out) == 0, "cannot be written");
	return text;
}

static void check_written(const struct comparison *c)
{
	struct comparison again;
	struct comparison_reason why;
	size_t size, size_again;
	char *text = write_text(c, &size), *text_again;

	comparison_init(&again);
	require(comparison_from_json_text(&again, text, size, &why) == 0, "what it has written is refused");
	text_again = write_text(&again, &size_again);
	require(size == size_again && !memcmp(text, text_again, size), "written again it is another");
	comparison_free(&again);
	free(text);
	free(text_again);
}

static void check_verdicts(const struct comparison *c, const struct row *row)
{
	for (unsigned int a = 0; a < c->columns; a++)
		for (unsigned int b = 0; b < c->columns; b++) {
			struct verdict v = verdict_of(&row->cell[a], &row->cell[b]), w = verdict_of(&row->cell[b], &row->cell[a]);

			require(v.kind == w.kind && v.low <= v.ratio && v.ratio <= v.high, "a verdict is broken");
		}
}

static void check_joined(const struct comparison *c)
{
	struct comparison joined;

	comparison_init(&joined);
	if (join(&joined, c, "itself") == 0) {
		require(joined.columns <= c->columns && joined.rows == c->rows, "joined it is more");
		join_name_columns(&joined);
		for (size_t i = 0; i < joined.rows; i++)
			check_verdicts(&joined, &joined.row[i]);
		check_written(&joined);
	}
	comparison_free(&joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct comparison_reason why;
	struct comparison c;
	int r;

	comparison_init(&c);
	r = comparison_from_json_text(&c, (const char *)bytes, size, &why);
	if (r < 0) {
		require(*why.text && !c.row && !c.columns, "refused without a reason, or not wholly");
		return 0;
	}
	require(c.columns <= COMPARISON_MAX_COLUMNS && c.rows <= COMPARISON_MAX_ROWS, "too large");
	check_written(&c);
	check_joined(&c);
	comparison_free(&c);
	return 0;
}
