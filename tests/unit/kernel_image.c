/*
 * Kernels of a PC as image files: good ones of every format, headers that lie in every field, and random damage, against a
 * naive reader of the specifications.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/kernel_oracle.h"
#include "tests/unit/kernel_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"
#include "vmm/mem.h"

#define RAM ((uint64_t)4 << 20)
#define HIGH 0xffffffff80000000ull /* where kernels of 64 bits are linked */

enum { LINUX, FLAT, MULTIBOOT32, MULTIBOOT64, PVH32, PVH64, FORMATS };

static void write_format(struct kernel_file *f, int format)
{
	switch (format) {
	case LINUX: kernel_write_linux(f); break;
	case FLAT: kernel_write_flat(f); break;
	case MULTIBOOT32: kernel_write_multiboot(f, 1, 0xc0000000); break;
	case MULTIBOOT64: kernel_write_multiboot(f, 0, HIGH); break;
	case PVH32: kernel_write_pvh(f, 1, 0); break;
	default: kernel_write_pvh(f, 0, HIGH); break;
	}
}

static const struct {
	enum image_kind kind;
	bool enters_32;
	uint64_t entry, entry_gva, low, top;
} good[FORMATS] = {
	[LINUX] = {IMAGE_LINUX, false, 0x100200, 0x100200, 0x100000, 0x108000},
	[FLAT] = {IMAGE_MULTIBOOT, true, 0x100060, 0x100060, 0x100000, 0x102000},
	[MULTIBOOT32] = {IMAGE_MULTIBOOT, true, 0x100010, 0xc0100010, 0x100000, 0x203000},
	[MULTIBOOT64] = {IMAGE_MULTIBOOT, true, 0x100010, HIGH + 0x100010, 0x100000, 0x203000},
	[PVH32] = {IMAGE_PVH, true, 0x100020, 0x100020, 0x100000, 0x203000},
	[PVH64] = {IMAGE_PVH, true, 0x100020, HIGH + 0x100020, 0x100000, 0x203000},
};

START_TEST(test_good)
{
	static struct kernel_file k;
	struct memory_file f;
	struct image im;

	write_format(&k, _i);
	f = file_of(k.bytes, k.size);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	expect_eq(im.kind, good[_i].kind);
	expect_eq(im.enters_32, good[_i].enters_32);
	expect_eq(im.entry, good[_i].entry);
	expect_eq(im.entry_gva, good[_i].entry_gva);
	expect_eq(im.low, good[_i].low);
	expect_eq(im.top, good[_i].top);
	expect(image_is_pc(&im));
	expect_eq(image_ram_default(&im), 256 << 20);
	if (_i == LINUX) {
		expect_eq(im.initrd_max, 0x7fffffff);
		expect_eq(im.cmdline_max, 2047);
	}
	image_close(&im);
	close(f.fd);
}
END_TEST

/* Where the file's bytes go: format -> (gpa, offset, size). */
START_TEST(test_loads)
{
	static const struct { uint64_t gpa, offset, size; } pieces[FORMATS][2] = {
		[LINUX] = {{0x100000, 0x400, 0x3c00}},
		[FLAT] = {{0x100000, 0x100, 0x1000}},
		[MULTIBOOT32] = {{0x100000, 0x1000, 0x800}, {0x200000, 0x2000, 0x123}},
		[MULTIBOOT64] = {{0x100000, 0x1000, 0x800}, {0x200000, 0x2000, 0x123}},
		[PVH32] = {{0x100000, 0x1000, 0x800}, {0x200000, 0x2000, 0x123}},
		[PVH64] = {{0x100000, 0x1000, 0x800}, {0x200000, 0x2000, 0x123}},
	};
	static struct kernel_file k;
	static uint8_t expected[RAM];
	struct memory_file f;
	struct image im;
	struct mem m;

	write_format(&k, _i);
	f = file_of(k.bytes, k.size);
	memset(expected, 0, sizeof(expected));
	for (int i = 0; i < 2; i++)
		memcpy(expected + pieces[_i][i].gpa, k.bytes + pieces[_i][i].offset, pieces[_i][i].size);
	ck_assert_int_eq(mem_create(&m, RAM, MEM_HUGE_NEVER), 0);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_int_eq(image_load(&im, &m), 0);
	ck_assert_mem_eq(m.region[0].hva, expected, RAM);
	mem_destroy(&m);
	image_close(&im);
	close(f.fd);
}
END_TEST

struct lie {
	int format;
	uint64_t at, value;
	unsigned int bytes; /* 0: the file is cut to `value` */
	const char *says;
};

static const struct lie lies[] = {
	{LINUX, 0, 0x263, 0, "truncated"},
	{LINUX, 0, 0x206, 0, "truncated"},
	{LINUX, 0, 0x3ff0, 0, "truncated: the kernel is bytes 0x400 + 0x3c00 of a file of 0x3ff0"},
	{LINUX, 0x1f1, 0x40, 1, "truncated: the kernel"},
	{LINUX, 0x1f4, 0xffffffff, 4, "truncated: the kernel"},
	{LINUX, 0x1f4, 0, 4, "no code"},
	{LINUX, 0x1f4, 0x20, 4, "no code"},
	{LINUX, 0x1fe, 0x55aa, 2, "no 0xaa55"},
	{LINUX, 0x201, 0x10, 1, "shorter than its version"},
	{LINUX, 0x206, 0x209, 2, "boot protocol 2.09: too old"},
	{LINUX, 0x206, 0x0001, 2, "boot protocol 0.01: too old"},
	{LINUX, 0x211, 0, 1, "zImage"},
	{LINUX, 0x258, 0, 8, "no place above 1 MiB"},
	{LINUX, 0x258, 0xfffff, 8, "no place above 1 MiB"},
	{LINUX, 0x258, 0x100001, 8, "no place above 1 MiB"},
	{LINUX, 0x258, 0x3fff9000, 8, "beyond the first GiB"},
	{LINUX, 0x258, 0xfffffffffffffff0, 8, "beyond the first GiB"},
	{LINUX, 0x260, 0x3bff, 4, "need only 0x3bff"},
	{LINUX, 0x260, 0xffffffff, 4, "beyond the first GiB"},
	{FLAT, 0, 0x1000, 0, "truncated: it is bytes 0x100 + 0x1000 of a file of 0x1000"},
	{FLAT, 0, 0x150, 0, "damaged header"},
	{FLAT, 0x14c, 0xfffff, 4, "damaged header"},
	{FLAT, 0x14c, 0x100141, 4, "damaged header"},
	{FLAT, 0x150, 0x100041, 4, "damaged header"},
	{FLAT, 0x154, 0x100000, 4, "loaded from 0x100000 to 0x100000"},
	{FLAT, 0x154, 1, 4, "loaded from"},
	{FLAT, 0x154, 0xfffffff0, 4, "truncated"},
	{FLAT, 0x158, 0xffffffff, 4, "device hole"},
	{FLAT, 0x158, 0xc0000001, 4, "device hole"},
	{FLAT, 0x15c, 0, 4, "entry point 0x0 outside"},
	{FLAT, 0x15c, 0x101000, 4, "outside"},
	{MULTIBOOT32, 24, 0x300000, 4, "entry point 0x300000 is outside"},
	{MULTIBOOT32, 24, 0, 4, "outside"},
	{MULTIBOOT32, 18, 62, 2, "a 32-bit ELF file, not 64-bit"},
	{MULTIBOOT32, 28, 0xfffffff0, 4, "truncated: the program headers"},
	{MULTIBOOT32, 42, 56, 2, "program headers of 56 bytes instead of 32"},
	{MULTIBOOT32, 44, 0xfff0, 2, "truncated: the program headers"},
	{MULTIBOOT32, 16, 3, 2, "position-independent"},
	{MULTIBOOT32, 0x1008, 0, 4, "a kernel for Xen, not a guest image"},
	{MULTIBOOT32, 64 + 4, 0xffffff00, 4, "truncated: a segment"},
	{MULTIBOOT32, 64 + 12, 0xf000, 4, "below 0x10000"},
	{MULTIBOOT32, 64 + 12, 0x200000, 4, "segments overlap"},
	{MULTIBOOT32, 64 + 12, 0xbffff900, 4, "device hole"},
	{MULTIBOOT32, 64 + 16, 0xffffffff, 4, "more bytes in the file"},
	{MULTIBOOT32, 0, 51, 0, "truncated: 51 bytes"},
	{MULTIBOOT64, 24, 0x300000, 8, "outside"},
	{MULTIBOOT64, 0, 63, 0, "truncated: 63 bytes"},
	{PVH32, 0x810, 0x300000, 4, "outside"},
	{PVH32, 0x804, 3, 4, "damaged PVH note of 3 bytes"},
	{PVH32, 0x804, 0xffffffff, 4, "without a multiboot header or PVH note"},
	{PVH64, 0x804, 16, 4, "Penumbra note"},
	{PVH64, 0x810, 0, 4, "outside"},
	{PVH64, 64 + 2 * 56 + 8, 0xfffffffffffffff0, 8, "truncated: its notes"},
	{PVH64, 64 + 2 * 56 + 32, 0x100000, 8, "truncated: its notes"},
};

START_TEST(test_lies)
{
	const struct lie *lie = &lies[_i];
	static struct kernel_file k;
	struct image_reason why;
	struct memory_file f;
	struct image im;

	write_format(&k, lie->format);
	if (lie->bytes)
		kernel_put(&k, lie->at, lie->value, lie->bytes);
	else
		k.size = lie->value;
	f = file_of(k.bytes, k.size);
	ck_assert_msg(image_probe(&im, f.path, &why) == -ENOEXEC, "%s: taken", lie->says);
	ck_assert_msg(strstr(why.text, lie->says), "'%s' is not in '%s'", lie->says, why.text);
	close(f.fd);
}
END_TEST

/* Flags 3 to 15 ask for what must be there; those above 16 are for who knows them. */
START_TEST(test_multiboot_flags)
{
	static struct kernel_file k;

	for (unsigned int bit = 0; bit < 32; bit++) {
		struct image_reason why;
		struct memory_file f;
		struct image im;
		int r;

		if (bit == 16)
			continue;
		kernel_write_multiboot(&k, 1, 0);
		kernel_put_header(&k, 0x1004, 1u << bit);
		f = file_of(k.bytes, k.size);
		r = image_probe(&im, f.path, &why);
		expect_msg((r == 0) == (bit < 3 || bit > 16), "flag %u: %d", bit, r);
		if (r == 0)
			image_close(&im);
		close(f.fd);
	}
}
END_TEST

/* The last place where a header is looked for, and one beyond. */
START_TEST(test_multiboot_header_places)
{
	static struct kernel_file k;
	static const struct { uint64_t at; bool found; } places[] = {{8192 - 12, true}, {8192 - 8, false}, {0x1001, false}, {0x1ffc, false}};

	for (unsigned int i = 0; i < 4; i++) {
		struct image_reason why;
		struct memory_file f;
		struct image im;

		kernel_write_elf(&k, 1, 0);
		kernel_put_header(&k, places[i].at, 3);
		f = file_of(k.bytes, k.size);
		expect_eq(image_probe(&im, f.path, &why) == 0, places[i].found);
		if (places[i].found)
			image_close(&im);
		close(f.fd);
	}
}
END_TEST

static void damage(struct random *r, struct kernel_file *k)
{
	static const uint64_t odd[] = {0, 1, 4, 0x10, 0x200, 0x800, 0x1000, 0x10000, 0x100000, 0x101000, 0x1fffff, 0x200000, 0x40000000,
				       0xbfffffff, 0xc0000000, 0xffffffff, 0x100000000, 0x8000000000000000, UINT64_MAX};
	static const uint64_t parts[][2] = {{0, 64}, {64, 168}, {0x140, 32}, {0x1f1, 0x80}, {0x800, 24}, {0x1004, 12}};
	uint64_t part = random_below(r, 6), bytes = 1u << random_below(r, 4), value = odd[random_below(r, 19)];
	uint64_t at = parts[part][0] + random_below(r, parts[part][1]);

	at -= random_below(r, 4) ? at % bytes : 0;
	switch (random_below(r, 12)) {
	case 0: k->bytes[at] ^= (uint8_t)(1u << random_below(r, 8)); break;
	case 1: k->size = random_below(r, KERNEL_FILE_SIZE) + 1; break;
	case 2: kernel_put_header(k, random_below(r, 2100) * 4, (uint32_t)(odd[random_below(r, 19)] ^ random_below(r, 8))); break;
	default: kernel_put(k, at, value + random_below(r, 3) - 1, (unsigned int)bytes); break;
	}
}

static enum kernel_format found_format(const struct image *im, const struct kernel_file *k)
{
	if (im->kind == IMAGE_LINUX)
		return KERNEL_LINUX;
	if (im->kind == IMAGE_PVH)
		return KERNEL_ELF_PVH;
	return im->segment_count == 1 && memcmp(k->bytes, "\177ELF", 4) ? KERNEL_FLAT : KERNEL_ELF_MULTIBOOT;
}

static bool compare(const struct kernel_file *k, unsigned int round)
{
	struct kernel_oracle o = {.file = k->bytes, .size = k->size};
	enum kernel_format wanted = kernel_format_of(&o), found;
	struct memory_file f = file_of(k->bytes, k->size);
	struct image_reason why = {""};
	struct image im;
	bool taken = image_probe(&im, f.path, &why) == 0;

	close(f.fd);
	expect_msg(taken == (wanted != KERNEL_NONE), "round %u: format %d, loader %d '%s'", round, wanted, taken, why.text);
	if (!taken)
		return false;
	found = found_format(&im, k);
	/* A flat kernel may begin as an ELF file. */
	expect(found == wanted || (wanted == KERNEL_FLAT && im.kind == IMAGE_MULTIBOOT));
	expect_eq(im.entry, (uint64_t)o.entry);
	expect_eq(im.low, (uint64_t)o.low);
	expect_eq(im.top, (uint64_t)o.top);
	expect_eq(im.enters_32, o.enters_32);
	image_close(&im);
	return true;
}

START_TEST(test_oracle_agrees)
{
	struct random r = random_start("kernel images");
	static struct kernel_file k;
	unsigned int accepted = 0;

	for (unsigned int i = 0; i < 30000; i++) {
		write_format(&k, (int)random_below(&r, FORMATS));
		for (uint64_t n = random_below(&r, 4); n; n--)
			damage(&r, &k);
		accepted += compare(&k, i);
	}
	printf("oracle_agrees: %u of 30000 accepted\n", accepted);
	ck_assert_uint_gt(accepted, 10000);
	ck_assert_uint_lt(accepted, 25000);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("kernel_image");

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, test_good, 0, FORMATS);
	tcase_add_loop_test(tcase, test_loads, 0, FORMATS);
	tcase_add_loop_test(tcase, test_lies, 0, sizeof(lies) / sizeof(*lies));
	tcase_add_test(tcase, test_multiboot_flags);
	tcase_add_test(tcase, test_multiboot_header_places);
	tcase_add_test(tcase, test_oracle_agrees);
	return run_case("kernel_image", tcase);
}
