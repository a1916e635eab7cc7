/*
 * The image loader: every refusal by name, and what it does to RAM. Random images are image_random.c's.
 */
#include "vmm/image.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/broken_images.h"
#include "tests/unit/capture.h"
#include "tests/unit/elf_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/open_files.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define RAM ((uint64_t)4 << 20)

/* Opens what must be refused with `err`, in one line that names `path` and says `part`. */
static void refuse(const char *path, int err, const char *part)
{
	struct capture c;
	struct image im;
	int fds = open_files(), got;

	capture_begin(&c);
	got = image_open(&im, path);
	assert_one_line(capture_end(&c), part);
	ck_assert_int_eq(got, -err);
	ck_assert_msg(strstr(c.text, path), "'%s' does not name '%s'", c.text, path);
	ck_assert_int_eq(open_files(), fds);
}

START_TEST(good)
{
	struct writer_elf e = writer_good();
	struct memory_file f = file_of_elf(&e);
	int fds = open_files();
	struct image im;

	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_str_eq(im.path, f.path);
	ck_assert_uint_eq(im.entry, 0x100010);
	ck_assert_uint_eq(im.entry_gva, 0xffffffff80000010);
	ck_assert_uint_eq(im.low, 0x100000);
	ck_assert_uint_eq(im.top, 0x104000);
	ck_assert_uint_eq(im.segment_count, 2);
	ck_assert_uint_eq(im.segment[1].size, 0x3000);
	ck_assert_uint_eq(im.segment[1].gva, 0xffffffff80001000);
	ck_assert_uint_eq(im.abi_version, 1);
	ck_assert_uint_eq(image_ram_needed(&im), 2 << 20);
	image_close(&im);
	ck_assert_int_eq(open_files(), fds);
	close(f.fd);
}
END_TEST

/* What is just inside each limit, so that no check is stricter than it says. */
START_TEST(just_good)
{
	static const uint64_t places[] = {
		0x10000, 0xbfffd000, 0x100000000, 0x8040000000 - 0x3000,
	};
	struct writer_elf e = writer_good();
	struct memory_file f;
	struct image im;

	e.segment[1].paddr = places[_i];
	e.segment[1].vaddr = -e.segment[1].memsz;
	e.segment[1].offset = WRITER_FILE_SIZE - e.segment[1].filesz;
	e.segment[0].paddr = 0x40000000 - 0x123;
	e.entry = 0xffffffff80000122;
	f = file_of_elf(&e);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_uint_eq(im.entry, 0x3fffffff);
	ck_assert_uint_eq(image_ram_needed(&im) % (1 << 20), 0);
	ck_assert_uint_eq(image_ram_needed(&im), _i == 3 ? MEM_MAX_BYTES :
						 _i == 2 ? 0xc0100000 :
						 _i == 1 ? 0xc0000000 : 0x40000000);
	image_close(&im);
	close(f.fd);
}
END_TEST

START_TEST(broken)
{
	struct writer_elf e = writer_good();
	struct memory_file f;

	broken_images[_i].damage(&e);
	f = file_of_elf(&e);
	refuse(f.path, ENOEXEC, broken_images[_i].says);
	close(f.fd);
}
END_TEST

START_TEST(neighbours_touch)
{
	struct writer_elf e = writer_good();
	struct memory_file f;
	struct image im;

	e.segment[1].paddr = 0x100123;
	f = file_of_elf(&e);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	image_close(&im);
	close(f.fd);
}
END_TEST

START_TEST(as_many_as_allowed)
{
	struct writer_elf e = writer_good();
	struct memory_file f;
	struct image im;

	for (unsigned int i = 3; i < 33; i++) {
		e.segment[i] = e.segment[0];
		e.segment[i].vaddr = 0;
		e.segment[i].paddr = 0x300000 - i * 0x1000;
	}
	e.phnum = 33;
	f = file_of_elf(&e);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_uint_eq(im.segment_count, IMAGE_MAX_SEGMENTS);
	for (unsigned int i = 1; i < im.segment_count; i++)
		ck_assert_uint_lt(im.segment[i - 1].gpa, im.segment[i].gpa);
	image_close(&im);
	close(f.fd);
}
END_TEST

static const struct {
	const char *bytes;
	size_t size, pad; /* bytes stand at offset pad, behind what is no text */
	const char *says;
} other_files[] = {
	{ "#!/bin/sh\necho\n", 15, 0, "a script" },
	{ "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8, 0, "a gzip file; unpack it first" },
	{ "\x28\xb5\x2f\xfd\x04\x58", 6, 0, "a zstd file" },
	{ "HdrS", 4, 0x202, "a Linux kernel (bzImage)" },
	{ "MZ\x90\x00", 4, 0, "a Windows or UEFI program" },
	{ "!<arch>\n", 8, 0, "a static library" },
	{ "070701000", 9, 0, "a cpio archive" },
	{ "hello, world\n", 13, 0, "a text file" },
	{ "\0\0\0\0", 4, 0, "nothing but zeros" },
	{ "\1\2\3", 3, 0, "data" },
	{ "\177EL", 3, 0, "data" },
	{ "", 0, 0, "empty file" },
};

START_TEST(other_file)
{
	char bytes[1200];
	struct memory_file f;

	memset(bytes, 0x01, sizeof(bytes));
	memcpy(bytes + other_files[_i].pad, other_files[_i].bytes, other_files[_i].size);
	f = file_of(bytes, other_files[_i].pad + other_files[_i].size);
	refuse(f.path, ENOEXEC, other_files[_i].says);
	close(f.fd);
}
END_TEST

/* The names of a directory of its own, removed with what it may hold. */
struct place {
	char dir[64], file[80], link[80];
};

static struct place place_make(void)
{
	const char *parent = getenv("TMPDIR");
	struct place p;

	snprintf(p.dir, sizeof(p.dir), "%s/image-XXXXXX", parent ? parent : P_tmpdir);
	ck_assert_ptr_nonnull(mkdtemp(p.dir));
	ck_assert_int_eq(chmod(p.dir, 0755), 0);
	snprintf(p.file, sizeof(p.file), "%s/file", p.dir);
	snprintf(p.link, sizeof(p.link), "%s/link", p.dir);
	return p;
}

static void place_remove(const struct place *p)
{
	unlink(p->file);
	unlink(p->link);
	ck_assert_int_eq(rmdir(p->dir), 0);
}

START_TEST(no_regular_file)
{
	struct place p = place_make();
	char below[100];

	refuse(p.file, ENOENT, "No such file");
	refuse(p.dir, ENOEXEC, "a directory");
	refuse("/dev/null", ENOEXEC, "a character device");
	ck_assert_int_eq(symlink("link", p.link), 0);
	refuse(p.link, ELOOP, "symbolic links");
	/* Without a writer, opening this for reading would wait for one. */
	ck_assert_int_eq(mkfifo(p.file, 0600), 0);
	refuse(p.file, ENOEXEC, "a FIFO");
	unlink(p.file);
	close(open(p.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	snprintf(below, sizeof(below), "%s/below", p.file);
	refuse(below, ENOENT, "Not a directory");
	refuse(p.file, ENOEXEC, "empty file");
	refuse("", ENOENT, "(empty name)");
	place_remove(&p);
}
END_TEST

START_TEST(no_permission)
{
	struct place p = place_make();
	int fd = open(p.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0000);

	ck_assert_int_eq((int)write(fd, "x", 1), 1);
	close(fd);
	/* Root may read everything, so the test has to be somebody else. */
	if (!geteuid())
		ck_assert_int_eq(seteuid(65534), 0);
	refuse(p.file, EACCES, "Permission denied");
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	place_remove(&p);
}
END_TEST

/* A name with a line feed in it must not forge a second line. */
START_TEST(hostile_name)
{
	struct capture c;
	struct image im;

	capture_begin(&c);
	ck_assert_int_eq(image_open(&im, "no\npenumbra: such\033[2J"), -ENOENT);
	assert_one_line(capture_end(&c), "No such file");
	ck_assert_ptr_null(strchr(c.text, '\033'));
}
END_TEST

/* More sections than memory, in a file that takes no room: refused before anything is allocated. */
START_TEST(sparse_sections)
{
	struct writer_elf e = writer_good();
	struct memory_file f;

	e.shoff = 0x3000;
	f = file_of_elf(&e);
	ck_assert_int_eq(ftruncate(f.fd, (off_t)1 << 40), 0);
	ck_assert_int_eq((int)pwrite(f.fd, "\xff\xff\xff\xff\0\0\0\0", 8, 0x3020), 8);
	refuse(f.path, ENOEXEC, "section table");
	close(f.fd);
}
END_TEST

static void create_ram(struct mem *m, uint64_t size)
{
	ck_assert_int_eq(mem_create(m, size, MEM_HUGE_NEVER), 0);
}

START_TEST(ram_too_small)
{
	struct writer_elf e = writer_good();
	struct memory_file f = file_of_elf(&e);
	struct capture c;
	struct image im;
	struct mem m;

	create_ram(&m, 1 << 20);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	capture_begin(&c);
	ck_assert_int_eq(image_load(&im, &m), -ENOSPC);
	assert_one_line(capture_end(&c), "at least --mem 2M");
	mem_destroy(&m);
	create_ram(&m, image_ram_needed(&im));
	ck_assert_int_eq(image_load(&im, &m), 0);
	mem_destroy(&m);
	image_close(&im);
	close(f.fd);
}
END_TEST

/* The file's bytes would fit, the zeros behind them do not. */
START_TEST(ram_too_small_for_zeros)
{
	struct writer_elf e = writer_good();
	struct memory_file f;
	struct capture c;
	struct image im;
	struct mem m;

	e.segment[0].paddr = 0x80000;
	e.segment[1].paddr = 0xff000;
	f = file_of_elf(&e);
	create_ram(&m, 1 << 20);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	capture_begin(&c);
	ck_assert_int_eq(image_load(&im, &m), -ENOSPC);
	assert_one_line(capture_end(&c), "at least --mem 2M");
	mem_destroy(&m);
	image_close(&im);
	close(f.fd);
}
END_TEST

struct pages {
	struct mem_listener listener;
	uint64_t sum; /* of the gpa of all dirtied pages */
};

static void add_pages(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct pages *p = (struct pages *)l;

	for (; size; gpa += PAGE_SIZE, size -= PAGE_SIZE)
		p->sum += gpa;
}

START_TEST(dirties_what_it_writes)
{
	struct writer_elf e = writer_good();
	struct memory_file f = file_of_elf(&e);
	struct pages pages = { .listener.dirtied = add_pages };
	struct image im;
	struct mem m;

	create_ram(&m, RAM);
	mem_listen(&m, &pages.listener);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_int_eq(image_load(&im, &m), 0);
	ck_assert_uint_eq(pages.sum, 0x100000 + 0x101000);
	mem_destroy(&m);
	image_close(&im);
	close(f.fd);
}
END_TEST

START_TEST(shrinks)
{
	struct writer_elf e = writer_good();
	struct memory_file f = file_of_elf(&e);
	struct capture c;
	struct image im;
	struct mem m;

	create_ram(&m, RAM);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_int_eq(ftruncate(f.fd, 0x2300), 0);
	capture_begin(&c);
	ck_assert_int_eq(image_load(&im, &m), -ENOEXEC);
	assert_one_line(capture_end(&c), "shrank");
	mem_destroy(&m);
	image_close(&im);
	close(f.fd);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("image");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, good);
	tcase_add_loop_test(tcase, just_good, 0, 4);
	tcase_add_loop_test(tcase, broken, 0, BROKEN_IMAGES);
	tcase_add_test(tcase, neighbours_touch);
	tcase_add_test(tcase, as_many_as_allowed);
	tcase_add_loop_test(tcase, other_file, 0, sizeof(other_files) / sizeof(other_files[0]));
	tcase_add_test(tcase, no_regular_file);
	tcase_add_test(tcase, no_permission);
	tcase_add_test(tcase, hostile_name);
	tcase_add_test(tcase, sparse_sections);
	tcase_add_test(tcase, ram_too_small);
	tcase_add_test(tcase, ram_too_small_for_zeros);
	tcase_add_test(tcase, dirties_what_it_writes);
	tcase_add_test(tcase, shrinks);
	return run_case("image", tcase);
}
