/*
 * Compressed memory: any page of any block, against the pages themselves; blocks that are not what they should be, and sizes of
 * blocks that nobody has written.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "snapshot/block_reader.h"
#include "snapshot/checksum.h"
#include "snapshot/image_reader.h"
#include "snapshot/image_writer.h"
#include "snapshot/page_writer.h"
#include "snapshot/reason.h"
#include "snapshot/state_file.h"
#include "tests/unit/random.h"
#include "tests/unit/snapshot_mend.h"
#include "tests/unit/snapshot_sample.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

/* The pages of a sample that are not zero, one behind the other, and a compressed file of them. */
struct packed {
	struct random random;
	struct capture capture;
	uint8_t *plain;
	uint64_t pages;
	struct block_map map;
	int fd;
};

static void gather(struct packed *p)
{
	const struct capture *c = &p->capture;
	static const uint8_t zero[PAGE_SIZE];

	p->plain = malloc(c->ram.used);
	for (uint64_t at = 0; at < c->ram.used; at += PAGE_SIZE)
		if (memcmp(c->ram.bytes + at, zero, PAGE_SIZE) != 0)
			memcpy(p->plain + p->pages++ * PAGE_SIZE, c->ram.bytes + at, PAGE_SIZE);
}

static void add_block(struct packed *p, const void *bytes, size_t size)
{
	ck_assert_int_eq(pwrite(p->fd, bytes, size, (off_t)p->map.bytes), (ssize_t)size);
	ck_assert_int_eq(block_map_add(&p->map, (uint32_t)size, checksum64(bytes, size)), 0);
}

/* By the format's description alone: blocks of any number of pages, at any level, some of them stored. */
static void pack(struct packed *p)
{
	uint8_t *out = malloc(ZSTD_compressBound(BLOCK_PAGES_MAX * PAGE_SIZE));

	p->map.pages = 1 + (uint32_t)random_below(&p->random, BLOCK_PAGES_MAX);
	p->fd = memfd_create("blocks", MFD_CLOEXEC);
	for (uint64_t at = 0; at < p->pages; at += p->map.pages) {
		size_t plain = block_map_plain(&p->map, p->map.blocks, p->pages);
		size_t size = ZSTD_compress(out, ZSTD_compressBound(plain), p->plain + at * PAGE_SIZE, plain,
					    (int)random_below(&p->random, 9));

		if (size < plain && random_below(&p->random, 8))
			add_block(p, out, size);
		else
			add_block(p, p->plain + at * PAGE_SIZE, plain);
	}
	free(out);
}

static struct packed make_packed(void)
{
	struct packed p = {.random = random_start("snapshot_blocks")};

	sample_make(&p.capture, &p.random);
	gather(&p);
	pack(&p);
	return p;
}

static void drop_packed(struct packed *p)
{
	capture_free(&p->capture);
	block_map_free(&p->map);
	free(p->plain);
	close(p->fd);
}

static void assert_pages(struct packed *p, struct block_reader *b, uint64_t first, uint64_t count)
{
	uint8_t *to = malloc(count * PAGE_SIZE + 1);

	ck_assert_int_eq(block_reader_read(b, first, count, to), 0);
	ck_assert(!memcmp(to, p->plain + first * PAGE_SIZE, count * PAGE_SIZE));
	free(to);
}

START_TEST(any_page)
{
	for (unsigned int i = 0; i < effort(10, 10); i++) {
		struct packed p = make_packed();
		struct block_reader *b = block_reader_new(&p.map, p.pages, p.fd);

		ck_assert_ptr_nonnull(b);
		assert_pages(&p, b, 0, p.pages);
		assert_pages(&p, b, p.pages, 0);
		for (unsigned int n = 0; n < 100; n++) {
			uint64_t first = random_below(&p.random, p.pages);

			assert_pages(&p, b, first, 1);
			assert_pages(&p, b, first, random_below(&p.random, p.pages - first + 1));
		}
		block_reader_free(b);
		drop_packed(&p);
	}
}
END_TEST

struct reading {
	struct packed *p;
	struct block_reader *b;
	struct random random;
	bool same;
};

static void *read_pages(void *arg)
{
	struct reading *r = arg;
	uint8_t page[PAGE_SIZE];

	for (unsigned int i = 0; i < 2000 && r->same; i++) {
		uint64_t n = random_below(&r->random, r->p->pages);

		r->same = block_reader_read(r->b, n, 1, page) == 0 && !memcmp(page, r->p->plain + n * PAGE_SIZE, PAGE_SIZE);
	}
	return NULL;
}

START_TEST(any_thread)
{
	struct packed p = make_packed();
	struct block_reader *b = block_reader_new(&p.map, p.pages, p.fd);
	struct reading reading[4];
	pthread_t thread[4];

	for (unsigned int i = 0; i < 4; i++) {
		reading[i] = (struct reading){.p = &p, .b = b, .random = {random_next(&p.random)}, .same = true};
		ck_assert_int_eq(pthread_create(&thread[i], NULL, read_pages, &reading[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		ck_assert(reading[i].same);
	}
	block_reader_free(b);
	drop_packed(&p);
}
END_TEST

/* Pages put in pieces of any size make blocks that zstd itself gives back. */
START_TEST(written)
{
	struct packed p = make_packed();
	struct snapshot sn = {.compressed = true};
	struct page_writer w;
	uint64_t at = 0;

	ck_assert_int_eq(ftruncate(p.fd, 0), 0);
	ck_assert_int_eq(page_writer_open(&w, &sn, p.fd), 0);
	while (at < p.pages) {
		uint64_t n = 1 + random_below(&p.random, p.pages - at < 40 ? p.pages - at : 40);

		ck_assert_int_eq(page_writer_put(&w, 3 * at * PAGE_SIZE, p.plain + at * PAGE_SIZE, n * PAGE_SIZE), 0);
		at += n;
	}
	ck_assert_int_eq(page_writer_finish(&w), 0);
	ck_assert_uint_eq(w.bytes, (uint64_t)lseek(p.fd, 0, SEEK_END));
	page_writer_close(&w);
	at = 0;
	for (size_t i = 0; i < sn.blocks.blocks; i++) {
		const struct memory_block *block = &sn.blocks.block[i];
		size_t plain = block_map_plain(&sn.blocks, i, p.pages);
		uint8_t *bytes = malloc(block->size), *out = malloc(plain);

		ck_assert_int_eq(pread(p.fd, bytes, block->size, (off_t)block->at), block->size);
		ck_assert_uint_eq(block->size == plain ? plain : ZSTD_decompress(out, plain, bytes, block->size), plain);
		ck_assert(!memcmp(block->size == plain ? bytes : out, p.plain + at, plain));
		at += plain;
		free(bytes);
		free(out);
	}
	ck_assert_uint_eq(at, p.pages * PAGE_SIZE);
	block_map_free(&sn.blocks);
	drop_packed(&p);
}
END_TEST

static int read_block(struct packed *p, size_t n)
{
	uint64_t first = (uint64_t)n * p->map.pages;
	uint8_t *to = malloc((size_t)p->map.pages * PAGE_SIZE);
	struct block_reader *b = block_reader_new(&p->map, p->pages, p->fd);
	int r;

	ck_assert_ptr_nonnull(b);
	r = block_reader_read(b, first, block_map_plain(&p->map, n, p->pages) / PAGE_SIZE, to);
	block_reader_free(b);
	free(to);
	return r;
}

/* Wherever it is cut, what lies before can be read, and the rest is refused. */
START_TEST(cut_off)
{
	struct packed p = make_packed();

	for (size_t i = p.map.blocks; i-- > 0;) {
		const struct memory_block *block = &p.map.block[i];

		ck_assert_int_eq(ftruncate(p.fd, (off_t)(block->at + random_below(&p.random, block->size))), 0);
		ck_assert_int_eq(read_block(&p, i), -ENODATA);
		ck_assert_int_eq(ftruncate(p.fd, (off_t)block->at), 0);
		ck_assert_int_eq(read_block(&p, i), -ENODATA);
		if (i)
			ck_assert_int_eq(read_block(&p, i - 1), 0);
	}
	drop_packed(&p);
}
END_TEST

/* Right checksums of bytes that do not make the pages of a block: too few, too many, or none. */
START_TEST(lies)
{
	struct packed p = make_packed();
	size_t plain = 4 * PAGE_SIZE;
	uint8_t *zeros = calloc(1, 2 * plain), *out = malloc(ZSTD_compressBound(2 * plain));

	block_map_free(&p.map);
	p.map.pages = 4;
	p.pages = 20;
	add_block(&p, out, ZSTD_compress(out, plain, zeros, plain, 1));
	add_block(&p, out, ZSTD_compress(out, plain, zeros, plain - 1, 1));
	add_block(&p, out, ZSTD_compress(out, plain, zeros, plain + 1, 1));
	add_block(&p, out, ZSTD_compress(out, plain, zeros, 2 * plain, 1));
	add_block(&p, "nothing of zstd", 15);
	ck_assert_int_eq(read_block(&p, 0), 0);
	for (size_t i = 1; i < 5; i++)
		ck_assert_int_eq(read_block(&p, i), -EBADMSG);
	free(zeros);
	free(out);
	drop_packed(&p);
}
END_TEST

/* Where the contents of the section `blocks` start in a state file: after names and lengths. */
static size_t find_blocks(const uint8_t *bytes, size_t size)
{
	size_t at = MEND_HEADER;

	while (memcmp(bytes + at, "blocks\0\0", 8) != 0) {
		at = mend_next(bytes, size, at);
		ck_assert_uint_ne(at, 0);
	}
	return at + 32;
}

/* A compressed sample, with numbers of its blocks changed in `bytes`. */
struct sized {
	struct capture capture;
	char *directory, path[80];
	uint8_t *bytes;
	size_t size, at;
};

static void make_sized(struct sized *s)
{
	struct random random = random_start("snapshot_blocks");
	struct image_written w;
	struct reason why = {0};

	sample_make(&s->capture, &random);
	s->capture.sn.compressed = true;
	s->directory = sample_directory();
	snprintf(s->path, sizeof(s->path), "%s/snap", s->directory);
	ck_assert_msg(image_write(&s->capture, s->path, &w, &why) == 0, "%s", why.text);
	ck_assert_int_eq(state_file_make(&s->capture.sn, &s->bytes, &s->size, &why), 0);
	s->at = find_blocks(s->bytes, s->size);
}

static void drop_sized(struct sized *s)
{
	capture_free(&s->capture);
	sample_remove(s->directory);
	free(s->bytes);
}

/* The numbers are put back afterwards. */
static void assert_refused(struct sized *s, size_t at, uint32_t value, const char *part)
{
	uint8_t kept[4];
	struct snapshot sn;
	struct reason why = {0};

	memcpy(kept, s->bytes + s->at + at, 4);
	memcpy(s->bytes + s->at + at, &value, 4);
	mend(s->bytes, s->size);
	ck_assert_int_lt(state_file_parse(&sn, s->bytes, s->size, &why), 0);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
	memcpy(s->bytes + s->at + at, kept, 4);
}

#define BLOCKS 12u /* the first block: behind pages (4) and number (8) */

START_TEST(hostile_sizes)
{
	struct sized s;
	uint32_t pages, count;

	make_sized(&s);
	memcpy(&pages, s.bytes + s.at, 4);
	memcpy(&count, s.bytes + s.at + 4, 4);
	assert_refused(&s, 0, 0, "too few or too many");
	assert_refused(&s, 0, BLOCK_PAGES_MAX + 1, "too few or too many");
	assert_refused(&s, 0, UINT32_MAX, "too few or too many");
	assert_refused(&s, 0, pages / 2, "not as many");
	assert_refused(&s, 4, count + 1, "not as many");
	assert_refused(&s, 4, count - 1, "not as many");
	assert_refused(&s, 8, 1, "not as many");
	for (uint32_t i = 0; i < count; i++) {
		size_t plain = block_map_plain(&s.capture.sn.blocks, i, s.capture.sn.pages.checksums);

		assert_refused(&s, BLOCKS + i * 12u, 0, "wrong size");
		assert_refused(&s, BLOCKS + i * 12u, (uint32_t)plain + 1, "wrong size");
		assert_refused(&s, BLOCKS + i * 12u, UINT32_MAX, "wrong size");
	}
	drop_sized(&s);
}
END_TEST

static void assert_file_refused(const struct sized *s, const char *part)
{
	char path[100];
	struct reason why = {0};
	struct image_reader r;
	int fd, err;

	mend(s->bytes, s->size);
	snprintf(path, sizeof(path), "%s/state", s->path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, s->bytes, s->size, 0), (ssize_t)s->size);
	close(fd);
	err = image_reader_open(&r, s->path, &why);
	if (err == 0) {
		err = image_reader_check(&r, &why);
		image_reader_close(&r);
	}
	ck_assert_int_lt(err, 0);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
}

static void change_size(struct sized *s, size_t block, int by)
{
	uint8_t *at = s->bytes + s->at + BLOCKS + block * 12;
	uint32_t size;

	memcpy(&size, at, 4);
	size += (uint32_t)by;
	memcpy(at, &size, 4);
}

/* Sizes that might be, but are not those of this file. */
START_TEST(other_sizes)
{
	struct sized s;

	make_sized(&s);
	change_size(&s, 0, -1);
	assert_file_refused(&s, "size is wrong");
	change_size(&s, 1, 1);
	assert_file_refused(&s, "a block with pages from");
	drop_sized(&s);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {any_page, any_thread, written, cut_off, lies, hostile_sizes, other_sizes};

	return RUN_TESTS("snapshot_blocks", tests);
}
