/*
 * The inspect command: what it prints of good, broken and hostile files, as text and as JSON.
 */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/elf_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

struct said {
	int status;
	char out[8192], err[4096];
};

/* Two modes, of which one refuses every image. */
static int refuse_all(const struct image *im, struct image_reason *why)
{
	return image_refuse(why, ENOTSUP, "`hlt` at 0x%llx is not wanted", (unsigned long long)im->entry_gva);
}

static const struct mmu_ops takes_all = { .name = "easy" }, takes_none = { .name = "hard", .check_image = refuse_all };
static const struct mmu_ops *const mmus[] = { &takes_all, &takes_none, NULL };
static const struct program program = { .mmus = mmus };

/* Runs `penumbra inspect [--json] PATH` with stdout in a file. */
static void inspect(struct said *s, bool json, const char *path)
{
	char name[] = "penumbra inspect", option[] = "--json", file[4200];
	char *argv[] = { name, json ? option : file, file, NULL };
	int out = memfd_create("stdout", MFD_CLOEXEC), saved;
	struct capture c;
	ssize_t n;

	snprintf(file, sizeof(file), "%s", path);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	ck_assert_int_ge(dup2(out, STDOUT_FILENO), 0);
	capture_begin(&c);
	s->status = cmd_inspect(&program, json ? 3 : 2, argv);
	strcpy(s->err, capture_end(&c));
	fflush(stdout);
	ck_assert_int_ge(dup2(saved, STDOUT_FILENO), 0);
	n = pread(out, s->out, sizeof(s->out) - 1, 0);
	ck_assert_int_ge((int)n, 0);
	s->out[n] = '\0';
	close(out);
	close(saved);
}

static json_t *parse(const struct said *s)
{
	json_error_t error;
	json_t *root = json_loads(s->out, JSON_REJECT_DUPLICATES, &error);

	ck_assert_msg(root, "%s: %s", error.text, s->out);
	return root;
}

static struct memory_file good_with_symbol(const char *name)
{
	static uint8_t bytes[WRITER_FILE_SIZE];
	struct writer_elf e = writer_good();
	struct writer_symbols symbols = {
		.symbol = { { 0 }, { 1, 2, 1, e.entry, 0 } }, .count = 2, .names_size = 64,
	};

	strcpy(symbols.names + 1, name);
	writer_sections(&e);
	writer_write(&e, bytes);
	writer_put_symbols(&symbols, bytes);
	return file_of(bytes, sizeof(bytes));
}

START_TEST(good_text)
{
	struct memory_file f = good_with_symbol("start");
	struct said s;

	inspect(&s, false, f.path);
	ck_assert_int_eq(s.status, 0);
	ck_assert_str_eq(s.err, "");
	ck_assert_ptr_nonnull(strstr(s.out, f.path));
	ck_assert_ptr_nonnull(strstr(s.out, "a Penumbra guest image\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "gpa 0x100010, gva 0xffffffff80000010, start\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "at least 2 MiB (--mem 2M)\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "functions 1\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "\neasy      ok\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "\nhard      no: `hlt` at 0xffffffff80000010 is not wanted\n"));
	ck_assert_ptr_nonnull(strstr(s.out, "0x100000        0x123        0x123  r-x"));
	ck_assert_ptr_nonnull(strstr(s.out, "0x101000       0x3000        0x456  rw-"));
	close(f.fd);
}
END_TEST

START_TEST(good_json)
{
	struct memory_file f = good_with_symbol("start");
	const char *path, *gpa, *gva, *symbol, *segment_gpa, *flags, *reason;
	int runs[2], bootable, version, ram, functions, size, offset, file_size;
	struct said s;
	json_t *root;

	inspect(&s, true, f.path);
	ck_assert_int_eq(s.status, 0);
	root = parse(&s);
	ck_assert_int_eq(json_unpack(root, "{s:s, s:b, s:n, s:i, s:{s:s, s:s, s:s}, s:i, s:i}",
				     "path", &path, "bootable", &bootable, "reason",
				     "abi_version", &version, "entry", "gpa", &gpa, "gva", &gva,
				     "symbol", &symbol, "ram_needed", &ram,
				     "functions", &functions), 0);
	ck_assert_str_eq(path, f.path);
	ck_assert_str_eq(gpa, "0x100010");
	ck_assert_str_eq(gva, "0xffffffff80000010");
	ck_assert_str_eq(symbol, "start");
	ck_assert(bootable && version == 1 && ram == 2 << 20 && functions == 1);
	ck_assert_int_eq(json_unpack(json_object_get(root, "modes"), "{s:{s:b, s:n}, s:{s:b, s:s}}", "easy", "runs", &runs[0],
				     "reason", "hard", "runs", &runs[1], "reason", &reason), 0);
	ck_assert(runs[0] && !runs[1] && strstr(reason, "not wanted"));
	ck_assert_uint_eq(json_array_size(json_object_get(root, "segments")), 2);
	ck_assert_int_eq(json_unpack(json_array_get(json_object_get(root, "segments"), 1),
				     "{s:s, s:i, s:i, s:i, s:s}", "gpa", &segment_gpa,
				     "size", &size, "file_offset", &offset, "file_size", &file_size,
				     "flags", &flags), 0);
	ck_assert_str_eq(segment_gpa, "0x101000");
	ck_assert(size == 0x3000 && offset == 0x2200 && file_size == 0x456);
	ck_assert_str_eq(flags, "rw-");
	json_decref(root);
	close(f.fd);
}
END_TEST

START_TEST(refused)
{
	struct memory_file f = file_of("#!/bin/sh\n", 10);
	const char *what, *reason;
	int bootable;
	struct said s;
	json_t *root;

	inspect(&s, false, f.path);
	ck_assert_int_eq(s.status, EXIT_NO_IMAGE);
	ck_assert_ptr_nonnull(strstr(s.out, "bootable  no: "));
	ck_assert_ptr_nonnull(strstr(s.out, "a script"));
	inspect(&s, true, f.path);
	ck_assert_int_eq(s.status, EXIT_NO_IMAGE);
	root = parse(&s);
	ck_assert_int_eq(json_unpack(root, "{s:s, s:b, s:s}", "what", &what, "bootable", &bootable,
				     "reason", &reason), 0);
	ck_assert_str_eq(what, "a script");
	ck_assert(!bootable && strstr(reason, "a script"));
	json_decref(root);
	close(f.fd);
}
END_TEST

START_TEST(unreadable)
{
	char name[300];
	struct said s;

	inspect(&s, false, "no/such/file");
	ck_assert_int_eq(s.status, EXIT_NO_IMAGE);
	ck_assert_str_eq(s.out, "");
	assert_one_line(s.err, "no/such/file: No such file");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	inspect(&s, true, name);
	ck_assert_int_eq(s.status, EXIT_BAD);
	assert_one_line(s.err, "File name too long");
}
END_TEST

/* Neither a symbol nor a path may move the cursor, forge a line or break the JSON. */
START_TEST(hostile)
{
	struct memory_file f = good_with_symbol("a\033[2J\nb\xff\x9b");
	const char *symbol;
	struct said s;
	json_t *root;

	inspect(&s, false, f.path);
	ck_assert_ptr_nonnull(strstr(s.out, ", a?[2J?b??\n"));
	ck_assert_ptr_null(strchr(s.out, '\033'));
	inspect(&s, true, f.path);
	root = parse(&s);
	ck_assert_int_eq(json_unpack(root, "{s:{s:s}}", "entry", "symbol", &symbol), 0);
	ck_assert_str_eq(symbol, "a?[2J?b??");
	json_decref(root);
	close(f.fd);
}
END_TEST

START_TEST(full_disk)
{
	struct memory_file f = good_with_symbol("start");
	char name[] = "penumbra inspect";
	char *argv[] = { name, f.path, NULL };
	int saved = dup(STDOUT_FILENO);
	FILE *full = fopen("/dev/full", "we");
	struct capture c;
	int status;

	ck_assert_ptr_nonnull(full);
	fflush(stdout);
	ck_assert_int_ge(dup2(fileno(full), STDOUT_FILENO), 0);
	capture_begin(&c);
	status = cmd_inspect(&program, 2, argv);
	ck_assert_int_ge(dup2(saved, STDOUT_FILENO), 0);
	assert_one_line(capture_end(&c), "No space left");
	ck_assert_int_eq(status, EXIT_BAD);
	fclose(full);
	close(saved);
	close(f.fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {good_text, good_json, refused, unreadable, hostile, full_disk};

	return RUN_TESTS("cmd_inspect", tests);
}
