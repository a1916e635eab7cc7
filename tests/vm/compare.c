/*
 * `penumbra compare` as its users run it: what it prints, what it refuses, and what is left when it is cut short.
 */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/elf_writer.h"
#include "tests/vm/directory.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define CODE_GPA 0x100000ull
#define CODE_OFFSET 0x2000u
#define SOON_NS 20000000000ull /* in the lab; a whole comparison takes minutes there */

struct bad_line {
	const char *line;
	const char *names, *why;
};

START_TEST(test_options)
{
	static const struct bad_line lines[] = {
		{"compare --bogus", "compare: --bogus", "no such option"},
		{"compare --only", "--only", "missing"},
		{"compare --only pagefault", "pagefault", "did you mean page-fault?"},
		{"compare --only nanobench", "nanobench", "did you mean nanobenchmarks?"},
		{"compare --only page-fault,,compute", "(empty name)", "--list"},
		{"compare --only xyzzy-plugh", "xyzzy-plugh: no such workload", "`penumbra compare --list` names them"},
		{"compare --only page-fault\e[2J", "page-fault", "no such workload"},
		{"compare --only=", "(empty name)", NULL},
		{"compare --rounds 0", "--rounds=0", "1 to 100"},
		{"compare --rounds 101", "--rounds=101", "1 to 100"},
		{"compare --rounds -5", "--rounds=-5", NULL},
		{"compare --rounds 5x", "--rounds=5x", NULL},
		{"compare --mmu npt", "--mmu=npt", "no such mode"},
		{"compare --mmu ept,", "--mmu=ept,", "no such mode"},
		{"compare --mmu ept,shadow,ept", "--mmu=ept,shadow,ept", "twice"},
		{"compare --mem 99", "--mem=99", NULL},
		{"compare --mem 4097G", "--mem=4097G", NULL},
		{"compare --timeout 0", "--timeout=0", NULL},
		{"compare --cpu z80", "--cpu=z80", "base"},
		{"compare --hugepages x", "--hugepages=x", NULL},
		{"compare --html=", "--html", "name of a file"},
		{"compare --join", "--join", "no file named"},
		{"compare --join --only compute x.json", "--only", "--join"},
		{"compare --join x.json -- 7", "7", "--join takes only files"},
		{"compare @hello 7", "7", "`--`"},
		{"compare -- 7", "7", "no image named"},
		{"compare --only compute @hello", "--only", "image"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "");

		assert_complaint(&o, 125, lines[i].names, lines[i].why, lines[i].line);
		ck_assert_msg(o.out.size == 0, "%s: said '%s'", lines[i].line, o.out.data);
		outcome_free(&o);
	}
}
END_TEST

START_TEST(test_images_that_are_none)
{
	static const struct bad_line lines[] = {
		{"compare missing", "missing", "No such file"},
		{"compare /bin/sh", "/bin/sh", "Linux program"},
		{"compare /", "/", "directory"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "");

		assert_complaint(&o, 127, lines[i].names, lines[i].why, lines[i].line);
		outcome_free(&o);
	}
}
END_TEST

/* A page that cannot be written is found before minutes have gone into measuring. */
START_TEST(test_unwritable_page)
{
	uint64_t begin = monotonic_ns();
	struct outcome o = spawn_line("compare --html /nonexistent/page.html", "");

	assert_complaint(&o, 125, "/nonexistent/page.html", "No such file", "a folder that is not there");
	outcome_free(&o);
	o = spawn_line("compare --html /", "");
	assert_complaint(&o, 125, "/", "directory", "a directory");
	outcome_free(&o);
	ck_assert_uint_lt(monotonic_ns() - begin, SOON_NS);
}
END_TEST

/* What is found only by writing is an error, too. */
START_TEST(test_full_disk)
{
	static const struct spawn cases[] = {
		{.line = "compare --only compute --rounds 1 --mmu ept", .stdout_path = "/dev/full"},
		{.line = "compare --only compute --rounds 1 --mmu ept --json", .stdout_path = "/dev/full"},
		{.line = "compare --only compute --rounds 1 --mmu ept --json", .stdout_broken = true},
		{.line = "compare --list", .stdout_path = "/dev/full"},
	};
	struct outcome o;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		o = spawn(&cases[i], NULL, 0);
		assert_complaint(&o, 125, "standard output", cases[i].stdout_broken ? "Broken pipe" : "No space", cases[i].line);
		outcome_free(&o);
	}
	o = spawn_line("compare --only compute --rounds 1 --mmu ept --html /dev/full", "");
	ck_assert_int_eq(o.status, 125);
	ck_assert_str_eq(o.err.data, "penumbra: /dev/full: write: No space left on device\n");
	ck_assert_msg(strstr(o.out.data, "compute"), "the table is lost: '%s'", o.out.data);
	outcome_free(&o);
}
END_TEST

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *root = json_loads(text, 0, &error);

	ck_assert_msg(root, "not JSON: %s in '%s'", error.text, text);
	return root;
}

/* The output of a line that ends with this status and says nothing on stderr. */
static json_t *run_json(const char *line, int status)
{
	struct outcome o = spawn_line(line, "");
	json_t *root;

	ck_assert_msg(o.status == status && !*o.err.data, "%s: %d, '%s'", line, o.status, o.err.data);
	root = parse(o.out.data);
	outcome_free(&o);
	return root;
}

static json_t *element(json_t *root, const char *list, size_t i)
{
	return json_array_get(json_object_get(root, list), i);
}

static json_t *cell(json_t *root, size_t row, size_t column)
{
	return element(element(root, "rows", row), "cells", column);
}

static size_t samples(json_t *root, size_t row, size_t column)
{
	return json_array_size(json_object_get(cell(root, row, column), "us"));
}

static const char *text_of(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	ck_assert_msg(text, "no text '%s'", name);
	return text;
}

START_TEST(test_whole_image)
{
	json_t *root = run_json("compare --json --rounds 2 @hello -- 42", 0);

	ck_assert_str_eq(text_of(element(root, "rows", 0), "name"), "hello 42");
	ck_assert(samples(root, 0, 0) == 2 && samples(root, 0, 1) == 2);
	ck_assert(json_is_false(json_object_get(root, "partial")));
	ck_assert_str_eq(text_of(element(root, "columns", 0), "name"), "ept");
	ck_assert_str_eq(text_of(element(root, "columns", 1), "name"), "shadow");
	json_decref(root);
	root = run_json("compare --json --rounds 1 --mmu shadow,ept @hello", 0);
	ck_assert_str_eq(text_of(element(root, "columns", 0), "mmu"), "shadow");
	ck_assert_uint_eq(json_array_size(json_object_get(root, "columns")), 2);
	json_decref(root);
}
END_TEST

/* mov $0x500, %edx; mov $7, %al; mov %cs, %ebx; out %al, %dx; hlt: shadow mode refuses it, for what ring 3 reads in CS. */
static void write_refused_image(char *path)
{
	static const uint8_t code[] = {0xba, 0, 5, 0, 0, 0xb0, 7, 0x8c, 0xcb, 0xee, 0xf4};
	static uint8_t bytes[WRITER_FILE_SIZE];
	struct writer_elf e = writer_good();
	struct writer_symbols symbols = {.symbol = {{0}, {1, 2, 1, CODE_GPA, sizeof(code)}}, .count = 2, .names_size = 64};
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	e.segment[0] = (struct writer_segment){WRITER_LOAD, WRITER_R | WRITER_X, CODE_OFFSET, CODE_GPA, CODE_GPA,
					       sizeof(code), sizeof(code), 4096};
	e.segment[1].paddr = e.segment[1].vaddr = 0x104000;
	e.entry = CODE_GPA;
	writer_sections(&e);
	writer_write(&e, bytes);
	memcpy(bytes + CODE_OFFSET, code, sizeof(code));
	strcpy(symbols.names + 1, "kernel_main");
	writer_put_symbols(&symbols, bytes);
	ck_assert_int_eq((int)pwrite(fd, bytes, sizeof(bytes), 0), (int)sizeof(bytes));
	close(fd);
}

/* An image for one mode only: its cell of the other says why, and the comparison is a success. */
START_TEST(test_one_mode_only)
{
	char path[] = "/tmp/penumbra-compare.XXXXXX", line[128];
	json_t *root;

	write_refused_image(path);
	snprintf(line, sizeof(line), "compare --json --rounds 1 %s", path);
	root = run_json(line, 0);
	ck_assert_uint_eq(samples(root, 0, 0), 1);
	ck_assert_msg(strstr(text_of(cell(root, 0, 1), "cannot"), "mov %cs, %ebx"), "%s", text_of(cell(root, 0, 1), "cannot"));
	json_decref(root);
	unlink(path);
}
END_TEST

/* A guest that is killed for what it does, or takes too long, leaves no time to compare. */
START_TEST(test_guests_that_fail)
{
	json_t *root = run_json("compare --json --rounds 1 @hostile -- hlt-forever", 0);
	struct outcome o;

	for (size_t i = 0; i < 2; i++)
		ck_assert_msg(strstr(text_of(cell(root, 0, i), "cannot"), "halted with interrupts off"), "%s",
			      text_of(cell(root, 0, i), "cannot"));
	json_decref(root);
	root = run_json("compare --json --rounds 1 --timeout 0.2 @clock -- 1000000", 0);
	ck_assert_msg(strstr(text_of(cell(root, 0, 1), "cannot"), "did not end in time"), "%s", text_of(cell(root, 0, 1), "cannot"));
	json_decref(root);
	o = spawn_line("compare --rounds 1 @hostile -- hlt-forever", "");
	ck_assert_int_eq(o.status, 0);
	ck_assert_msg(strstr(o.out.data, "cannot [1]") && !strstr(o.out.data, "by cause"), "a table of nothing: '%s'", o.out.data);
	outcome_free(&o);
}
END_TEST

static void stderr_to_terminal(void *arg)
{
	dup2(STDOUT_FILENO, STDERR_FILENO);
}

/* Ctrl-C at the terminal, when the second of two rows is being measured. */
START_TEST(test_interrupted)
{
	struct child c = child_start(&(struct spawn){.line = "compare --json --rounds 10 --only system-call,units",
						     .in = SPAWN_TTY, .prepare = stderr_to_terminal});
	struct outcome o;
	json_t *root;
	const char *text;

	child_expect(&c, "system-call");
	child_expect(&c, "units");
	child_send(&c, "\003", 1);
	o = child_end(&c);
	ck_assert_msg(o.status == 130, "status %d: '%s'", o.status, o.out.data);
	text = strchr(o.out.data, '{');
	ck_assert_ptr_nonnull(text);
	root = parse(text);
	ck_assert(json_is_true(json_object_get(root, "partial")));
	ck_assert_str_eq(text_of(element(root, "rows", 0), "name"), "system-call");
	ck_assert(samples(root, 0, 0) == 10 && samples(root, 0, 1) == 10);
	ck_assert_uint_lt(samples(root, 1, 1), 10);
	json_decref(root);
	outcome_free(&o);
}
END_TEST

/* The same from a script, with a table: it says that it is not whole. `timeout` sends its signal twice. */
START_TEST(test_terminated)
{
	struct child c = child_start(&(struct spawn){.line = "compare --rounds 100 --only units", .in = SPAWN_NULL});
	struct outcome o;

	child_linger(&c, 3000);
	kill(c.pid, SIGTERM);
	child_linger(&c, 5);
	kill(-c.pid, SIGTERM);
	o = child_end(&c);
	ck_assert_msg(o.status == 130 && !*o.err.data, "status %d: '%s'", o.status, o.err.data);
	ck_assert_msg(strstr(o.out.data, "is partial") || !strcmp(o.out.data, "Nothing was measured.\n"), "'%s'", o.out.data);
	outcome_free(&o);
}
END_TEST

static void save(const char *line, const char *name)
{
	struct outcome o = spawn_line(line, "");

	ck_assert_msg(o.status == 0, "%s: '%s'", line, o.err.data);
	make_file(name, o.out.data, o.out.size, 0644);
	outcome_free(&o);
}

START_TEST(test_join)
{
	static const char *const names[] = {"one.json", "two.json", "page.html", NULL};
	char path[256];
	struct outcome o;
	json_t *root;

	enter_directory(path, sizeof(path));
	save("compare --json --rounds 2 --only compute", "one.json");
	save("compare --json --rounds 1 --only system-call,compute --mmu shadow", "two.json");
	root = run_json("compare --json --join one.json two.json one.json", 0);
	ck_assert_uint_eq(json_array_size(json_object_get(root, "columns")), 2);
	ck_assert_uint_eq(json_array_size(json_object_get(root, "rows")), 2);
	ck_assert(samples(root, 0, 0) == 4 && samples(root, 0, 1) == 5);
	ck_assert(json_is_null(cell(root, 1, 0)) && samples(root, 1, 1) == 1);
	json_decref(root);
	o = spawn_line("compare --join one.json --html page.html", "");
	ck_assert_msg(o.status == 0 && !*o.err.data && strstr(o.out.data, "compute"), "'%s'", o.err.data);
	ck_assert_int_eq(access("page.html", R_OK), 0);
	outcome_free(&o);
	leave_directory(path, names);
}
END_TEST

/* The reader's own tests (tests/unit/compare_json.c) know more of these. */
START_TEST(test_join_refuses)
{
	static const char *const names[] = {"good.json", "bad.json", "cut.json", NULL};
	static const struct bad_line lines[] = {
		{"compare --join missing.json", "missing.json", "No such file"},
		{"compare --join good.json missing.json", "missing.json", "No such file"},
		{"compare --join /", "/", "directory"},
		{"compare --join good.json bad.json", "bad.json", "not a comparison"},
		{"compare --join cut.json", "cut.json", "not JSON"},
		{"compare --join /dev/zero", "/dev/zero", "larger"},
		{"compare --html /nonexistent/x --join good.json", "/nonexistent/x", "No such file"},
		{"compare --html new.html --join bad.json", "bad.json", "not a comparison"}, /* leave_directory() looks for it */
	};
	char path[256];

	enter_directory(path, sizeof(path));
	save("compare --json --rounds 1 --only compute --mmu ept", "good.json");
	make_file("bad.json", "{\"columns\":[]}", 14, 0644);
	ck_assert_int_eq(rename("good.json", "cut.json"), 0);
	ck_assert_int_eq(truncate("cut.json", 300), 0);
	save("compare --json --rounds 1 --only compute --mmu ept", "good.json");
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "");

		assert_complaint(&o, 125, lines[i].names, lines[i].why, lines[i].line);
		ck_assert_msg(o.out.size == 0, "%s: said '%s'", lines[i].line, o.out.data);
		outcome_free(&o);
	}
	leave_directory(path, names);
}
END_TEST

START_TEST(test_list)
{
	struct outcome o = spawn_line("compare --list", "");

	ck_assert_msg(o.status == 0 && !*o.err.data, "%d, '%s'", o.status, o.err.data);
	ck_assert(strstr(o.out.data, "\n  page-fault ") && strstr(o.out.data, "\n  compute "));
	for (const char *line = o.out.data; *line; line += strcspn(line, "\n") + 1)
		ck_assert_msg(strcspn(line, "\n") <= 100, "too wide: '%.120s'", line);
	outcome_free(&o);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_options, test_images_that_are_none, test_unwritable_page, test_full_disk, test_whole_image, test_one_mode_only,
		test_guests_that_fail, test_interrupted, test_terminated, test_join, test_join_refuses, test_list,
	};

	return RUN_TESTS("compare", tests);
}
