/*
 * Fuzz target: any bytes as blocks of a log, with right checksums. What can be read is written as the same log again, or reading ends
 * with a reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "replay/mark_find.h"
#include "snapshot/reason.h"
#include "tests/fuzz/target.h"
#include "tests/unit/event_equal.h"

#define BLOCK_HEAD 3u /* of the input: bytes and events of a block */

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz log: %s\n", what);
	abort();
}

static void put(int fd, const void *bytes, size_t size)
{
	require(write(fd, bytes, size) == (ssize_t)size, "cannot write");
}

/* Where a log stands after these events. */
static uint64_t position_after(uint64_t position, const uint8_t *bytes, size_t size)
{
	struct event e;
	size_t n;

	while ((n = event_decode(&e, position, bytes, size))) {
		position = e.position;
		bytes += n;
		size -= n;
	}
	return position;
}

static int make_log(const uint8_t *bytes, size_t size)
{
	struct log_header h = {.version = LOG_VERSION};
	uint64_t before, position = 0;
	int fd = memfd_create("log", MFD_CLOEXEC);

	memcpy(h.magic, log_magic, sizeof(h.magic));
	before = h.checksum = log_header_checksum(&h);
	put(fd, &h, sizeof(h));
	while (size > BLOCK_HEAD) {
		uint32_t most = bytes[0] | (uint32_t)bytes[1] << 8;
		struct log_block b = {.bytes = most < size - BLOCK_HEAD ? most : (uint32_t)(size - BLOCK_HEAD), .events = bytes[2], .from = position};

		bytes += BLOCK_HEAD;
		before = b.checksum = log_block_checksum(&b, bytes, before);
		put(fd, &b, sizeof(b));
		put(fd, bytes, b.bytes);
		position = position_after(position, bytes, b.bytes);
		bytes += b.bytes;
		size -= BLOCK_HEAD + b.bytes;
	}
	return fd;
}

/* Copies what can be read; returns how many events. */
static unsigned int copy(int from, int to)
{
	struct reason why = {.text = ""};
	struct log_reader r;
	struct log_writer w;
	struct event e;
	unsigned int events = 0;
	int n;

	require(log_reader_open(&r, from, "log", &why) == 0, "a header that was mended");
	require(log_writer_open(&w, to, r.header.id, r.header.start, r.header.position) == 0, "cannot begin");
	while ((n = log_reader_next(&r, &e, &why)) == 1) {
		require(log_writer_put(&w, &e) == 0, "cannot put");
		events++;
	}
	require((n < 0) == (why.text[0] != '\0'), "a reason for nothing, or none");
	require(log_writer_flush(&w) == 0, "cannot flush");
	log_writer_close(&w);
	log_reader_close(&r);
	return events;
}

static void compare(int one, int other, unsigned int events)
{
	struct reason why = {.text = ""};
	struct log_reader a, b;
	struct event x, y;

	require(log_reader_open(&a, one, "log", &why) == 0 && log_reader_open(&b, other, "copy", &why) == 0, "cannot open");
	while (events--)
		require(log_reader_next(&a, &x, &why) == 1 && log_reader_next(&b, &y, &why) == 1 && event_equal(&x, &y), "another event");
	require(log_reader_next(&b, &y, &why) == 0 && log_reader_left(&b) == 0, "more than was written");
	log_reader_close(&a);
	log_reader_close(&b);
}

/* Whatever a mark says, no more events are used than there are, and none before it. */
static void look_for_marks(int log, unsigned int events)
{
	static const uint8_t ids[][EVENT_ID_BYTES] = {{0}, "0123456789abcde"};

	for (unsigned int i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		struct reason why = {.text = ""};
		struct mark_place p;
		int n = mark_find(log, "log", ids[i], &p, &why);

		require((n < 0) == (why.text[0] != '\0'), "a reason for nothing, or none");
		require(n <= 0 || (p.events + p.use <= events && p.use <= events && p.position <= p.ends), "events that are not there");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	int log = make_log(bytes, size), other = memfd_create("copy", MFD_CLOEXEC);
	unsigned int events;

	require(log >= 0 && other >= 0, "no file");
	events = copy(log, other);
	compare(log, other, events);
	look_for_marks(log, events);
	close(log);
	close(other);
	return 0;
}
