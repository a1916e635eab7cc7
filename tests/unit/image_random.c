/*
 * The image loader on random images, against the oracle of image_oracle.h.
 */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/elf_writer.h"
#include "tests/unit/image_oracle.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/open_files.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"
#include "vmm/mem.h"

#define RAM ((uint64_t)4 << 20)

static const uint64_t odd_values[] = {
	0, 1, 2, 3, 4, 7, 8, 28, 55, 56, 57, 63, 64, 0x120, 0x122, 0x123, 0x124, 0x455, 0x456,
	0x457, 0xffe, 0xfff, 0x1000, 0x1001, 0x2000, 0x2fff, 0x3000, 0x3001, 0x4000, 0xfffe,
	0xffff, 0x10000, 0x10001, 0xfd000, 0xfd001, 0x100000, 0x100122, 0x100123, 0x101000,
	0x104000, 0x3fffffff, 0x40000000, 0xbfffffff, 0xc0000000, 0xffffffff, 0x100000000,
	0x8040000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffff7fffffff,
	0xffffffff80000000, 0xffffffff80001000, 0xfffffffffffff000, 0xffffffffffffffff,
};

static uint64_t odd_value(struct random *r)
{
	uint64_t v = odd_values[random_below(r, sizeof(odd_values) / sizeof(odd_values[0]))];

	switch (random_below(r, 8)) {
	case 0: return random_next(r) >> random_below(r, 64);
	case 1: return v + random_below(r, 5) - 2;
	default: return v;
	}
}

static void mutate_segment(struct random *r, struct writer_elf *e)
{
	struct writer_segment *s = &e->segment[random_below(r, 6)];

	switch (random_below(r, 9)) {
	case 0: s->type = (uint32_t)random_below(r, 8); break;
	case 1: s->flags = (uint32_t)random_below(r, 8); break;
	case 2: s->offset = odd_value(r); break;
	case 3: s->vaddr = odd_value(r); break;
	case 4: s->paddr = odd_value(r); break;
	case 5: s->filesz = odd_value(r); break;
	case 6: s->memsz = odd_value(r); break;
	case 7: s->align = random_below(r, 3) * 4; break;
	case 8: *s = e->segment[random_below(r, 6)]; break;
	}
}

static void mutate_note(struct random *r, struct writer_elf *e)
{
	struct writer_note *n = &e->note[random_below(r, 3)];

	switch (random_below(r, 7)) {
	case 0: n->namesz = (uint32_t)odd_value(r); break;
	case 1: n->descsz = (uint32_t)odd_value(r); break;
	case 2: n->type = (uint32_t)random_below(r, 3); break;
	case 3: n->desc = (uint32_t)random_below(r, 3); break;
	case 4: n->name[random_below(r, 12)] ^= 1; break;
	case 5: *n = e->note[random_below(r, 3)]; break;
	case 6: e->note_count = 1 + (unsigned int)random_below(r, 3); break;
	}
}

static void mutate_header(struct random *r, struct writer_elf *e)
{
	switch (random_below(r, 14)) {
	case 0: e->magic[random_below(r, 4)] ^= 1; break;
	case 1: e->class = (uint8_t)random_below(r, 4); break;
	case 2: e->data = (uint8_t)random_below(r, 4); break;
	case 3: e->ident_version = (uint8_t)random_below(r, 3); break;
	case 4: e->type = (uint16_t)random_below(r, 6); break;
	case 5: e->machine = (uint16_t)odd_value(r); break;
	case 6: e->version = (uint32_t)random_below(r, 3); break;
	case 7: e->entry = odd_value(r); break;
	case 8: e->phoff = random_below(r, 2) ? odd_value(r) : 64 + 56 * random_below(r, 3); break;
	case 9: e->phentsize = (uint16_t)odd_value(r); break;
	case 10: e->phnum = (uint16_t)odd_value(r); break;
	case 11: e->shoff = odd_value(r); break;
	case 12: e->shnum = (uint16_t)odd_value(r); break;
	case 13: e->size = random_below(r, WRITER_FILE_SIZE + 1); break;
	}
}

/* A few changes, mostly where the subtle checks are. */
static struct writer_elf random_elf(struct random *r)
{
	struct writer_elf e = writer_good();

	e.phnum += (uint16_t)random_below(r, 4);
	for (uint64_t n = random_below(r, 5); n; n--) {
		uint64_t what = random_below(r, 20);

		if (what < 14)
			mutate_segment(r, &e);
		else if (what < 17)
			mutate_note(r, &e);
		else
			mutate_header(r, &e);
	}
	return e;
}

/* An image that both accept: the same entry, and the same RAM byte for byte. */
static void compare_loaded(const struct oracle *o, const struct image *im)
{
	static uint8_t expected[RAM];
	struct mem m;
	bool fits;
	int err;

	ck_assert_uint_eq(im->entry, o->entry);
	ck_assert_uint_eq(im->low, o->low);
	ck_assert_uint_eq(im->top, o->top);
	memset(expected, 0, sizeof(expected));
	fits = oracle_load(o, expected, RAM);
	ck_assert_int_eq(mem_create(&m, RAM, MEM_HUGE_NEVER), 0);
	err = image_load(im, &m);
	ck_assert_int_eq(err, fits ? 0 : -ENOSPC);
	if (fits)
		ck_assert_mem_eq(m.region[0].hva, expected, RAM);
	mem_destroy(&m);
}

START_TEST(oracle_agrees)
{
	struct random r = random_start("oracle_agrees");
	static uint8_t bytes[WRITER_FILE_SIZE];
	int fds = open_files(), accepted = 0;
	struct capture c;

	capture_begin(&c);
	for (int i = 0; i < 20000; i++) {
		struct writer_elf e = random_elf(&r);
		struct oracle o = { .file = bytes, .size = e.size };
		struct memory_file f = file_of_elf(&e);
		struct image_reason why;
		struct image im;
		int err;

		writer_write(&e, bytes);
		err = image_probe(&im, f.path, &why);
		ck_assert_msg((err == 0) == oracle_bootable(&o), "image %d: loader says %s", i,
			      err ? why.text : "good");
		ck_assert(!err || err == -ENOEXEC);
		if (!err) {
			if (accepted++ < 600)
				compare_loaded(&o, &im);
			image_close(&im);
		}
		close(f.fd);
	}
	capture_end(&c);
	printf("oracle_agrees: %d of 20000 accepted\n", accepted);
	/* Both answers must have been tried often, or the test says little. */
	ck_assert_int_ge(accepted, 2000);
	ck_assert_int_le(accepted, 18000);
	ck_assert_int_eq(open_files(), fds);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {oracle_agrees};

	return RUN_TESTS("image_random", tests);
}
