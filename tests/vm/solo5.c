/* Unikernels with Solo5's interface: what they are told, what they may, and how each that may not ends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ept/host_mmu.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define CMDLINE_MAX 8192 /* bytes, with the NUL: Solo5's number */

struct good_line {
	const char *line, *out;
	int status;
};

START_TEST(test_hello)
{
	static const struct good_line lines[] = {
		{"run @solo5-hello", "hello, world\n", 0},
		{"run @solo5-hello -- 7", "hello, world: 7\n", 7},
		{"run @solo5-hello -- 255", "hello, world: 255\n", 255},
		{"run --append a @solo5-hello -- b c", "hello, world: a b c\n", 2},
		{"run --mem 2M @solo5-hello", "hello, world\n", 0},
		{"run --mem 3M @solo5-hello", "hello, world\n", 0},
		{"run --mem 1G @solo5-hello", "hello, world\n", 0},
		{"run --mem 3G @solo5-hello", "hello, world\n", 0},
		{"run --hugepages on @solo5-hello", "hello, world\n", 0},
		{"run --console none @solo5-hello -- 9", "", 9},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "input that nobody reads");

		assert_outcome(&o, lines[i].status, lines[i].out, lines[i].line);
		ck_assert_msg(o.err.size == 0, "%s: complained '%s'", lines[i].line, o.err.data);
		outcome_free(&o);
	}
}
END_TEST

/* SSE in ring 0: shadow mode runs it everywhere, direct mode where ring 0 is not interpreted, and says so there. */
START_TEST(test_sse)
{
	struct outcome o = spawn_line("run @solo5-sse", "");

	if (host_mmu_detect("").ring0_interpreted && !mmu_is_shadow())
		assert_complaint(&o, 125, "cannot in this mode on this host", "interprets ring 0", "sse");
	else
		assert_outcome(&o, 0, "....\npi: 3141582653\n", "sse");
	outcome_free(&o);
}
END_TEST

START_TEST(test_crowd)
{
	struct outcome o = spawn_line("run --count 20 @solo5-hello", "");

	ck_assert_int_eq(o.status, 0);
	ck_assert_ptr_nonnull(strstr(o.out.data, "19: hello, world\n"));
	outcome_free(&o);
}
END_TEST

START_TEST(test_command_line)
{
	for (int size = CMDLINE_MAX - 1; size <= CMDLINE_MAX; size++) {
		char *line;
		struct outcome o;

		ck_assert_int_ge(asprintf(&line, "run @solo5-hostile -- %0*d", size, 0), 0);
		o = spawn_line(line, "");
		/* The unikernel's own buffer is smaller: it says 93. */
		if (size < CMDLINE_MAX)
			ck_assert_int_eq(o.status, 93);
		else
			assert_complaint(&o, 125, "command line", "8192", "command line");
		outcome_free(&o);
		free(line);
	}
}
END_TEST

/* Its own exception handler sees a fault with the error code that hardware gives: P 1, W 2, I 16. */
START_TEST(test_pages)
{
	static const struct {
		const char *words, *says;
	} lines[] = {
		{"load 0", "exception 14, error 0,"},
		{"load 0xfff", "exception 14, error 0,"},
		{"load 0x1000", "exception 14, error 0,"},
		{"load 0x2000", "exception 14, error 0,"},
		{"store 0x8000", "exception 14, error 2,"},
		{"load 0x20000", "exception 14, error 0,"},
		{"load 0xfffff", "exception 14, error 0,"},
		{"load info", "got through"},
		{"load cmdline", "got through"},
		{"store info", "exception 14, error 3,"},
		{"store cmdline", "exception 14, error 3,"},
		{"run info", "exception 14, error 17,"},
		{"load text", "got through"},
		{"store text", "exception 14, error 3,"},
		{"load constants", "got through"},
		{"store constants", "exception 14, error 3,"},
		{"run constants", "exception 14, error 17,"},
		{"store data", "got through"},
		{"run data", "exception 14, error 17,"},
		{"store heap", "got through"},
		{"run heap", "exception 14, error 17,"},
		{"store heap-end", "got through"},
		{"run heap-end", "exception 14, error 17,"},
		{"load beyond", "exception 14, error 0,"},
		{"load 0xc0000000", "exception 14, error 0,"},
		{"load 0x100000000", "exception 14, error 0,"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		char line[80];
		struct outcome o;

		snprintf(line, sizeof(line), "run --mem 8M @solo5-hostile -- %s", lines[i].words);
		o = spawn_line(line, "");
		ck_assert_msg(!strncmp(o.out.data, lines[i].says, strlen(lines[i].says)), "%s: said '%s', '%s'", line, o.out.data,
			      o.err.data);
		ck_assert_int_eq(o.status, lines[i].says[0] == 'e' ? 14 : 0);
		outcome_free(&o);
	}
}
END_TEST

struct bad_line {
	const char *words, *part, *other;
};

static void check_killed(const struct bad_line *lines, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char line[100];
		struct outcome o;

		snprintf(line, sizeof(line), "run --mem 8M @solo5-hostile -- %s", lines[i].words);
		o = spawn_line(line, "");
		assert_complaint(&o, 126, lines[i].part, lines[i].other, line);
		ck_assert_msg(o.out.size == 0, "%s: said '%s'", line, o.out.data);
		outcome_free(&o);
	}
}

/* A hypercall with an address that is not the unikernel's ends it, and the line says which call and what address. */
START_TEST(test_bad_calls)
{
	static const struct bad_line lines[] = {
		{"call 0 0", "port 0x500", "no hypercall"},
		{"call 9 0", "port 0x509", "no hypercall"},
		{"call 12 0", "port 0x50c", "no hypercall"},
		{"in", "read of 4 bytes at port 0x502", NULL},
		{"out8", "write of 1 bytes at port 0x502", NULL},
		{"hlt", "halted", NULL},
		{"wall 0", "walltime", "0x0 "},
		{"wall text", "walltime", "read-only"},
		{"wall constants", "walltime", "read-only"},
		{"wall info", "walltime", "0x10000"},
		{"wall 0x2000", "walltime", "0x2000"},
		{"wall 0x20000", "walltime", "0x20000"},
		{"wall heap-end", "walltime", "8 bytes at 0x7fffff"},
		{"wall beyond", "walltime", "0x800000"},
		{"wall 0xfffffffc", "walltime", "0xfffffffc"},
		{"poll text", "poll", "read-only"},
		{"poll heap-end", "poll", "24 bytes"},
		{"call 2 0xfffffff0", "puts", "0xfffffff0"},
		{"puts 0 4", "puts", "0x0 "},
		{"puts 0x2000 4", "puts", "0x2000"},
		{"puts heap-end 2", "puts", "2 bytes"},
		{"puts beyond 1", "puts", "1 bytes"},
		{"puts heap 0xffffffffffffffff", "puts", "18446744073709551615 bytes"},
		{"puts 0xffffffffffffffff 2", "puts", "0xffffffffffffffff"},
		{"puts 0x100000000 1", "puts", "0x100000000"},
		{"call 4 0", "block write", NULL},
		{"call 5 beyond", "block read", NULL},
		{"call 6 text", "net write", "read-only"},
		{"call 7 info", "net read", NULL},
		{"call 8 0", "halt", NULL},
		{"halt 1 0", "halt", "512 bytes at 0x1"},
		{"halt heap-end 0", "halt", "512 bytes"},
		{"halt 0xffffffffffffff00 0", "halt", "512 bytes"},
	};

	check_killed(lines, sizeof(lines) / sizeof(*lines));
}
END_TEST

/* What is just allowed. */
START_TEST(test_good_calls)
{
	static const struct good_line lines[] = {
		{"run --mem 8M @solo5-hostile -- puts cmdline 4", "putsgot through\n", 0},
		{"run --mem 8M @solo5-hostile -- puts heap-end 1", "\0", 0},
		{"run --mem 8M @solo5-hostile -- puts 0 0", "got through\n", 0},
		{"run --mem 8M @solo5-hostile -- wall heap", "got through\n", 0},
		{"run --mem 8M @solo5-hostile -- poll heap", "got through\n", 0},
		{"run --mem 8M @solo5-hostile -- halt 0 300", "", 44},
		{"run --mem 8M @solo5-hostile -- halt text 1", "", 1},
		{"run --mem 8M @solo5-hostile -- halt heap 0xffffffff", "", 255},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "");

		ck_assert_int_eq(o.status, lines[i].status);
		ck_assert_msg(!strncmp(o.out.data, lines[i].out, strlen(lines[i].out)), "%s: said '%s'", lines[i].line, o.out.data);
		ck_assert_msg(o.err.size == 0, "%s: complained '%s'", lines[i].line, o.err.data);
		outcome_free(&o);
	}
}
END_TEST

START_TEST(test_command_lines)
{
	static const struct bad_line lines[] = {
		{"run @solo5-devices", "storage", "--block:storage=FILE"},
		{"run --block:storage=/dev/null @solo5-devices", "/dev/null", "regular file or a block device"},
		{"run --block:storage=/nowhere/at/all @solo5-devices", "/nowhere/at/all", "No such file"},
		{"run --block:storage=/proc/self/mem @solo5-devices", "/proc/self/mem", NULL},
		{"run --block:storage=x --block:storage=y @solo5-devices", "--block:storage", "given twice"},
		{"run --block:service=x @solo5-devices", "--block:service", "network device"},
		{"run --net:storage=x @solo5-devices", "--net:storage", "block device"},
		{"run --block:else=x @solo5-devices", "--block:else", "no such device"},
		{"run --block:storag=x @solo5-devices", "--block:storag", "no such device"},
		{"run --block:x=y @solo5-hello", "--block:x", "no such device"},
		{"run --block:x=y @hello", "--block:x", "only Solo5"},
		{"run --net:x=y @hello", "--net:x", "only Solo5"},
		{"run --block: @solo5-devices", "--block", NULL},
		{"run --block:storage @solo5-devices", "--block", NULL},
		{"run --block:storage= @solo5-devices", "--block:storage=", "NAME=FILE"},
		{"run --block:=x @solo5-devices", "--block:=x", "NAME=FILE"},
		{"run --block:a.b=x @solo5-devices", "a.b=x", "letters and digits"},
		{"run --blok:storage=x @solo5-devices", "--blok:storage", "no such option"},
		{"run --mem 1M @solo5-hello", "--mem", "2M"},
		{"run --mem 4G @solo5-hello", "--mem 3G", NULL},
		{"run --initrd /etc/passwd @solo5-hello", "--initrd", "solo5-hello"},
		{"run --virtio-console @solo5-hello", "--virtio-console", "solo5-hello"},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].words, "");

		assert_complaint(&o, 125, lines[i].part, lines[i].other, lines[i].words);
		outcome_free(&o);
	}
}
END_TEST

/* Words that only look like those options stay the guest's. */
START_TEST(test_other_words)
{
	static const struct good_line lines[] = {
		{"run --append --block:a=b @solo5-hello", "hello, world: --block:a=b\n", 2},
		{"run @solo5-hello -- --net:a=b", "hello, world: --net:a=b\n", 2},
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i].line, "");

		assert_outcome(&o, lines[i].status, lines[i].out, lines[i].line);
		outcome_free(&o);
	}
}
END_TEST

/* A good unikernel with some bytes changed behind its manifest's or ABI note's type. */
static const struct lie {
	const char *after; /* bytes of the note's type */
	size_t at;	   /* from there on */
	uint32_t value;
	const char *why;
} lies[] = {
	{"ABI1", 12, 2, "for spt"},
	{"ABI1", 12, 3, "for virtio"},
	{"ABI1", 12, 77, "target 77"},
	{"ABI1", 16, 1, "version 1"},
	{"ABI1", 16, 3, "version 3"},
	{"ABI1", 0, 5, "without an ABI note"},
	{"ABI1", -4, 12, "damaged"},
	{"ABI1", -4, 0xffffffff, "beyond its segment"},
	{"MFT1", 0, 5, "without a manifest"},
	{"MFT1", 16, 2, "version 2"},
	{"MFT1", 20, 0, "0 entries"},
	{"MFT1", 20, 2, "2 entries"},
	{"MFT1", 20, 4, "4 entries"},
	{"MFT1", 20, 65, "65 entries"},
	{"MFT1", 20, 0xffffffff, "4294967295 entries"},
	{"MFT1", -4, 8, "damaged"},
	{"MFT1", 24, 'x', "first, empty entry"},
	{"MFT1", 24 + 68, 1, "first, empty entry"},
	{"MFT1", 24 + 96, 1, "in use already"},
	{"MFT1", 24 + 104, 0, "bad name"},
	{"MFT1", 24 + 104, 0x2e2e2f2e, "bad name"},
	{"MFT1", 24 + 104 + 68, 3, "unknown type 3"},
	{"MFT1", 24 + 104 + 68, 1 << 30, "unknown type"},
	{"MFT1", 24 + 104 + 96, 1, "in use already"},
};

static char *read_image(const char *name, size_t *size)
{
	char *path = build_path(name), *bytes = malloc(1 << 20);
	FILE *f = fopen(path, "re");

	ck_assert(f && bytes);
	*size = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	free(path);
	return bytes;
}

static void write_lie(const char *path, const struct lie *lie)
{
	size_t size;
	char *bytes = read_image("guest/solo5-devices", &size), *at = memmem(bytes, size, lie->after, 4);
	FILE *f = fopen(path, "we");

	ck_assert(at && f);
	memcpy(at + lie->at, &lie->value, sizeof(lie->value));
	ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
	fclose(f);
	free(bytes);
}

START_TEST(test_lies)
{
	char path[] = "/tmp/penumbra-solo5-XXXXXX", line[80];

	close(mkstemp(path));
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct outcome o;

		write_lie(path, &lies[i]);
		snprintf(line, sizeof(line), "run %s", path);
		o = spawn_line(line, "");
		assert_complaint(&o, 127, path, lies[i].why, lies[i].why);
		outcome_free(&o);
		snprintf(line, sizeof(line), "inspect %s", path);
		o = spawn_line(line, "");
		ck_assert_int_eq(o.status, 127);
		ck_assert_msg(strstr(o.out.data, "a Solo5 unikernel") && strstr(o.out.data, lies[i].why), "%s: said '%s'",
			      lies[i].why, o.out.data);
		outcome_free(&o);
	}
	unlink(path);
}
END_TEST

START_TEST(test_inspect)
{
	struct outcome o = spawn_line("inspect @solo5-devices", "");

	ck_assert_int_eq(o.status, 0);
	ck_assert_ptr_nonnull(strstr(o.out.data, ": a Solo5 unikernel\n"));
	ck_assert_ptr_nonnull(strstr(o.out.data, "--block:storage=FILE\n"));
	ck_assert_ptr_nonnull(strstr(o.out.data, "--net:service=TAP\n"));
	outcome_free(&o);
	o = spawn_line("inspect --json @solo5-devices", "");
	ck_assert_int_eq(o.status, 0);
	ck_assert_ptr_nonnull(strstr(o.out.data, "\"kind\": \"solo5\""));
	ck_assert_ptr_nonnull(strstr(o.out.data, "\"name\": \"service\""));
	outcome_free(&o);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_hello,	 test_sse,	   test_crowd,	       test_command_line, test_pages, test_bad_calls,
		test_good_calls, test_command_lines, test_other_words, test_lies,	  test_inspect,
	};

	return RUN_TESTS("solo5", tests);
}
