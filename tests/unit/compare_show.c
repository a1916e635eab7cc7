/*
 * Prints a sample as people would see it, or as it is: compare_show table|html|json NUMBER. For tests that read what was printed.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/comparison_json.h"
#include "compare/html.h"
#include "compare/table.h"
#include "tests/unit/compare_sample.h"

static const struct {
	const char *name;
	int (*print)(FILE *out, const struct comparison *c);
} ways[] = {{"table", table_print}, {"html", html_write}, {"json", comparison_to_json}};

#define WAYS (sizeof(ways) / sizeof(*ways))

int main(int argc, char **argv)
{
	struct comparison c;
	int r, number = argc == 3 ? atoi(argv[2]) : -1;
	size_t way = 0;

	while (argc == 3 && way < WAYS && strcmp(argv[1], ways[way].name))
		way++;
	if (number < 0 || number >= SAMPLES || way == WAYS)
		errx(2, "usage: compare_show table|html|json NUMBER, NUMBER below %d", SAMPLES);
	sample_make(&c, (enum sample)number);
	r = ways[way].print(stdout, &c);
	comparison_free(&c);
	return r || fflush(stdout) || ferror(stdout);
}
