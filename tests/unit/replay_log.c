/*
 * Logs of random events: they come back as they were put in; cut off anywhere, what was in whole blocks still does, and that something is
 * missing is seen; no byte can be changed, no block left out, doubled, exchanged or brought from another log unnoticed; blocks that say
 * nonsense under a right checksum are refused; and a file that cannot grow any more ends with a whole block.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/check_stream.h"
#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "snapshot/reason.h"
#include "tests/unit/event_equal.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"

#define EVENTS 3000u
#define BLOCKS_MOST 200u

static uint8_t brought[EVENT_EXTERNAL_MOST];

/* A log in memory, and where its blocks begin; the last of `block` is its end. */
struct file {
	uint8_t *bytes;
	size_t size, block[BLOCKS_MOST + 1];
	unsigned int blocks;
	struct event event[EVENTS];
	unsigned int events;
};

static struct file made;

static struct event next_event(struct random *r, uint64_t from, bool last)
{
	struct event e = {.kind = last ? EVENT_END : (enum event_kind)random_below(r, EVENT_KINDS), .position = from + random_below(r, 60)};

	if (e.kind == EVENT_END && !last)
		e.kind = EVENT_DIGEST;
	if (e.kind == EVENT_EXTERNAL) {
		e.external.source = (enum access_source)random_below(r, ACCESS_SOURCES);
		e.external.size = (uint32_t)(random_below(r, 100) ? random_below(r, 40) : random_below(r, EVENT_EXTERNAL_MOST + 1));
		e.external.bytes = brought;
	} else if (e.kind == EVENT_INTERRUPT) {
		e.interrupt.vector = (uint8_t)random_next(r);
	} else if (e.kind == EVENT_CHECKS) {
		e.checks.count = (uint8_t)(1 + random_below(r, EVENT_CHECKS_MOST));
		e.checks.bytes = brought;
	} else if (e.kind == EVENT_PAGE || e.kind == EVENT_STATE) {
		e.packed.size = (uint32_t)random_below(r, 60);
		e.packed.bytes = brought;
	} else if (e.kind == EVENT_DIGEST) {
		e.digest.registers = EVENT_DIGEST_REGISTERS;
		e.digest.size = 2;
		e.digest.rows = (uint8_t)random_below(r, EVENT_DIGEST_ROWS_MOST + 1);
		e.digest.register_bytes = e.digest.row_bytes = e.digest.paging = (const char *)brought;
	} else if (e.kind == EVENT_MARK) {
		e.mark.what = (enum event_mark)random_below(r, EVENT_MARKS);
		memcpy(e.mark.id, brought, sizeof(e.mark.id));
		memcpy(e.mark.of, brought + 1, sizeof(e.mark.of));
		e.mark.digest = random_next(r);
	} else if (e.kind == EVENT_END) {
		e.end.how = 1;
		e.end.code = 3;
		e.end.size = 2;
		e.end.paging = (const char *)brought;
	} else {
		e.ns = random_next(r);
	}
	return e;
}

static void note_block(const struct log_writer *w)
{
	if (made.block[made.blocks] != w->at) {
		ck_assert_uint_lt(made.blocks, BLOCKS_MOST);
		made.block[++made.blocks] = w->at;
	}
}

static void make(struct random *r, int fd, const char *id, unsigned int events)
{
	struct log_writer w;

	made.blocks = 0;
	ck_assert_int_eq(log_writer_open(&w, fd, (const uint8_t *)id, (const uint8_t *)"of this snapshot", 1000), 0);
	made.block[0] = w.at;
	for (made.events = 0; made.events < events; made.events++) {
		struct event *e = &made.event[made.events];

		*e = next_event(r, w.position, made.events == events - 1);
		ck_assert_int_eq(log_writer_put(&w, e), 0);
		note_block(&w);
		if (!random_below(r, 50))
			ck_assert_int_eq(log_writer_flush(&w), 0);
		note_block(&w);
	}
	ck_assert_int_eq(log_writer_flush(&w), 0);
	note_block(&w);
	ck_assert_uint_eq(w.all_events, events);
	log_writer_close(&w);
	made.size = (size_t)lseek(fd, 0, SEEK_END);
	made.bytes = realloc(made.bytes, made.size);
	ck_assert_int_eq(pread(fd, made.bytes, made.size, 0), (ssize_t)made.size);
	ck_assert_uint_eq(made.size, made.block[made.blocks]);
}

static int memory_file(void)
{
	return memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

static void make_log(struct random *r, unsigned int events)
{
	int fd = memory_file();

	for (size_t i = 0; i < sizeof(brought); i++)
		brought[i] = (uint8_t)random_next(r);
	make(r, fd, "its own identity", events);
	close(fd);
}

struct reading {
	int error; /* of opening, or of the last event */
	unsigned int events;
	bool whole;
	uint64_t left;
	struct reason why;
};

/* All events are those that were put in, as far as they go. */
static struct reading read_log(const void *bytes, size_t size)
{
	struct reading g = {.error = 0};
	struct log_reader r;
	struct event e;
	int fd = memory_file();

	ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
	g.error = log_reader_open(&r, fd, "log", &g.why);
	if (g.error == 0) {
		while ((g.error = log_reader_next(&r, &e, &g.why)) == 1) {
			ck_assert_uint_lt(g.events, made.events);
			ck_assert(event_equal(&e, &made.event[g.events++]));
		}
		g.whole = log_reader_is_whole(&r);
		g.left = log_reader_left(&r);
		log_reader_close(&r);
	}
	ck_assert_int_le(g.error, 0);
	ck_assert_int_eq(g.error < 0, g.why.text[0] != '\0');
	close(fd);
	return g;
}

/* A reader, or the stream of checks, at one of the places that are gone back to. */
struct stand {
	struct log_mark mark;
	struct event next; /* the one that was read last: its bytes are there again */
	struct check_mark checks;
	unsigned int events, check;
};

#define STANDS 20u

static unsigned int all_checks(uint8_t *to)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < made.events; i++)
		for (unsigned int k = 0; made.event[i].kind == EVENT_CHECKS && k < made.event[i].checks.count; k++)
			to[n++] = made.event[i].checks.bytes[k];
	return n;
}

static void read_on(struct log_reader *r, struct stand *s, unsigned int count)
{
	struct reason why = {0};

	while (count-- && s->events < made.events) {
		ck_assert_int_eq(log_reader_next(r, &s->next, &why), 1);
		ck_assert(event_equal(&s->next, &made.event[s->events++]));
	}
	if (s->events == made.events)
		ck_assert_int_eq(log_reader_next(r, &(struct event){0}, &why), 0);
}

static void check_on(struct check_stream *c, struct stand *s, const uint8_t *checks, unsigned int all, unsigned int count)
{
	uint8_t check;

	for (; count-- && s->check < all; s->check++)
		ck_assert(check_stream_next(c, &check) && check == checks[s->check]);
	ck_assert(s->check < all || !check_stream_next(c, &check));
}

/* Back and forth between marks: what comes after each is what came after it. */
START_TEST(put_back)
{
	struct random r = random_start("put_back");
	uint8_t *checks = malloc(EVENTS * EVENT_CHECKS_MOST);

	for (unsigned int round = 0; round < 4; round++) {
		struct stand stand[STANDS] = {0}, now = {0};
		struct reason why = {0};
		struct check_stream c;
		struct log_reader reader;
		int fd = memory_file();
		unsigned int all;

		make_log(&r, 1 + (unsigned int)random_below(&r, EVENTS));
		all = all_checks(checks);
		ck_assert_int_eq(pwrite(fd, made.bytes, made.size, 0), (ssize_t)made.size);
		ck_assert_int_eq(log_reader_open(&reader, fd, "log", &why), 0);
		ck_assert_int_eq(check_stream_open(&c, fd, "log", &why), 0);
		for (unsigned int i = 0; i < 120; i++) {
			struct stand *s = &stand[random_below(&r, STANDS)];

			log_reader_mark(&reader, &now.mark);
			check_stream_mark(&c, &now.checks);
			if (i < STANDS)
				stand[i] = now;
			else if (!random_below(&r, 3))
				*s = now;
			if (i >= STANDS && random_below(&r, 2)) {
				now = *s;
				ck_assert_int_eq(log_reader_return(&reader, &now.mark, &why), 0);
				ck_assert_int_eq(check_stream_return(&c, &now.checks, &why), 0);
				ck_assert(!now.events || event_equal(&now.next, &made.event[now.events - 1]));
			}
			read_on(&reader, &now, (unsigned int)random_below(&r, 1 + made.events / 8));
			check_on(&c, &now, checks, all, (unsigned int)random_below(&r, 1 + all / 8));
		}
		check_stream_close(&c);
		log_reader_close(&reader);
		close(fd);
	}
	free(checks);
}
END_TEST

/* Somebody has written into the file meanwhile. */
START_TEST(put_back_changed)
{
	struct random r = random_start("put_back_changed");
	struct stand now = {0};
	struct reason why = {0};
	struct log_reader reader;
	int fd = memory_file();
	uint8_t other;

	make_log(&r, 400);
	ck_assert_int_eq(pwrite(fd, made.bytes, made.size, 0), (ssize_t)made.size);
	ck_assert_int_eq(log_reader_open(&reader, fd, "log", &why), 0);
	read_on(&reader, &now, 3);
	log_reader_mark(&reader, &now.mark);
	read_on(&reader, &now, 300);
	other = (uint8_t)~made.bytes[now.mark.at - 1];
	ck_assert_int_eq(pwrite(fd, &other, 1, (off_t)now.mark.at - 1), 1);
	ck_assert_int_eq(log_reader_return(&reader, &now.mark, &why), -EBADMSG);
	ck_assert_msg(strstr(why.text, "not any more what it was"), "%s", why.text);
	log_reader_close(&reader);
	close(fd);
}
END_TEST

START_TEST(come_back)
{
	struct random r = random_start("come_back");

	for (unsigned int i = 0; i < 10; i++) {
		struct reading g;

		make_log(&r, 1 + (unsigned int)random_below(&r, EVENTS));
		g = read_log(made.bytes, made.size);
		ck_assert_int_eq(g.error, 0);
		ck_assert_uint_eq(g.events, made.events);
		ck_assert(g.whole && g.left == 0);
	}
}
END_TEST

/* Where a program was killed. Those that end at a block miss the end of the guest all the same. */
START_TEST(cut_off)
{
	struct random r = random_start("cut_off");

	make_log(&r, 400);
	for (size_t size = 0; size < made.size; size += size < 2000 ? 1 : 1 + random_below(&r, 200)) {
		struct reading g = read_log(made.bytes, size);
		unsigned int blocks = 0;

		while (blocks < made.blocks && made.block[blocks + 1] <= size)
			blocks++;
		ck_assert(!g.whole);
		ck_assert_int_eq(g.error, size < made.block[0] ? -EBADMSG : 0);
		ck_assert_uint_eq(g.left, size < made.block[0] ? 0 : size - made.block[blocks]);
	}
}
END_TEST

START_TEST(changed)
{
	struct random r = random_start("changed");

	make_log(&r, 300);
	for (unsigned int i = 0; i < effort(3000, 300); i++) {
		size_t at = i < 700 && i < made.size ? i : random_below(&r, made.size);
		uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
		struct reading g;

		made.bytes[at] ^= bit;
		g = read_log(made.bytes, made.size);
		ck_assert_msg(!g.whole, "byte %zu", at);
		made.bytes[at] ^= bit;
	}
}
END_TEST

/* Puts the file together anew from its header and the blocks in this order. */
static size_t arrange(uint8_t *to, const unsigned int *order, unsigned int n)
{
	size_t size = made.block[0];

	memcpy(to, made.bytes, size);
	for (unsigned int i = 0; i < n; i++) {
		size_t from = made.block[order[i]], bytes = made.block[order[i] + 1] - from;

		memcpy(to + size, made.bytes + from, bytes);
		size += bytes;
	}
	return size;
}

START_TEST(arranged)
{
	struct random r = random_start("arranged");
	unsigned int order[BLOCKS_MOST + 1];
	uint8_t *bytes;

	make_log(&r, 600);
	ck_assert_uint_gt(made.blocks, 3);
	bytes = malloc(2 * made.size);
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int a = (unsigned int)random_below(&r, made.blocks), b = (unsigned int)random_below(&r, made.blocks);
		unsigned int n = 0, doubled = i % 3 == 1;

		for (unsigned int k = 0; k < made.blocks; k++)
			if (i % 3 != 2 || k != a)
				order[n++] = i % 3 == 0 && k == a ? b : i % 3 == 0 && k == b ? a : k;
		if (doubled)
			order[n++] = a;
		if (i % 3 == 0 && a == b)
			continue;
		ck_assert(!read_log(bytes, arrange(bytes, order, n)).whole);
	}
	free(bytes);
}
END_TEST

/* The same events and the same blocks, of another recording. */
START_TEST(of_another)
{
	struct random r = random_start("of_another"), again = r;
	uint8_t *mine;
	size_t size;
	int fd = memory_file();

	make_log(&r, 600);
	mine = malloc(made.size);
	memcpy(mine, made.bytes, size = made.size);
	for (size_t i = 0; i < sizeof(brought); i++)
		random_next(&again);
	make(&again, fd, "anothers identit", 600);
	close(fd);
	ck_assert_uint_eq(size, made.size);
	ck_assert(read_log(made.bytes, size).whole);
	memcpy(made.bytes + made.block[1], mine + made.block[1], size - made.block[1]);
	ck_assert_uint_eq(read_log(made.bytes, size).left, size - made.block[1]);
	free(mine);
}
END_TEST

/* A log of one block, of whatever bytes, with checksums that are right. */
static size_t mend(uint8_t *file, const void *events, uint32_t bytes, uint32_t count, uint64_t from)
{
	struct log_header h = {.version = LOG_VERSION, .position = 1000};
	struct log_block b = {.bytes = bytes, .events = count, .from = from};

	memcpy(h.magic, log_magic, sizeof(h.magic));
	h.checksum = log_header_checksum(&h);
	b.checksum = log_block_checksum(&b, events, h.checksum);
	memcpy(file, &h, sizeof(h));
	memcpy(file + sizeof(h), &b, sizeof(b));
	memcpy(file + sizeof(h) + sizeof(b), events, bytes);
	return sizeof(h) + sizeof(b) + bytes;
}

static void assert_refused(const void *events, uint32_t bytes, uint32_t count, uint64_t from, const char *words)
{
	uint8_t file[400];
	struct reading g = read_log(file, mend(file, events, bytes, count, from));

	ck_assert_int_eq(g.error, -EBADMSG);
	ck_assert_msg(strstr(g.why.text, words), "%s", g.why.text);
}

START_TEST(nonsense)
{
	static const uint8_t steps[] = {0x01, 0x20, 0x01, 0x20}, unknown[] = {0x01, 0x20, 0x07, 0x20}, ends[24] = {[0] = 0x06, [1] = 1, [12] = 0x06, [13] = 1};

	made.events = 2;
	made.event[0] = made.event[1] = (struct event){.kind = EVENT_CLOCK, .position = 1000, .ns = 0x20};
	assert_refused(steps, 4, 2, 999, "does not begin where");
	assert_refused(steps, 4, 0, 1000, "no events");
	assert_refused(steps, 4, 1, 1000, "more than its events");
	assert_refused(steps, 4, 3, 1000, "no event where");
	assert_refused(steps, 3, 2, 1000, "no event where");
	assert_refused(unknown, 4, 2, 1000, "no event where");
	made.event[0] = (struct event){.kind = EVENT_END, .position = 1000, .end = {.how = 1, .paging = ""}};
	assert_refused(ends, 24, 2, 1000, "behind the end");
}
END_TEST

static void assert_header_refused(size_t at, uint8_t value, bool mended, int error, const char *words)
{
	uint8_t file[100];
	struct log_header h;
	struct reading g;
	size_t size = mend(file, "\x01\x20", 2, 1, 1000);

	memcpy(&h, file, sizeof(h));
	((uint8_t *)&h)[at] = value;
	if (mended)
		h.checksum = log_header_checksum(&h);
	memcpy(file, &h, sizeof(h));
	g = read_log(file, size);
	ck_assert_int_eq(g.error, error);
	ck_assert_msg(strstr(g.why.text, words), "%s", g.why.text);
}

START_TEST(headers)
{
	made.events = 1;
	made.event[0] = (struct event){.kind = EVENT_CLOCK, .position = 1000, .ns = 0x20};
	assert_header_refused(1, 'X', true, -EBADMSG, "not the log");
	assert_header_refused(8, 1, true, -ENOTSUP, "version 1");
	assert_header_refused(8, 3, true, -ENOTSUP, "version 3");
	assert_header_refused(12, 1, true, -ENOTSUP, "flags 0x1");
	assert_header_refused(20, 1, false, -EBADMSG, "damaged");
}
END_TEST

/* The disk is full: there is an error once and for all, and the file has whole blocks. */
START_TEST(full)
{
	struct random r = random_start("full");
	struct log_writer w;
	struct event e;
	struct reading g;
	int fd = memory_file();
	uint8_t bytes[4096];
	ssize_t size;

	make_log(&r, 20);
	ck_assert_int_eq(log_writer_open(&w, fd, (const uint8_t *)"its own identity", (const uint8_t *)"of this snapshot", 1000), 0);
	e = (struct event){.kind = EVENT_INTERRUPT, .position = 1000, .interrupt = {1, 0}};
	made.event[0] = e;
	made.events = 1;
	ck_assert_int_eq(log_writer_put(&w, &e), 0);
	ck_assert_int_eq(log_writer_flush(&w), 0);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	ck_assert_int_eq(log_writer_put(&w, &e), 0);
	ck_assert_int_lt(log_writer_flush(&w), 0);
	ck_assert_int_lt(log_writer_put(&w, &e), 0);
	ck_assert_int_eq(log_writer_flush(&w), w.error);
	log_writer_close(&w);
	size = pread(fd, bytes, sizeof(bytes), 0);
	g = read_log(bytes, (size_t)size);
	ck_assert_int_eq(g.error, 0);
	ck_assert_uint_eq(g.events, 1);
	ck_assert(!g.whole && g.left == 0);
	close(fd);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(log_writer_open(&w, fd, (const uint8_t *)"its own identity", (const uint8_t *)"of this snapshot", 0), -ENOSPC);
	close(fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {come_back, put_back, put_back_changed, cut_off, changed, arranged, of_another, nonsense, headers, full};

	return RUN_TESTS("replay_log", tests);
}
