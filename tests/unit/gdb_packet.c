/* Packets as bytes: made, taken apart, and taken apart by a reader of whole texts that is written otherwise. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_packet.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

static struct gdb_decoder decoder;
static char sent[GDB_PACKET_SENT_MAX];

/* Feeds all of it; only the last byte may make something. */
static enum gdb_input feed(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i + 1 < size; i++)
		expect_eq(gdb_packet_decode(&decoder, p[i]), GDB_INPUT_NONE);
	return gdb_packet_decode(&decoder, p[size - 1]);
}

static enum gdb_input feed_text(const char *text)
{
	return feed(text, strlen(text));
}

START_TEST(test_samples)
{
	ck_assert_uint_eq(gdb_packet_encode(sent, "OK", 2), 6);
	ck_assert_int_eq(memcmp(sent, "$OK#9a", 6), 0);
	ck_assert_uint_eq(gdb_packet_encode(sent, "", 0), 4);
	ck_assert_int_eq(memcmp(sent, "$#00", 4), 0);
	ck_assert_uint_eq(gdb_packet_encode(sent, "*}#$", 4), 12);
	ck_assert_int_eq(memcmp(sent, "$}\x0a}]}\x03}\x04#62", 12), 0);
	ck_assert_int_eq(feed_text("$OK#9a"), GDB_INPUT_PACKET);
	ck_assert_str_eq(decoder.data, "OK");
	ck_assert_int_eq(feed_text("$OK#9A"), GDB_INPUT_PACKET);
	ck_assert_int_eq(feed_text("$}\x03#80"), GDB_INPUT_PACKET);
	ck_assert_str_eq(decoder.data, "#");
	ck_assert_int_eq(feed_text("$#00"), GDB_INPUT_PACKET);
	ck_assert_uint_eq(decoder.size, 0);
	ck_assert_int_eq(feed_text("+"), GDB_INPUT_ACK);
	ck_assert_int_eq(feed_text("-"), GDB_INPUT_NACK);
	ck_assert_int_eq(feed_text("\x03"), GDB_INPUT_INTERRUPT);
	ck_assert_int_eq(feed_text("noise#9a$\x03#03"), GDB_INPUT_PACKET);
	ck_assert_str_eq(decoder.data, "\x03");
}
END_TEST

START_TEST(test_damaged)
{
	static const char *const damaged[] = {"$OK#9b", "$OK#x", "$OK#9x", "$OK# ", "$OK##", "$OK}#17", "$ok}}}#00", "$OK#-"};

	for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
		ck_assert_msg(feed_text(damaged[i]) == GDB_INPUT_DAMAGED, "%s", damaged[i]);
		ck_assert_int_eq(feed_text("$OK#9a"), GDB_INPUT_PACKET);
	}
	ck_assert_int_eq(feed_text("$garb}$OK#9a"), GDB_INPUT_PACKET);
	ck_assert_str_eq(decoder.data, "OK");
	ck_assert_int_eq(feed_text("$garbage#$OK#9$OK#9a"), GDB_INPUT_PACKET);
}
END_TEST

START_TEST(test_too_large)
{
	static char data[4 * GDB_PACKET_MAX], packet[sizeof(data) + 4];

	for (size_t size = GDB_PACKET_MAX - 1; size < sizeof(data); size += size <= GDB_PACKET_MAX ? 1 : 9999) {
		unsigned int sum = 0;

		for (size_t i = 0; i < size; i++)
			sum += (unsigned int)(data[i] = "abcdefg"[i % 7]);
		memcpy(packet + 1, data, size);
		*packet = '$';
		snprintf(packet + 1 + size, 4, "#%02x", sum & 255);
		ck_assert_int_eq(feed(packet, size + 4), size <= GDB_PACKET_MAX ? GDB_INPUT_PACKET : GDB_INPUT_TOO_LARGE);
		ck_assert_int_eq(feed_text("$OK#9a"), GDB_INPUT_PACKET);
		ck_assert_str_eq(decoder.data, "OK");
	}
}
END_TEST

START_TEST(test_round_trips)
{
	struct random r = random_start("gdb_packet");
	static uint8_t data[GDB_PACKET_MAX];

	for (unsigned int n = 0; n < 300; n++) {
		size_t size = random_below(&r, random_below(&r, 10) ? 40 : GDB_PACKET_MAX + 1), made;

		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)random_next(&r);
		made = gdb_packet_encode(sent, data, size);
		expect_eq(feed(sent, made), GDB_INPUT_PACKET);
		expect(decoder.size == size && !memcmp(decoder.data, data, size) && !decoder.data[size]);
	}
}
END_TEST

static int value(uint8_t c)
{
	char text[2] = {(char)c, 0}, *end;
	long n = strtol(text, &end, 16);

	return end == text ? -1 : (int)n;
}

/* Looks at the text from *at on as a whole. Returns the next input in it, with what a packet has in it; NONE: nothing whole is left. */
static enum gdb_input read_naively(const uint8_t *text, size_t size, size_t *at, uint8_t *data, size_t *count)
{
	while (*at < size) {
		uint8_t c = text[*at], sum = 0;
		size_t hash = *at + 1, i;

		if (c != '$') {
			++*at;
			if (c == '+' || c == '-' || c == 3)
				return c == '+' ? GDB_INPUT_ACK : c == '-' ? GDB_INPUT_NACK : GDB_INPUT_INTERRUPT;
			continue;
		}
		while (hash < size && text[hash] != '#' && text[hash] != '$')
			hash++;
		if (hash >= size)
			return GDB_INPUT_NONE;
		for (i = 1; text[hash] == '#' && i <= 2; i++) {
			if (hash + i >= size)
				return GDB_INPUT_NONE;
			if (text[hash + i] == '$')
				break;
			if (value(text[hash + i]) < 0) {
				*at = hash + i + 1;
				return GDB_INPUT_DAMAGED;
			}
		}
		if (i <= 2) {
			*at = text[hash] == '#' ? hash + i : hash;
			continue;
		}
		*count = 0;
		for (i = *at + 1; i < hash; i++) {
			sum += text[i];
			if (text[i] == '}' && i + 1 < hash) {
				sum += text[++i];
				data[(*count)++] = text[i] ^ 0x20;
			} else if (text[i] == '}') {
				sum += 1; /* no packet ends so */
				break;
			} else {
				data[(*count)++] = text[i];
			}
		}
		*at = hash + 3;
		if (i < hash || sum != value(text[hash + 1]) * 16 + value(text[hash + 2]))
			return GDB_INPUT_DAMAGED;
		return GDB_INPUT_PACKET;
	}
	return GDB_INPUT_NONE;
}

/* Sums are wrong but for one in 256, so most are put right. */
static size_t make_noise(struct random *r, uint8_t *text, size_t most)
{
	static const char letters[] = "$$##}}+-\x03gm0aF*\x80";
	size_t size = 0;
	uint8_t sum = 0;

	while (size + 3 < most) {
		uint8_t c = (uint8_t)letters[random_below(r, sizeof(letters))];

		text[size++] = c;
		sum = c == '$' ? 0 : (uint8_t)(sum + c);
		if (c == '#' && random_below(r, 4)) {
			snprintf((char *)text + size, 3, "%02x", (uint8_t)(sum - '#'));
			size += 2;
		}
	}
	return size;
}

START_TEST(test_noise)
{
	struct random r = random_start("gdb_packet");
	uint8_t text[200], data[200];
	unsigned int seen[GDB_INPUT_TOO_LARGE + 1] = {0};

	for (unsigned int n = 0; n < 20000; n++) {
		size_t size = make_noise(&r, text, sizeof(text)), at = 0, end = 0, count = 0;

		memset(&decoder, 0, sizeof(decoder));
		while (at < size) {
			enum gdb_input input = GDB_INPUT_NONE, wanted = read_naively(text, size, &end, data, &count);

			while (at < size && input == GDB_INPUT_NONE)
				input = gdb_packet_decode(&decoder, text[at++]);
			expect_msg(input == wanted && (!input || at == end), "input %u to %zu and not %u to %zu", input, at, wanted, end);
			expect(input != GDB_INPUT_PACKET || (decoder.size == count && !memcmp(decoder.data, data, count)));
			seen[input]++;
		}
	}
	for (unsigned int i = 0; i < GDB_INPUT_TOO_LARGE; i++)
		ck_assert_uint_gt(seen[i], 1000);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_samples, test_damaged, test_too_large, test_round_trips, test_noise};

	return RUN_TESTS("gdb-packet", tests);
}
