/*
 * Chains: a full snapshot and increments on it, each compressed or not, give the RAM of the last moment; a chain of which a part
 * is missing, is another's, or was made anew gives nothing.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/checkpoints.h"
#include "snapshot/image_reader.h"
#include "snapshot/image_writer.h"
#include "snapshot/lazy_ram.h"
#include "snapshot/reason.h"
#include "tests/unit/random.h"
#include "tests/unit/snapshot_sample.h"
#include "tests/vm/effort.h"
#include "vmm/mem.h"

#define PARTS 6u

struct chain {
	struct random random;
	char *directory;
	uint8_t *ram; /* as the last part has it */
	struct capture part[PARTS];
};

/* What the next part changes: some of its pages become zero. */
static void apply(struct chain *c, const struct capture *part)
{
	for (size_t i = 0; i < part->ram.ranges; i++) {
		const struct ram_range *range = &part->ram.range[i];

		memcpy(c->ram + range->gpa, part->ram.bytes + range->at, range->size);
	}
}

static void write_part(struct chain *c, struct capture *part, const char *name)
{
	struct image_written w;
	struct reason why = {0};
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", c->directory, name);
	ck_assert_msg(image_write(part, path, &w, &why) == 0, "%s", why.text);
}

static void make_part(struct chain *c, unsigned int n)
{
	struct capture *part = &c->part[n];
	char name[CHECKPOINT_NAME];

	sample_make(part, &c->random);
	part->sn.compressed = random_below(&c->random, 2);
	if (n) {
		part->sn.incremental = true;
		part->sn.parent = c->part[n - 1].sn.id;
		part->sn.parent_checksum = c->part[n - 1].sn.checksum;
		part->sn.parent_path = strdup(checkpoint_name(n, name));
	}
	apply(c, part);
	write_part(c, part, checkpoint_name(n + 1, name));
}

static void make_chain(struct chain *c)
{
	*c = (struct chain){.random = random_start("snapshot_chain"), .directory = sample_directory(), .ram = calloc(1, SAMPLE_RAM)};
	for (unsigned int n = 0; n < PARTS; n++)
		make_part(c, n);
}

static void drop_chain(struct chain *c)
{
	for (unsigned int n = 0; n < PARTS; n++)
		capture_free(&c->part[n]);
	sample_remove(c->directory);
	free(c->ram);
}

struct flat_sink {
	struct image_sink sink;
	uint8_t *ram;
};

static uint8_t *place(struct image_sink *sink, uint64_t gpa, uint64_t size)
{
	return ((struct flat_sink *)sink)->ram + gpa;
}

static int read_last(const struct chain *c, uint8_t *ram, struct reason *why)
{
	struct flat_sink to = {.sink.place = place, .ram = ram};
	struct image_reader r;
	char path[100];
	int err;

	snprintf(path, sizeof(path), "%s/%08u", c->directory, PARTS);
	err = image_reader_open(&r, path, why);
	if (err < 0)
		return err;
	ck_assert(image_reader_root(&r)->fd[FILE_IMAGE] >= 0);
	ck_assert(sample_same(&r.sn, &c->part[PARTS - 1].sn));
	err = image_reader_load(&r, &to.sink, why);
	ck_assert_int_eq(image_reader_check(&r, &(struct reason){0}), err);
	image_reader_close(&r);
	return err;
}

static void assert_refused(const struct chain *c, const char *part)
{
	uint8_t *ram = calloc(1, SAMPLE_RAM);
	struct reason why = {0};

	ck_assert_int_lt(read_last(c, ram, &why), 0);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
	free(ram);
}

static void run_in(const struct chain *c, const char *command)
{
	char line[300];

	snprintf(line, sizeof(line), "cd %s && %s", c->directory, command);
	ck_assert_int_eq(system(line), 0);
}

START_TEST(adds_up)
{
	uint8_t *ram = calloc(1, SAMPLE_RAM);
	struct reason why = {0};
	struct chain c;

	make_chain(&c);
	ck_assert_msg(read_last(&c, ram, &why) == 0, "%s", why.text);
	ck_assert(!memcmp(ram, c.ram, SAMPLE_RAM));
	run_in(&c, "mkdir moved && mv 0* moved && mv moved/* . && rmdir moved");
	memset(ram, 0, SAMPLE_RAM);
	ck_assert_msg(read_last(&c, ram, &why) == 0, "%s", why.text);
	free(ram);
	drop_chain(&c);
}
END_TEST

START_TEST(broken)
{
	struct chain c;
	struct capture again;

	make_chain(&c);
	run_in(&c, "mv 00000003 away");
	assert_refused(&c, "No such file");
	run_in(&c, "cp -r 00000002 00000003");
	assert_refused(&c, "not the snapshot");
	run_in(&c, "rm -r 00000003 && mv away 00000003 && mv 00000001 away && cp -r 00000004 00000001");
	assert_refused(&c, "not the snapshot");
	run_in(&c, "rm -r 00000001 && ln -s 00000006 00000001");
	assert_refused(&c, "not the snapshot"); /* a loop would be one of an identity that is not the parent's */
	run_in(&c, "rm 00000001 && mv away 00000001 && mv 00000004 away");
	/* The same identity, with other contents and right checksums. */
	sample_make(&again, &c.random);
	again.sn.id = c.part[3].sn.id;
	write_part(&c, &again, "00000004");
	capture_free(&again);
	assert_refused(&c, "was changed");
	run_in(&c, "rm -r 00000004 && mv away 00000004");
	run_in(&c, "printf x | dd of=00000002/memory bs=1 seek=12345 conv=notrunc 2>/dev/null");
	assert_refused(&c, "00000002/memory");
	run_in(&c, "rm -r 00000002");
	assert_refused(&c, "No such file");
	drop_chain(&c);
}
END_TEST

struct lazily {
	struct chain chain;
	struct image_reader reader;
	struct lazy_ram lazy;
};

static void open_lazily(struct lazily *l)
{
	struct reason why = {0};
	char path[100];

	make_chain(&l->chain);
	snprintf(path, sizeof(path), "%s/%08u", l->chain.directory, PARTS);
	ck_assert_msg(image_reader_open(&l->reader, path, &why) == 0, "%s", why.text);
	ck_assert_msg(lazy_ram_open(&l->lazy, &l->reader, &why) == 0, "%s", why.text);
}

static void close_lazily(struct lazily *l)
{
	lazy_ram_close(&l->lazy);
	image_reader_close(&l->reader);
	drop_chain(&l->chain);
}

/* Returns how many pages came, which are right; or what the pager returned instead. */
static int fetch(struct lazily *l, uint64_t gpa, unsigned int pages)
{
	static const uint8_t zero[PAGE_SIZE];
	static uint8_t buffer[64 * PAGE_SIZE];
	const void *bytes = buffer + 1;
	int n = l->lazy.pager.fetch(&l->lazy.pager, gpa, pages, buffer, &bytes);

	for (int i = 0; i < n; i++) {
		const uint8_t *page = bytes ? (const uint8_t *)bytes + (size_t)i * PAGE_SIZE : zero;

		ck_assert(!memcmp(page, l->chain.ram + gpa + (uint64_t)i * PAGE_SIZE, PAGE_SIZE));
	}
	ck_assert_int_le(n, (int)pages);
	return n;
}

/* Page by page and by several, in any order. */
START_TEST(by_pages)
{
	struct lazily l;

	open_lazily(&l);
	for (uint64_t gpa = 0; gpa < SAMPLE_RAM; gpa += PAGE_SIZE)
		ck_assert_int_eq(fetch(&l, gpa, 1), 1);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t gpa = random_below(&l.chain.random, SAMPLE_RAM / PAGE_SIZE) * PAGE_SIZE, most = (SAMPLE_RAM - gpa) / PAGE_SIZE;

		ck_assert_int_ge(fetch(&l, gpa, 1 + (unsigned int)random_below(&l.chain.random, most < 64 ? most : 64)), 1);
	}
	close_lazily(&l);
}
END_TEST

static void flip_bit(const struct image_reader *part, uint64_t at)
{
	char path[150];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/memory", part->path);
	fd = open(path, O_RDWR);
	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

/* A page that is damaged is refused, and no other is. */
START_TEST(damaged_page)
{
	struct lazily l;

	open_lazily(&l);
	for (unsigned int i = 0; i < 200; i++) {
		const struct extent *x = &l.lazy.extents.extent[random_below(&l.chain.random, l.lazy.extents.count)];
		uint64_t gpa = x->gpa + random_below(&l.chain.random, x->pages) * PAGE_SIZE;
		uint64_t byte = gpa + random_below(&l.chain.random, PAGE_SIZE);

		if (x->part->blocks)
			continue; /* there it is all pages of a block (snapshot_blocks.c) */
		flip_bit(x->part, byte);
		ck_assert_int_eq(fetch(&l, gpa, 1), -EIO);
		ck_assert_int_eq(fetch(&l, gpa, 8), -EIO);
		if (gpa > x->gpa)
			ck_assert_int_eq(fetch(&l, gpa - PAGE_SIZE, 2), 1);
		if (gpa + PAGE_SIZE < SAMPLE_RAM)
			ck_assert_int_ge(fetch(&l, gpa + PAGE_SIZE, 1), 1);
		flip_bit(x->part, byte);
		ck_assert_int_ge(fetch(&l, gpa, 8), 1);
	}
	close_lazily(&l);
}
END_TEST

/* Any file of any part. */
static int open_any(struct chain *c, enum image_file *file)
{
	char path[100];
	int fd;

	*file = (enum image_file)random_below(&c->random, IMAGE_FILES);
	snprintf(path, sizeof(path), "%s/%08u/%s", c->directory,
		 *file == FILE_IMAGE ? 1 : 1 + (unsigned int)random_below(&c->random, PARTS), image_file_names[*file]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s", path);
	return fd;
}

static void flip(int fd, uint64_t bit)
{
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
	byte ^= (uint8_t)(1u << bit % 8);
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
}

/* What is not as it was in a parent is not as it was in the last one. */
START_TEST(flips)
{
	uint8_t *ram = calloc(1, SAMPLE_RAM);
	struct reason why = {0};
	struct chain c;

	make_chain(&c);
	for (unsigned int i = 0; i < effort(100, 100); i++) {
		enum image_file file;
		int fd = open_any(&c, &file);
		uint64_t bit = random_below(&c.random, 8 * (uint64_t)lseek(fd, 0, SEEK_END));

		flip(fd, bit);
		assert_refused(&c, image_file_names[file]);
		flip(fd, bit);
		close(fd);
	}
	ck_assert_msg(read_last(&c, ram, &why) == 0, "%s", why.text);
	free(ram);
	drop_chain(&c);
}
END_TEST

static void assert_newest(const struct chain *c, unsigned int expected)
{
	struct reason why = {0};
	unsigned int number;

	ck_assert_int_eq(checkpoints_newest(c->directory, &number, &why), 0);
	ck_assert_uint_eq(number, expected);
}

START_TEST(newest_and_pruned)
{
	struct reason why = {0};
	unsigned int number;
	struct chain c;

	make_chain(&c);
	run_in(&c, "mkdir 00000009.partial-abcdef 7 000000010 x && touch notes 00000009.partial-abcdef/memory "
	       "00000001/working-set 00000001/working-set.partial");
	assert_newest(&c, PARTS);
	checkpoints_prune(c.directory, 3);
	run_in(&c, "test ! -e 00000001 && test ! -e 00000002 && test -e 00000003/state && test -e 00000006/state");
	run_in(&c, "test ! -e 00000009.partial-abcdef && test -d 7 && test -d 000000010 && test -d x && test -e notes");
	assert_newest(&c, PARTS);
	run_in(&c, "rm -r 0000000? && rmdir 7 000000010 x");
	assert_newest(&c, 0);
	ck_assert_int_lt(checkpoints_newest("/nonexistent", &number, &why), 0);
	drop_chain(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_chain");
	TCase *tcase = tcase_create("snapshot_chain");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, adds_up);
	tcase_add_test(tcase, broken);
	tcase_add_test(tcase, by_pages);
	tcase_add_test(tcase, damaged_page);
	tcase_add_test(tcase, flips);
	tcase_add_test(tcase, newest_and_pruned);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
