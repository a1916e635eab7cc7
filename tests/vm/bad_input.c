/*
 * What users hand in by mistake: options, files, places for output. Each is one line on stderr that names what it is about and
 * why, exit status 125 (127 for an image that cannot boot), and leaves nothing behind. A host that refuses is bad_host.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/directory.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

struct bad_line {
	const char *line;
	int status;
	const char *names, *why;
};

static void check_lines(const struct bad_line *lines, size_t count)
{
	for (const struct bad_line *l = lines; l < lines + count; l++) {
		struct outcome o = spawn_line(l->line, "");

		assert_complaint(&o, l->status, l->names, l->why, l->line);
		ck_assert_msg(o.out.size == 0, "%s: said '%s'", l->line, o.out.data);
		outcome_free(&o);
	}
}

#define CHECK_LINES(lines) check_lines(lines, sizeof(lines) / sizeof(*(lines)))

START_TEST(test_options)
{
	static const struct bad_line lines[] = {
		{"bogus", 125, "bogus", "no such command"},
		{"", 125, NULL, "command"},
		{"--bogus", 125, "--bogus", NULL},
		{"run", 125, "run", "no image"},
		{"run --bogus @hello", 125, "--bogus", NULL},
		{"run --bogus=7 @hello", 125, "--bogus", NULL},
		{"run --bo\ngus @hello", 125, "--bo", NULL},
		{"run -x @hello", 125, "-x", NULL},
		{"run -xyz @hello", 125, "-x", NULL},
		{"run @hello --mem", 125, "--mem", NULL},
		{"run @hello --timeout", 125, "--timeout", NULL},
		{"run --help=x @hello", 125, "--help", NULL},
		{"run --c=1 @hello", 125, "--c", NULL},
		{"doctor --bogus", 125, "doctor: --bogus", "no such option"},
		{"doctor --json=1", 125, "doctor: --json", "takes no value"},
		{"ctl", 125, "ctl", "--help"},
		{"ctl socket", 125, "ctl", "--help"},
		{"ctl -x", 125, "ctl: -x", "no such option"},
		{"ctl socket --bogus=1", 125, "ctl: --bogus=1", "no such option"},
		{"ctl --help=x", 125, "ctl: --help", "takes no value"},
		{"doctor more", 125, "more", "takes no arguments"},
		{"inspect", 125, "inspect", "no file"},
		{"inspect --bogus @hello", 125, "inspect: --bogus", "no such option"},
		{"inspect @hello @hello", 125, "hello", "one file"},
		{"inspect missing", 127, "missing", "No such file"},
		{"run @hello more", 125, "more", "--"},
		{"run --mmu= @hello", 125, "--mmu", NULL},
		{"run --mmu=none @hello", 125, "--mmu=none", "mode"},
		{"run --mmu=ept2 @hello", 125, "--mmu=ept2", NULL},
		{"run --cpu=z80 @hello", 125, "--cpu=z80", "base"},
		{"run --mem= @hello", 125, "--mem", NULL},
		{"run --mem=0 @hello", 125, "--mem=0", NULL},
		{"run --mem=0M @hello", 125, "--mem=0M", NULL},
		{"run --mem=64 @hello", 125, "--mem=64", NULL},
		{"run --mem=64MB @hello", 125, "--mem=64MB", NULL},
		{"run --mem=-64M @hello", 125, "--mem=-64M", NULL},
		{"run --mem=+64M @hello", 125, "--mem=+64M", NULL},
		{"run --mem=0x40M @hello", 125, "--mem=0x40M", NULL},
		{"run --mem=1.5G @hello", 125, "--mem=1.5G", NULL},
		{"run --mem=1022K @hello", 125, "--mem=1022K", NULL},
		{"run --mem=1025K @hello", 125, "--mem=1025K", "4K"},
		{"run --mem=513G @hello", 125, "--mem=513G", "512G"},
		{"run --mem=99999999999999999999G @hello", 125, "--mem=9", NULL},
		{"run --mem=18014398509481984K @hello", 125, "--mem=1", NULL}, /* 2^64 bytes */
		{"run --mem=17179869185G @hello", 125, "--mem=1", NULL},       /* 2^64 bytes and 1 GiB */
		{"run --console= @hello", 125, "--console", NULL},
		{"run --console=tty @hello", 125, "--console=tty", NULL},
		{"run --console=file: @hello", 125, "--console=file:", NULL},
		{"run --count=0 @hello", 125, "--count=0", "4096"},
		{"run --count=5000 @hello", 125, "--count=5000", "4096"},
		{"run --count=abc @hello", 125, "--count=abc", NULL},
		{"run --count=-1 @hello", 125, "--count=-1", NULL},
		{"run --count=3x @hello", 125, "--count=3x", NULL},
		{"run --count= @hello", 125, "--count", NULL},
		{"run --count=18446744073709551617 @hello", 125, "--count=1", NULL}, /* 2^64 + 1 */
		{"run --timeout=0 @hello", 125, "--timeout=0", NULL},
		{"run --timeout=-1 @hello", 125, "--timeout=-1", NULL},
		{"run --timeout=nan @hello", 125, "--timeout=nan", NULL},
		{"run --timeout=inf @hello", 125, "--timeout=inf", NULL},
		{"run --timeout=1e99 @hello", 125, "--timeout=1e99", NULL},
		{"run --timeout=1s @hello", 125, "--timeout=1s", NULL},
		{"run --timeout= @hello", 125, "--timeout", NULL},
		{"run --hugepages=maybe @hello", 125, "--hugepages=maybe", NULL},
		{"run --scavenge= @hello", 125, "run: --scavenge=:", "stages="},
		{"run --scavenge=on @hello", 125, "--scavenge=on:", "stages="},
		{"run --scavenge=cpu @hello", 125, "--scavenge=cpu:", "stages="},
		{"run --scavenge=cpu=0 @hello", 125, "--scavenge=cpu=0:", "1 to 100"},
		{"run --scavenge=off,stages=none @hello", 125, "--scavenge=stages=none:", "zero, same, delta or compress"},
		{"run --scavenge=memory=1 @hello", 125, "--scavenge=memory=1:", "2G"},
		{"restore --scavenge=idle=0 x", 125, "restore: --scavenge=idle=0:", "1 to 3600000"},
		{"clone --scavenge=refaults=x x", 125, "clone: --scavenge=refaults=x:", "1 to 1000000"},
		{"run --share-group= @hello", 125, "--share-group=:", "names"},
		{"run --share-group=a,,b @hello", 125, "--share-group=a,,b:", "names"},
		{"clone --share-group=each,a x", 125, "clone: --share-group=each,a:", "each"},
		{"run --share-group", 125, "--share-group", "missing"},
		{"run --scavenge --disk x,remap @hello", 125, "--disk=x:", ",remap"},
		{"run --disk x,remap --share-group=each @hello", 125, "--disk=x:", "--share-group"},
		{"ctl socket pause --watch", 125, "--watch", "stats"},
		{"ctl socket stats --watch=0", 125, "ctl: --watch=0:", "1 to 3600000"},
		{"ctl missing stats --watch", 125, "missing", "No such file"},
		{"run --log=loud @hello", 125, "--log=loud", NULL},
		{"run --log= @hello", 125, "--log", NULL},
	};

	CHECK_LINES(lines);
}
END_TEST

/* Files as users hand them in by mistake. What is wrong inside an ELF file is the unit tests' (tests/unit/image.c). */
START_TEST(test_image_files)
{
	static const char *const names[] = {"empty", "text", "script", "fifo", "directory", "truncated", "head", "dangling",
					    "loop", NULL};
	static const struct bad_line lines[] = {
		{"run ", 127, "(empty name)", NULL},
		{"run missing", 127, "missing", "No such file"},
		{"run text/image", 127, "text/image", NULL},
		{"run dangling", 127, "dangling", "No such file"},
		{"run loop", 125, "loop", "symbolic"},
		{"run empty", 127, "empty", "empty"},
		{"run text", 127, "text", "not a guest image"},
		{"run script", 127, "script", "not a guest image"},
		{"run fifo", 127, "fifo", "FIFO"},
		{"run directory", 127, "directory", "directory"},
		{"run /dev/null", 127, "/dev/null", "device"},
		{"run truncated", 127, "truncated", NULL},
		{"run head", 127, "head", NULL},
		{"run /proc/self/exe", 127, "/proc/self/exe", NULL},
		{"run /proc/self/mem", 127, "/proc/self/mem", NULL},
		{"run --mem 1M @hello", 125, "hello", "--mem"},
		{"run --mem 64M --count 3 missing", 127, "missing", NULL},
	};
	char path[256];

	enter_directory(path, sizeof(path));
	make_file("empty", "", 0, 0644);
	make_file("text", "hello\n", 6, 0644);
	make_file("script", "#!/bin/sh\nexit 0\n", 17, 0755);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mkdir("directory", 0755), 0);
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	copy_image("guest/hello", "truncated", 4200);
	copy_image("guest/hello", "head", 4);
	CHECK_LINES(lines);
	leave_directory(path, names);
}
END_TEST

START_TEST(test_other_files)
{
	static const char *const names[] = {"empty", "fifo", "directory", "huge", NULL};
	static const struct bad_line lines[] = {
		{"run --initrd= @hello", 125, NULL, NULL},
		{"run --initrd=missing @hello", 125, "missing", "No such file"},
		{"run --initrd=directory @hello", 125, "directory", "regular file"},
		{"run --initrd=empty @hello", 125, "empty", "empty"},
		{"run --initrd=fifo @hello", 125, "fifo", "regular file"},
		{"run --initrd=/dev/zero @hello", 125, "/dev/zero", "regular file"},
		{"run --initrd=huge @hello", 125, "huge", "--mem"},
		{"run --count=3 --initrd=huge @hello", 125, "huge", "--mem"},
		{"run --console=file:/nonexistent/x @hello", 125, "/nonexistent/x", "No such file"},
		{"run --console=file:directory @hello", 125, "directory", "directory"},
	};
	char path[256];

	enter_directory(path, sizeof(path));
	make_file("empty", "", 0, 0644);
	make_file("huge", "x", 1, 0644);
	ck_assert_int_eq(truncate("huge", 1ll << 33), 0);
	ck_assert_int_eq(mkfifo("fifo", 0644), 0);
	ck_assert_int_eq(mkdir("directory", 0755), 0);
	CHECK_LINES(lines);
	leave_directory(path, names);
}
END_TEST

/* Statistics come last: the guest has run. The file itself is the only trace that may remain. */
START_TEST(test_stats_unwritable)
{
	static const struct bad_line lines[] = {
		{"run --console=none --stats=/nonexistent/x @hello", 125, "/nonexistent/x", "No such file"},
		{"run --console=none --stats=/ @hello", 125, "/", "directory"},
		{"run --console=none --stats=/dev/full @hello", 125, "/dev/full", "No space"},
		{"run --console=none --stats= @hello", 125, NULL, NULL},
	};

	CHECK_LINES(lines);
}
END_TEST

/* Files that the run is made of, under whatever name: nothing is lost, for nothing is opened. */
START_TEST(test_output_over_input)
{
	static const char *const names[] = {"image", "disk", "same", "link", "initrd", NULL};
	static const struct bad_line lines[] = {
		{"run --stats image image", 125, "image: --stats would overwrite it", "it is the image"},
		{"run --console file:image image", 125, "--console would overwrite it", "it is the image"},
		{"run --disk disk --stats same image", 125, "same: --stats", "--disk"},
		{"run --disk disk,ro --console file:link image", 125, "link: --console", "--disk"},
		{"run --initrd initrd --stats initrd image", 125, "initrd: --stats", "initrd"},
		{"run --module initrd --stats initrd image", 125, "initrd: --stats", "--module"},
		{"run --block:x=disk --stats disk image", 125, "disk: --stats", "--block"},
		{"run --stats same --console file:disk image", 125, "same: --stats", "--console"},
	};
	char path[256];
	struct stat st;

	enter_directory(path, sizeof(path));
	copy_image("guest/hello", "image", 1 << 20);
	make_file("disk", path, sizeof(path), 0600);
	make_file("initrd", path, sizeof(path), 0600);
	ck_assert_int_eq(link("disk", "same"), 0);
	ck_assert_int_eq(symlink("disk", "link"), 0);
	CHECK_LINES(lines);
	ck_assert_int_eq(stat("disk", &st), 0);
	ck_assert_int_eq(st.st_size, sizeof(path));
	ck_assert_int_eq(stat("initrd", &st), 0);
	ck_assert_int_eq(st.st_size, sizeof(path));
	leave_directory(path, names);
}
END_TEST

/* JSON can only have text: other bytes of a name are question marks there. */
START_TEST(test_names_that_are_no_text)
{
	static const char *const names[] = {"image\xff", "disk\x9b", "stats", NULL};
	const json_t *disk;
	char path[256];
	struct outcome o;
	json_t *stats;

	enter_directory(path, sizeof(path));
	copy_image("guest/hello", "image\xff", 1 << 20);
	make_file("disk\x9b", path, sizeof(path), 0600);
	ck_assert_int_eq(truncate("disk\x9b", 4096), 0);
	o = spawn_line("run --stats stats --disk disk\x9b image\xff", "");
	assert_outcome(&o, 0, "hello, world\n", "names that are no UTF-8");
	outcome_free(&o);
	stats = json_load_file("stats", 0, NULL);
	ck_assert_ptr_nonnull(stats);
	disk = json_array_get(json_object_get(stats, "disks"), 0);
	ck_assert_pstr_eq(json_string_value(json_object_get(stats, "image")), "image?");
	ck_assert_pstr_eq(json_string_value(json_object_get(disk, "path")), "disk?");
	json_decref(stats);
	leave_directory(path, names);
}
END_TEST

START_TEST(test_long_command_line)
{
	char line[40000] = "run @hello -- ";
	struct outcome o;

	memset(line + strlen(line), '7', 33000);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, "command line", NULL, "33,000 bytes of arguments");
	outcome_free(&o);
}
END_TEST

START_TEST(test_output_refused)
{
	static const struct {
		struct spawn how;
		const char *part;
	} cases[] = {
		{{.line = "run @hello", .stdout_path = "/dev/full"}, "No space"},
		{{.line = "run @hello", .stdout_broken = true}, "Broken pipe"},
		{{.line = "run --console=file:/dev/full @hello"}, "No space"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct outcome o = spawn(&cases[i].how, NULL, 0);

		assert_complaint(&o, 125, "console output", cases[i].part, cases[i].part);
		outcome_free(&o);
	}
}
END_TEST

/* What is printed without a guest. */
START_TEST(test_printing_refused)
{
	static const char *const lines[] = {"--help", "--version", "run --help", "ctl --usage", "inspect @hello", "inspect --json @hello",
					    "doctor", "compare --list"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn(&(struct spawn){.line = lines[i], .stdout_path = "/dev/full"}, NULL, 0);

		assert_complaint(&o, 125, "standard output", "No space", lines[i]);
		outcome_free(&o);
	}
}
END_TEST

static void close_stdout(void *arg)
{
	close(STDOUT_FILENO);
}

static void close_stderr(void *arg)
{
	close(STDERR_FILENO);
}

/* A descriptor 0, 1 or 2 that is closed must not become the image or /dev/kvm. */
START_TEST(test_closed_descriptors)
{
	struct outcome o = spawn(&(struct spawn){.line = "run @hello", .prepare = close_stdout}, "", 0);

	assert_complaint(&o, 125, "console output", "Bad file descriptor", "stdout closed");
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run missing", .prepare = close_stderr}, "", 0);
	assert_outcome(&o, 127, "", "stderr closed");
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run @hello", .in = SPAWN_CLOSED}, NULL, 0);
	assert_outcome(&o, 0, "hello, world\n", "stdin closed");
	outcome_free(&o);
	/* A guest that reads waits for ever: nobody can type. If it got the image as input, it would end or echo. */
	o = spawn(&(struct spawn){.line = "run --timeout 1 @echo", .in = SPAWN_CLOSED}, NULL, 0);
	assert_complaint(&o, 126, "timed out", NULL, "stdin closed, a guest that reads");
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_options, test_image_files, test_other_files, test_stats_unwritable, test_output_over_input,
		test_names_that_are_no_text,
		test_long_command_line, test_output_refused, test_printing_refused, test_closed_descriptors,
	};

	return RUN_TESTS("bad_input", tests);
}
