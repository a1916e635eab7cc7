/*
 * Lines of the host's files: by key and without, and files that hold none, or odd ones.
 */
#include "vmm/host_file.h"

#include <check.h>
#include <string.h>

#include "tests/unit/fake_root.h"
#include "tests/vm/suite.h"

#define PATH "/proc/something"

START_TEST(test_lines)
{
	static const struct {
		const char *file, *key, *value; /* NULL: there is none */
	} cases[] = {
		{"", "", NULL}, {"\n", "", NULL}, {"a\n", "", "a"}, {"a", "", "a"}, {" :a b \nc\n", "", " :a b "}, {"\na\n", "", NULL},
		{"key: a\n", "key", "a"}, {"x\nkey\t : a: b\nkey: c\n", "key", "a: b"}, {"key", "key", NULL}, {"key\n", "key", NULL},
		{"key \t:\n", "key", NULL}, {"ke", "key", NULL}, {" key: a\n", "key", NULL}, {"keys: a\nkey: b\n", "key:", "b"},
		{"key: 0123456789abcdef\n", "key:", "0123456789abcde"},
	};
	char text[16];
	struct fake f;

	fake_begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool found;

		fake_file(&f, PATH, cases[i].file);
		memset(text, 'x', sizeof(text));
		found = host_file_line(f.root, PATH, cases[i].key, text, sizeof(text));
		ck_assert_msg(found == (cases[i].value != NULL), "case %zu: '%s'", i, text);
		ck_assert_str_eq(text, found ? cases[i].value : "");
	}
	fake_end(&f);
}
END_TEST

/* A key is one only where a line begins, however long the line before is. */
START_TEST(test_long_lines)
{
	char file[20000], text[16];
	struct fake f;

	fake_begin(&f);
	for (size_t at = 0; at + 4 < sizeof(file); at += 4)
		memcpy(file + at, "key:", 4);
	file[0] = 'x';
	strcpy(file + sizeof(file) - 8, "\nkey:a");
	fake_file(&f, PATH, file);
	ck_assert(host_file_line(f.root, PATH, "key", text, sizeof(text)));
	ck_assert_str_eq(text, "a");
	fake_end(&f);
}
END_TEST

START_TEST(test_no_file)
{
	char text[16];

	ck_assert(!host_file_line("/nowhere", PATH, "", text, sizeof(text)));
	ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_lines, test_long_lines, test_no_file};

	return RUN_TESTS("host-file", tests);
}
