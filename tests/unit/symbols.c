/*
 * Names for addresses, against a linear search; and symbol tables that are damaged.
 */
#include "vmm/symbols.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/elf_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"

#define CODE 0xffffffff80000000ull /* where writer_good() has its segments, as the guest sees them */
#define CODE_SIZE 0x123ull
#define DATA 0xffffffff80001000ull
#define DATA_SIZE 0x3000ull

struct opened {
	struct memory_file file;
	struct image image;
	struct symbols symbols;
};

static uint8_t bytes[WRITER_FILE_SIZE];

static void open_bytes(struct opened *o)
{
	o->file = file_of(bytes, sizeof(bytes));
	ck_assert_int_eq(image_open(&o->image, o->file.path), 0);
	ck_assert_int_eq(symbols_read(&o->symbols, &o->image), 0);
}

static void open_with(struct opened *o, const struct writer_symbols *s)
{
	struct writer_elf e = writer_good();

	writer_sections(&e);
	writer_write(&e, bytes);
	writer_put_symbols(s, bytes);
	open_bytes(o);
}

static void close_opened(struct opened *o)
{
	symbols_free(&o->symbols);
	image_close(&o->image);
	close(o->file.fd);
}

static void expect(const struct opened *o, uint64_t gva, const char *text)
{
	char got[64];

	ck_assert_str_eq(symbols_describe(&o->symbols, gva, got, sizeof(got)), text);
}

static const struct writer_symbols few = {
	.symbol = {
		{ 0, 0, 0, 0, 0 },
		{ 1, 2, 1, CODE + 0x10, 0x20 },		/* start */
		{ 7, 0, 1, CODE + 0x40, 0 },		/* label, of no size */
		{ 13, 2, 0xfff1, CODE + 0x80, 4 },	/* absolute: a number, not a place */
		{ 13, 2, 0, CODE + 0x80, 4 },		/* undefined */
		{ 13, 2, 1, 0x1234, 4 },		/* in no segment */
		{ 0, 2, 1, CODE + 0x88, 4 },		/* no name */
		{ 500, 2, 1, CODE + 0x90, 4 },		/* a name outside the names */
		{ 13, 3, 1, CODE + 0x98, 4 },		/* a section, not a thing in it */
		{ 18, 1, 1, DATA + 8, 8 },		/* bad: with control characters */
	},
	.count = 10,
	.names = "\0start\0label\0none\0b\033[2Jd\n",
	.names_size = 26,
};

START_TEST(describes)
{
	struct opened o;

	open_with(&o, &few);
	ck_assert_uint_eq(o.symbols.functions, 1);
	ck_assert_uint_eq(o.symbols.count, 3);
	expect(&o, CODE + 0xf, "");
	expect(&o, CODE + 0x10, "start");
	expect(&o, CODE + 0x2f, "start+0x1f");
	expect(&o, CODE + 0x30, "");
	expect(&o, CODE + 0x40, "label");
	expect(&o, CODE + 0x122, "label+0xe2");
	expect(&o, CODE + 0x123, "");
	expect(&o, DATA, "");
	expect(&o, DATA + 8, "b?[2Jd?");
	expect(&o, DATA + 9, "b?[2Jd?+0x1");
	expect(&o, 0, "");
	expect(&o, UINT64_MAX, "");
	close_opened(&o);
}
END_TEST

START_TEST(cuts_long_names)
{
	struct writer_symbols s = {
		.symbol = { { 0 }, { 1, 2, 1, CODE, 0 } }, .count = 2, .names_size = sizeof(s.names),
	};
	struct opened o;
	char text[8];

	memset(s.names, 'x', sizeof(s.names) - 1);
	s.names[0] = '\0';
	open_with(&o, &s);
	ck_assert_str_eq(symbols_describe(&o.symbols, CODE, text, sizeof(text)), "xxxxxxx");
	ck_assert_str_eq(symbols_describe(&o.symbols, CODE, text, 1), "");
	close_opened(&o);
}
END_TEST

/* Damage to the three sections; each leaves the image bootable and without names. */
static const struct damage {
	unsigned int at, size;
	uint64_t value;
} damages[] = {
	{ 60, 2, 0xffff },				  /* more sections than the file has */
	{ 60, 2, 1 },					  /* only the first */
	{ WRITER_SECTIONS_OFFSET + 64 + 4, 4, 3 },	  /* no symbol table */
	{ WRITER_SECTIONS_OFFSET + 64 + 24, 8, 1 << 30 }, /* outside the file */
	{ WRITER_SECTIONS_OFFSET + 64 + 32, 8, UINT64_MAX - 8 },
	{ WRITER_SECTIONS_OFFSET + 64 + 32, 8, 0 },
	{ WRITER_SECTIONS_OFFSET + 64 + 40, 4, 77 },	   /* names in no section */
	{ WRITER_SECTIONS_OFFSET + 64 + 40, 4, 0 },
	{ WRITER_SECTIONS_OFFSET + 128 + 4, 4, 8 },	   /* names not in the file */
	{ WRITER_SECTIONS_OFFSET + 128 + 24, 8, 1 << 30 },
	{ WRITER_SECTIONS_OFFSET + 128 + 32, 8, 0 },
	{ WRITER_SECTIONS_OFFSET + 128 + 32, 8, 25 },	   /* the last name does not end */
	{ WRITER_SECTIONS_OFFSET + 128 + 32, 8, 1ull << 40 },
};

START_TEST(damaged)
{
	struct writer_elf e = writer_good();
	struct opened o;

	writer_sections(&e);
	writer_write(&e, bytes);
	writer_put_symbols(&few, bytes);
	writer_put(bytes + damages[_i].at, damages[_i].value, damages[_i].size);
	open_bytes(&o);
	ck_assert_uint_eq(o.symbols.count, 0);
	expect(&o, CODE + 0x10, "");
	close_opened(&o);
}
END_TEST

START_TEST(none)
{
	struct writer_elf e = writer_good();
	struct opened o;

	writer_write(&e, bytes);
	open_bytes(&o);
	ck_assert_uint_eq(o.symbols.count, 0);
	ck_assert_ptr_null(symbols_find(&o.symbols, CODE));
	close_opened(&o);
}
END_TEST

static bool in_code(uint64_t gva)
{
	return gva >= CODE && gva < CODE + CODE_SIZE;
}

static bool in_data(uint64_t gva)
{
	return gva >= DATA && gva < DATA + DATA_SIZE;
}

/* Oracle: the nearest symbol at or below gva, the largest of those at one place. */
static const struct writer_symbol *nearest(const struct writer_symbols *s, uint64_t gva)
{
	const struct writer_symbol *best = NULL;

	for (unsigned int i = 0; i < s->count; i++) {
		const struct writer_symbol *x = &s->symbol[i];

		if (x->value > gva || !(in_code(x->value) || in_data(x->value)))
			continue;
		if (!best || x->value > best->value || (x->value == best->value && x->size > best->size))
			best = x;
	}
	if (!best || (best->size && gva - best->value >= best->size))
		return NULL;
	return (in_code(gva) && in_code(best->value)) || (in_data(gva) && in_data(best->value)) ?
	       best : NULL;
}

START_TEST(nearest_agrees)
{
	struct random r = random_start("nearest_agrees");

	for (int round = 0; round < 200; round++) {
		struct writer_symbols s = { .names = "\0x", .names_size = 3 };
		struct opened o;

		s.count = (unsigned int)random_below(&r, WRITER_MAX_SYMBOLS + 1);
		for (unsigned int i = 0; i < s.count; i++)
			s.symbol[i] = (struct writer_symbol){
				1, 2, 1, CODE - 8 + random_below(&r, random_below(&r, 2) ? 0x140 : 0x5000),
				random_below(&r, 3) * random_below(&r, 20),
			};
		open_with(&o, &s);
		for (int i = 0; i < 500; i++) {
			uint64_t gva = CODE - 16 + random_below(&r, i % 2 ? 0x150 : 0x5000);
			const struct writer_symbol *want = nearest(&s, gva);
			const struct symbol *got = symbols_find(&o.symbols, gva);

			ck_assert_int_eq(!got, !want);
			ck_assert(!got || (got->gva == want->value && got->size == want->size));
		}
		close_opened(&o);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("symbols");

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, describes);
	tcase_add_test(tcase, cuts_long_names);
	tcase_add_loop_test(tcase, damaged, 0, sizeof(damages) / sizeof(damages[0]));
	tcase_add_test(tcase, none);
	tcase_add_test(tcase, nearest_agrees);
	return run_case("symbols", tcase);
}
