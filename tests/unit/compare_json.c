/*
 * Comparisons as JSON: what is written is read back as it was, and what nobody has written is refused in one line, or taken as what
 * it says.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare/comparison_json.h"
#include "compare/verdict.h"
#include "tests/unit/capture.h"
#include "tests/unit/compare_random.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

static char *write_text(const struct comparison *c, size_t *size)
{
	char *text;
	FILE *out = open_memstream(&text, size);

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(comparison_to_json(out, c), 0);
	ck_assert_int_eq(fclose(out), 0);
	return text;
}

static void expect_same_cell(const struct cell *a, const struct cell *b)
{
	expect_eq(a->kind, b->kind);
	expect(!strcmp(a->why, b->why) && a->exits == b->exits && a->causes == b->causes && a->us.n == b->us.n);
	for (unsigned int i = 0; i < a->us.n; i++)
		expect(a->us.value[i] == b->us.value[i]);
	for (unsigned int i = 0; i < a->causes; i++)
		expect(!strcmp(a->cause[i].name, b->cause[i].name) && a->cause[i].per_operation == b->cause[i].per_operation);
	expect(!memcmp(&a->walk, &b->walk, sizeof(a->walk)));
}

static void expect_same_column(const struct column *a, const struct column *b)
{
	expect(!strcmp(a->name, b->name) && !strcmp(a->mmu, b->mmu) && !strcmp(a->host_mmu, b->host_mmu));
	expect(!strcmp(a->host_words, b->host_words) && !strcmp(a->cpu, b->cpu) && !strcmp(a->kernel, b->kernel));
	expect(!strcmp(a->clocksource, b->clocksource) && a->nested == b->nested && a->emulated == b->emulated);
	expect(a->ring0_interpreted == b->ring0_interpreted && a->host_page == b->host_page);
	expect(a->tlb_reach == b->tlb_reach && a->bare_exit_us == b->bare_exit_us && a->bare_loop_ns == b->bare_loop_ns);
}

static void expect_same(const struct comparison *a, const struct comparison *b)
{
	expect(a->rounds == b->rounds && a->partial == b->partial && a->columns == b->columns && a->rows == b->rows);
	for (unsigned int i = 0; i < a->columns; i++)
		expect_same_column(&a->column[i], &b->column[i]);
	for (size_t i = 0; i < a->rows; i++) {
		const struct row *x = &a->row[i], *y = &b->row[i];

		expect(!strcmp(x->name, y->name) && !strcmp(x->group, y->group) && !strcmp(x->what, y->what));
		expect(x->operations == y->operations);
		for (unsigned int j = 0; j < COMPARISON_MAX_COLUMNS; j++)
			expect_same_cell(&x->cell[j], &y->cell[j]);
	}
}

START_TEST(test_round_trip)
{
	struct random r = random_start("json round trip");

	for (int i = 0; i < 100; i++) {
		struct comparison c, back;
		size_t size;
		char *text;

		comparison_init(&c);
		comparison_init(&back);
		random_comparison(&r, &c);
		text = write_text(&c, &size);
		expect_eq(comparison_from_json_text(&back, text, size, &(struct comparison_reason){""}), 0);
		expect_same(&c, &back);
		comparison_free(&c);
		comparison_free(&back);
		free(text);
	}
}
END_TEST

/* What only readers of the JSON want: medians, and the verdicts of both directions. */
START_TEST(test_derived)
{
	struct random r = random_start("json derived");
	struct comparison c;
	json_t *root, *cell, *verdict;
	size_t size;
	char *text;

	comparison_init(&c);
	for (int i = 0; i < 2; i++)
		snprintf(comparison_add_column(&c)->name, 8, "%c", 'a' + i);
	comparison_add_row(&c);
	snprintf(c.row->name, sizeof(c.row->name), "row");
	random_cell(&r, &c.row->cell[0], 9);
	random_cell(&r, &c.row->cell[1], 9);
	text = write_text(&c, &size);
	root = json_loads(text, 0, NULL);
	cell = json_object_get(json_array_get(json_object_get(root, "rows"), 0), "cells");
	verdict = json_object_get(json_array_get(json_object_get(root, "rows"), 0), "verdicts");
	ck_assert(json_real_value(json_object_get(json_array_get(cell, 1), "median_us")) == spread_of(&c.row->cell[1].us).median);
	ck_assert_uint_eq(json_array_size(verdict), 2);
	for (int i = 0; i < 2; i++) {
		struct verdict v = verdict_of(&c.row->cell[i], &c.row->cell[1 - i]);
		json_t *said = json_array_get(verdict, (size_t)i);

		ck_assert_str_eq(json_string_value(json_object_get(said, "verdict")), verdict_name(v.kind));
		ck_assert_str_eq(json_string_value(json_object_get(said, "of")), c.column[i].name);
		ck_assert(json_real_value(json_object_get(said, "ratio")) == v.ratio);
	}
	json_decref(root);
	free(text);
	comparison_free(&c);
}
END_TEST

#define COLUMN_MORE "\"host_words\":\"w\",\"cpu\":\"c\",\"kernel\":\"k\",\"clocksource\":\"t\",\"nested\":false,\"emulated\":false," \
		    "\"ring0_interpreted\":true,\"host_page\":4096,\"tlb_reach\":6291456,\"bare_exit_us\":8,\"bare_loop_ns\":1"

static const char *const good =
	"{\"penumbra_comparison\":1,\"rounds\":2,\"partial\":false,"
	"\"columns\":[{\"name\":\"A\",\"mmu\":\"ept\",\"host_mmu\":\"h\"," COLUMN_MORE "},"
	"{\"name\":\"B\",\"mmu\":\"shadow\",\"host_mmu\":\"h\"," COLUMN_MORE "}],"
	"\"rows\":[{\"name\":\"R\",\"group\":\"g\",\"what\":\"x\",\"operations\":7,\"cells\":[null,"
	"{\"us\":[1,2.5],\"exits\":3,\"causes\":{\"exit:io\":3},\"walk\":{\"guest_levels\":4,\"host_levels\":0,\"references\":4}}]},"
	"{\"name\":\"S\",\"group\":\"g\",\"what\":\"x\",\"operations\":7,\"cells\":[{\"cannot\":\"why\"},null]}]}";

/* `text` with the first `from` in it as `to`. */
static char *replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *result;

	ck_assert_msg(at, "'%s' is not in the text", from);
	ck_assert_int_ge(asprintf(&result, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)), 0);
	return result;
}

static void expect_refused(const char *text, size_t size, const char *part)
{
	struct comparison_reason why;
	struct comparison c;

	comparison_init(&c);
	ck_assert_int_eq(comparison_from_json_text(&c, text, size, &why), -EINVAL);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
	ck_assert(c.row == NULL && c.rows == 0 && c.columns == 0);
}

static const struct {
	const char *from, *to, *part;
} refused[] = {
	{"{", "", "not JSON"},
	{"]}]}", "]}]", "not JSON"},
	{"\"rounds\":2", "\"rounds\":2,\"rounds\":3", "not JSON"},
	{"\"penumbra_comparison\":1", "\"x\":1", "not a comparison"},
	{"\"penumbra_comparison\":1", "\"penumbra_comparison\":\"1\"", "not a comparison"},
	{"\"penumbra_comparison\":1", "\"penumbra_comparison\":2", "format 2"},
	{"\"penumbra_comparison\":1", "\"penumbra_comparison\":-9223372036854775808", "format -9223372036854775808"},
	{"\"rounds\":2,", "", "rounds: is missing"},
	{"\"rounds\":2", "\"rounds\":-1", "rounds: not a whole number"},
	{"\"rounds\":2", "\"rounds\":1001", "rounds: not a whole number from 0 to 1000"},
	{"\"rounds\":2", "\"rounds\":2.0", "rounds: not a whole number"},
	{"\"rounds\":2", "\"rounds\":99999999999999999999", "not JSON"},
	{"\"partial\":false", "\"partial\":0", "partial: neither true nor false"},
	{"\"name\":\"A\"", "\"name\":7", "columns[0].name: not a text"},
	{"\"name\":\"A\"", "\"name\":\"\"", "columns[0]: a column without a name"},
	{"\"name\":\"B\"", "\"name\":\"A\"", "columns[1]: a second column of this name"},
	{"\"name\":\"A\"", "\"name\":\"\\u001b[2J\"", "columns[0].name: has characters that cannot be printed"},
	{"\"name\":\"A\"", "\"name\":\"a\\u009b\"", "cannot be printed"},
	{"\"name\":\"A\"", "\"name\":\"a\\nb\"", "cannot be printed"},
	{"\"name\":\"A\"", "\"name\":\"a\\u0000b\"", "not JSON"},
	{"\"name\":\"A\"", "\"name\":\"\xff\"", "not JSON"},
	{"\"name\":\"A\"", "\"name\":\"0123456789abcdef0123456789abcdef\"", "columns[0].name: longer than 31 bytes"},
	{"\"nested\":false", "\"nested\":\"no\"", "columns[0].nested: neither"},
	{"\"host_page\":4096", "\"host_page\":-1", "columns[0].host_page: not a whole number"},
	{"\"host_page\":4096", "\"host_page\":9223372036854775807", "columns[0].host_page: not a whole number"},
	{"\"bare_exit_us\":8", "\"bare_exit_us\":\"NaN\"", "columns[0].bare_exit_us: not a number"},
	{"\"bare_exit_us\":8", "\"bare_exit_us\":NaN", "not JSON"},
	{"\"bare_exit_us\":8", "\"bare_exit_us\":1e999", "not JSON"},
	{"\"bare_exit_us\":8", "\"bare_exit_us\":-0.1", "columns[0].bare_exit_us: not a number from 0"},
	{"\"bare_exit_us\":8", "\"bare_exit_us\":1e16", "columns[0].bare_exit_us: not a number from 0"},
	{"\"name\":\"R\"", "\"name\":\"S\"", "rows[1]: a second row of this name"},
	{"\"name\":\"R\"", "\"name\":\"\"", "rows[0]: a row without a name"},
	{"\"operations\":7", "\"operations\":null", "rows[0].operations: not a whole number"},
	{"[null,", "[", "rows[0].cells: has 1 elements, not 2 to 2"},
	{"[null,", "[null,null,", "rows[0].cells: has 3 elements"},
	{"[null,", "[7,", "rows[0].cells[0]: neither an object nor null"},
	{"[null,", "[{},", "rows[0].cells[0].exits: not a number"},
	{"[1,2.5]", "[]", "rows[0].cells[1].us: has 0 elements"},
	{"[1,2.5]", "{}", "rows[0].cells[1].us: not an array"},
	{"[1,2.5]", "[1,\"NaN\"]", "rows[0].cells[1].us[1]: not a number"},
	{"[1,2.5]", "[1,-2.5]", "rows[0].cells[1].us[1]: not a number from 0"},
	{"\"exits\":3", "\"exits\":\"many\"", "rows[0].cells[1].exits: not a number"},
	{"{\"exit:io\":3}", "[]", "rows[0].cells[1].causes: not an object"},
	{"{\"exit:io\":3}", "{\"exit:io\":-3}", "rows[0].cells[1].causes: not a number from 0"},
	{"{\"exit:io\":3}", "{\"exit:io\":[]}", "rows[0].cells[1].causes: not a number"},
	{"\"exit:io\"", "\"\\t\"", "rows[0].cells[1].causes: has characters"},
	{"\"exit:io\"", "\"a name that is longer than any cause's is, by far\"", "rows[0].cells[1].causes: longer than 39"},
	{"\"guest_levels\":4", "\"guest_levels\":7", "rows[0].cells[1].walk.guest_levels: not a whole number from 0 to 6"},
	{"\"cannot\":\"why\"", "\"cannot\":[]", "rows[1].cells[0]: not a text"},
	{"\"columns\":[", "\"columns\":[[],", "columns[0]: not an object"},
	{"\"rows\":[", "\"rows\":[null,", "rows[0]: not an object"},
};

START_TEST(test_refused)
{
	struct comparison c;

	comparison_init(&c);
	ck_assert_int_eq(comparison_from_json_text(&c, good, strlen(good), &(struct comparison_reason){""}), 0);
	ck_assert(c.columns == 2 && c.rows == 2 && c.row[0].cell[1].us.value[1] == 2.5 && c.row[1].cell[0].kind == CELL_CANNOT);
	comparison_free(&c);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		char *text = replaced(good, refused[i].from, refused[i].to);

		expect_refused(text, strlen(text), refused[i].part);
		free(text);
	}
	expect_refused("", 0, "not JSON");
	expect_refused("[]", 2, "not a comparison");
	expect_refused("null", 4, "not JSON");
}
END_TEST

/* `good` with `from` made of `count` copies of `one` (%u is its number), commas between. */
static char *multiplied(const char *from, const char *before, const char *one, unsigned int count, const char *after)
{
	char *many, *text;
	size_t size;
	FILE *out = open_memstream(&many, &size);

	fputs(before, out);
	for (unsigned int i = 0; i < count; i++) {
		char *number, *element;

		ck_assert_int_ge(asprintf(&number, "%u", i), 0);
		element = replaced(one, "#", number);
		fprintf(out, "%s%s", i ? "," : "", element);
		free(number);
		free(element);
	}
	fputs(after, out);
	fclose(out);
	text = replaced(good, from, many);
	free(many);
	return text;
}

START_TEST(test_absurd_counts)
{
	static const char *const row = "{\"name\":\"#\",\"group\":\"g\",\"what\":\"x\",\"operations\":7,\"cells\":[null,null]}";
	static const struct {
		const char *from, *before, *one, *after;
		unsigned int most;
		const char *part;
	} cases[] = {
		{"[1,2.5]", "[", "1#", "]", COMPARISON_MAX_SAMPLES, "rows[0].cells[1].us: has 1001 elements, not 1 to 1000"},
		{"{\"exit:io\":3}", "{", "\"c#\":1", "}", CELL_MAX_CAUSES, "rows[0].cells[1].causes: more than 48"},
		{"\"rows\":[", "\"more\":[],\"rows\":[", row, ",", COMPARISON_MAX_ROWS - 2, "rows: has 257 elements"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *most = multiplied(cases[i].from, cases[i].before, cases[i].one, cases[i].most, cases[i].after);
		char *more = multiplied(cases[i].from, cases[i].before, cases[i].one, cases[i].most + 1, cases[i].after);
		struct comparison c;

		comparison_init(&c);
		ck_assert_int_eq(comparison_from_json_text(&c, most, strlen(most), &(struct comparison_reason){""}), 0);
		comparison_free(&c);
		expect_refused(more, strlen(more), cases[i].part);
		free(most);
		free(more);
	}
}
END_TEST

/* Nesting as deep as a file may be long. */
START_TEST(test_deep)
{
	size_t size = 1u << 20;
	char *text = malloc(size);

	ck_assert_ptr_nonnull(text);
	memset(text, '[', size);
	expect_refused(text, size, "not JSON");
	free(text);
}
END_TEST

static void change(struct random *r, char *text, size_t *size)
{
	static const char bytes[] = "{}[]\",:-+.0123456789eE\\unultrefas \xc3\x80";
	size_t at = random_below(r, *size), n = random_below(r, 20);

	switch (random_below(r, 4)) {
	case 0:
		text[at] = bytes[random_below(r, sizeof(bytes) - 1)];
		break;
	case 1:
		text[at] = (char)random_next(r);
		break;
	case 2: /* a piece out */
		n = n < *size - at ? n : *size - at;
		memmove(text + at, text + at + n, *size - at - n);
		*size -= n < *size ? n : 0;
		break;
	default: /* a piece over another */
		n = n < *size - at ? n : *size - at;
		memmove(text + random_below(r, *size - n + 1), text + at, n);
	}
}

/* Whatever is taken is within bounds and written back. */
static void expect_sane(struct comparison *c)
{
	struct comparison back;
	size_t size;
	char *text = write_text(c, &size);

	comparison_init(&back);
	expect_eq(comparison_from_json_text(&back, text, size, &(struct comparison_reason){""}), 0);
	expect_same(c, &back);
	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 0; j < c->columns; j++)
			for (unsigned int k = 0; k < c->row[i].cell[j].us.n; k++)
				expect(isfinite(c->row[i].cell[j].us.value[k]) && c->row[i].cell[j].us.value[k] >= 0);
	comparison_free(&back);
	free(text);
}

START_TEST(test_random_changes)
{
	struct random r = random_start("json changes");
	size_t length = strlen(good);
	char *text = malloc(length + 1);
	unsigned int taken = 0;

	ck_assert_ptr_nonnull(text);
	for (int i = 0; i < 20000; i++) {
		struct comparison_reason why;
		struct comparison c;
		size_t size = length;
		int error;

		memcpy(text, good, length + 1);
		for (uint64_t n = 1 + random_below(&r, 3); n && size; n--)
			change(&r, text, &size);
		comparison_init(&c);
		error = comparison_from_json_text(&c, text, size, &why);
		expect_msg(error == 0 ? !*why.text : error == -EINVAL && *why.text && !strchr(why.text, '\n'), "%d: '%s' for '%s'",
			   error, why.text, text);
		if (error == 0) {
			taken++;
			expect_sane(&c);
		}
		comparison_free(&c);
	}
	expect_msg(taken > 100 && taken < 15000, "%u were taken", taken);
	free(text);
}
END_TEST

static void expect_file_refused(const char *path, int error, const char *part)
{
	struct capture said;
	struct comparison c;
	int r;

	comparison_init(&c);
	capture_begin(&said);
	r = comparison_from_json(&c, path);
	assert_one_line(capture_end(&said), part);
	ck_assert_int_eq(r, error);
}

START_TEST(test_files)
{
	int fd = memfd_create("comparison", MFD_CLOEXEC);
	struct comparison c;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(write(fd, good, strlen(good)), (ssize_t)strlen(good));
	comparison_init(&c);
	ck_assert_int_eq(comparison_from_json(&c, path), 0);
	ck_assert_uint_eq(c.rows, 2);
	comparison_free(&c);
	ck_assert_int_eq(ftruncate(fd, COMPARISON_JSON_MAX + 1), 0);
	expect_file_refused(path, -EFBIG, "larger than 8 MiB");
	ck_assert_int_eq(ftruncate(fd, COMPARISON_JSON_MAX), 0);
	expect_file_refused(path, -EINVAL, "not JSON");
	close(fd);
	expect_file_refused("/dev/zero", -EFBIG, "/dev/zero: larger");
	expect_file_refused("/dev/null", -EINVAL, "not JSON");
	expect_file_refused("/", -EISDIR, "directory");
	expect_file_refused("/nonexistent/x", -ENOENT, "/nonexistent/x: No such file");
	expect_file_refused("", -ENOENT, "(empty name)");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_round_trip, test_derived, test_refused, test_absurd_counts, test_deep,
				      test_random_changes, test_files};

	return RUN_TESTS("compare-json", tests);
}
