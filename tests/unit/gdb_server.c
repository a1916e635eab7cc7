/* What the server answers, request by request. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_packet.h"
#include "replay/gdb_registers.h"
#include "tests/unit/expect.h"
#include "tests/unit/gdb_rig.h"
#include "tests/vm/suite.h"

static struct gdb_rig rig;
static struct gdb_client *const c = &rig.client;
static struct gdb_fake *const fake = &rig.fake;

#define FEATURES "PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+"

struct pair {
	const char *question, *answer;
};

static void expect_answers(const struct pair *pairs, size_t count)
{
	for (const struct pair *p = pairs; p < pairs + count; p++)
		ck_assert_msg(!strcmp(client_ask(c, p->question), p->answer), "%s: %s and not %s", p->question, c->data, p->answer);
}

#define EXPECT_ANSWERS(pairs) expect_answers(pairs, sizeof(pairs) / sizeof(*(pairs)))

START_TEST(test_simple)
{
	static const struct pair pairs[] = {
		{"qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;fork-events+", FEATURES ";ReverseStep+;ReverseContinue+"},
		{"qSupported", FEATURES ";ReverseStep+;ReverseContinue+"},
		{"qSupportedx", ""},
		{"vMustReplyEmpty", ""},
		{"vUnknown;1;2", ""},
		{"", ""},
		{"!", ""},
		{"R00", ""},
		{"?", "T05thread:1;"},
		{"??", ""},
		{"Hg0", "OK"},
		{"Hg1", "OK"},
		{"Hc-1", "OK"},
		{"Hg2", "E03"},
		{"Hg", "E22"},
		{"Hg1x", "E22"},
		{"Hx1", ""},
		{"T1", "OK"},
		{"T2", "E03"},
		{"T", "E22"},
		{"Tffffffffffffffffff", "E22"},
		{"qC", "QC1"},
		{"qCRC:1000,10", ""},
		{"qfThreadInfo", "m1"},
		{"qsThreadInfo", "l"},
		{"qThreadExtraInfo,1", "764350552030"},
		{"qAttached", "1"},
		{"qAttached:1", "1"},
		{"qOffsets", ""},
		{"qSymbol::", ""},
		{"qTStatus", ""},
		{"vCont?", "vCont;c;C;s;S;r"},
		{"vAttach;1", ""},
		{"vRun;x", ""},
		{"QNonStop:1", ""},
	};

	rig_begin(&rig, 1000);
	EXPECT_ANSWERS(pairs);
	rig_end(&rig);
}
END_TEST

START_TEST(test_forward_only)
{
	static const struct pair pairs[] = {{"qSupported:xmlRegisters=i386", FEATURES}, {"bs", ""}, {"bc", ""}, {"s", "T05thread:1;"}, {"qRcmd,68", ""}};

	rig_init(&rig, 1000);
	fake->ops.reverses = false;
	fake->ops.monitor = NULL;
	rig_start(&rig);
	EXPECT_ANSWERS(pairs);
	rig_end(&rig);
}
END_TEST

START_TEST(test_memory)
{
	static const struct pair pairs[] = {
		{"m1000,4", "90909090"},
		{"M3000,3:01aBff", "OK"},
		{"m3000,4", "01abff00"},
		{"m3001,1", "ab"},
		{"m3000,0", ""},
		{"m5ffe,4", "0000"}, /* as far as it goes */
		{"m6000,1", "E14"},
		{"m0,1000", "E14"},
		{"mfff,2", "E14"},
		{"M5fff,2:1122", "E14"},
		{"M6000,1:00", "E14"},
		{"X6000,0:", "OK"}, /* gdb's question whether X is known */
		{"M6000,0:", "OK"},
		{"Mfffffffffffffffe,2:abcd", "OK"},
		{"mfffffffffffffffc,4", "0000abcd"},
		{"mfffffffffffffffc,10", "0000abcd"}, /* not on at address 0 */
		{"mffffffffffffffff,ffffffffffffffff", "cd"},
		{"Mffffffffffffffff,2:abcd", "E14"},
		{"Xffffffffffffffff,2:ab", "E14"},
		{"m", "E22"},
		{"m1000", "E22"},
		{"m1000,", "E22"},
		{"m,1", "E22"},
		{"m1000,1,", "E22"},
		{"m-1,1", "E22"},
		{"m10000000000000000,1", "E22"},
		{"m1000,10000000000000000", "E22"},
		{"M3000,1:", "E22"},
		{"M3000,1:0", "E22"},
		{"M3000,1:000", "E22"},
		{"M3000,1:0g", "E22"},
		{"M3000,1", "E22"},
		{"M3000,2:00", "E22"},
		{"M3000,ffffffffffffffff:00", "E22"},
		{"M3000,8000000000000001:00", "E22"},
		{"X3000,1:", "E22"},
		{"X3000,1:ab", "E22"},
		{"X3000,1", "E22"},
		{"X3000", "E22"},
		{"m3000,4", "01abff00"},
	};

	rig_begin(&rig, 1000);
	EXPECT_ANSWERS(pairs);
	rig_end(&rig);
}
END_TEST

/* Also where there would be something at address 0. */
START_TEST(test_last_address)
{
	rig_init(&rig, 1000);
	fake->maps_zero = true;
	rig_start(&rig);
	expect_answer(c, "m0,2", "9090");
	expect_answer(c, "mfffffffffffffffe,4", "0000");
	expect_answer(c, "mffffffffffffffff,ffffffffffffffff", "00");
	expect_answer(c, "Mfffffffffffffffe,4:11223344", "E14");
	rig_end(&rig);
}
END_TEST

/* As much as asked for, if it fits into a packet; more is cut. */
START_TEST(test_long_reads)
{
	static const unsigned int sizes[] = {0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x2001, 0x4000, 0x7fffffff};
	char text[40];

	rig_begin(&rig, 1000);
	client_stop_acks(c);
	for (size_t i = 0; i < sizeof(fake->ram); i++)
		fake->ram[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned int wanted = sizes[i] < 0x2000 ? sizes[i] : 0x2000;

		snprintf(text, sizeof(text), "m1234,%x", sizes[i]);
		client_ask(c, text);
		ck_assert_uint_eq(c->size, 2 * wanted);
		for (unsigned int at = 0; at < wanted; at++) {
			snprintf(text, sizeof(text), "%02x", fake->ram[0x234 + at]);
			expect(!memcmp(c->data + 2 * at, text, 2));
		}
	}
	rig_end(&rig);
}
END_TEST

/* All bytes there are, with those escaped that gdb escapes. */
START_TEST(test_binary)
{
	char packet[600] = "X3000,100:";
	size_t size = strlen(packet);

	rig_begin(&rig, 1000);
	for (unsigned int i = 0; i < 256; i++) {
		bool special = i == '#' || i == '$' || i == '}' || i == '*';

		if (special)
			packet[size++] = '}';
		packet[size++] = (char)(special ? i ^ 0x20 : i);
	}
	client_stop_acks(c);
	client_send(c, packet, size);
	ck_assert_str_eq(client_receive(c), "OK");
	for (unsigned int i = 0; i < 256; i++)
		ck_assert_uint_eq(fake->ram[0x2000 + i], i);
	/* No request of text has NULs in it. */
	client_send(c, "m1000,1\0", 8);
	ck_assert_str_eq(client_receive(c), "E22");
	client_send(c, "\0", 1);
	ck_assert_str_eq(client_receive(c), "");
	rig_end(&rig);
}
END_TEST

static size_t bytes_of_all(void)
{
	size_t bits = 0;

	for (unsigned int i = 0; i < gdb_register_count; i++)
		bits += gdb_registers[i].bits;
	return bits / 8;
}

START_TEST(test_registers)
{
	static const struct pair pairs[] = {
		{"p0", "8877665544332211"},
		{"p10", "0010000000000000"},
		{"p11", "02020000"},
		{"p12", "08000000"},
		{"p20", "7f030000"},
		{"p22", "ffff0000"},
		{"P1=0102030405060708", "OK"},
		{"p1", "0102030405060708"},
		{"P1=01020304050607", "E22"},
		{"P1=010203040506070809", "E22"},
		{"P1=01020304050607zz", "E22"},
		{"P1", "E22"},
		{"P1=", "E22"},
		{"P12=10000000", "E01"},
		{"P12=08000000", "OK"},
		{"P10=0000000000800000", "E22"}, /* not canonical */
		{"Pffff=00", "E22"},
		{"pffff", "E22"},
		{"p", "E22"},
		{"p1x", "E22"},
		{"p1", "0102030405060708"},
	};
	char all[4000];
	size_t size;

	rig_init(&rig, 1000);
	fake->cs.gpr[CPU_RAX] = 0x1122334455667788;
	rig_start(&rig);
	EXPECT_ANSWERS(pairs);
	client_ask(c, "g");
	ck_assert_uint_eq(c->size, 2 * bytes_of_all());
	ck_assert_int_eq(memcmp(c->data, "88776655443322110102030405060708", 32), 0);
	/* The same back, but for RBX; and, with something that cannot be, nothing of it. */
	size = (size_t)snprintf(all, sizeof(all), "G%s", c->data);
	memcpy(all + 1 + 16, "ff", 2);
	expect_answer(c, all, "OK");
	expect_answer(c, "p1", "ff02030405060708");
	memcpy(all + 1 + 16, "ee", 2);
	memcpy(all + size - 16, "ff", 2);
	expect_answer(c, all, "E01");
	all[size - 1] = '\0';
	expect_answer(c, all, "E22");
	all[size - 17] = '\0';
	expect_answer(c, all, "E22");
	expect_answer(c, "G", "E22");
	expect_answer(c, "p1", "ff02030405060708");
	rig_end(&rig);
}
END_TEST

START_TEST(test_registers_refused)
{
	char all[4000];

	rig_init(&rig, 1000);
	fake->read_only = true;
	rig_start(&rig);
	expect_answer(c, "P1=0102030405060708", "E01");
	expect_answer(c, "c1234", "E01");
	snprintf(all, sizeof(all), "G%s", client_ask(c, "g"));
	expect_answer(c, all, "E01");
	rig_end(&rig);
}
END_TEST

START_TEST(test_registers_lost)
{
	static const struct pair pairs[] = {{"g", "E05"}, {"p1", "E05"}, {"P1=0102030405060708", "E05"}, {"c1000", "E05"}, {"G00", "E05"}};

	rig_init(&rig, 1000);
	fake->registers_fail = -EIO;
	rig_start(&rig);
	EXPECT_ANSWERS(pairs);
	rig_end(&rig);
}
END_TEST

START_TEST(test_description)
{
	static char whole[20000], piece[20000];
	size_t size = 0;
	char text[80];

	rig_begin(&rig, 1000);
	client_ask(c, "qXfer:features:read:target.xml:0,3fff");
	while (*c->data == 'm' || !size) {
		memcpy(whole + size, c->data + 1, c->size - 1);
		size += c->size - 1;
		snprintf(text, sizeof(text), "qXfer:features:read:target.xml:%zx,3fff", size);
		if (*c->data == 'l')
			break;
		client_ask(c, text);
		if (*c->data == 'l') {
			memcpy(whole + size, c->data + 1, c->size - 1);
			size += c->size - 1;
		}
	}
	ck_assert_ptr_nonnull(strstr(whole, "</target>"));
	for (size_t at = 0; at < size; at += 97) {
		snprintf(text, sizeof(text), "qXfer:features:read:target.xml:%zx,61", at);
		client_ask(c, text);
		ck_assert_int_eq(*c->data, at + 97 < size ? 'm' : 'l');
		memcpy(piece + at, c->data + 1, c->size - 1);
	}
	ck_assert_str_eq(piece, whole);
	snprintf(text, sizeof(text), "qXfer:features:read:target.xml:%zx,10", size - 0x10);
	ck_assert_int_eq(*client_ask(c, text), 'l');
	ck_assert_str_eq(c->data + 1, whole + size - 0x10);
	snprintf(text, sizeof(text), "qXfer:features:read:target.xml:%zx,10", size);
	expect_answer(c, text, "l");
	snprintf(text, sizeof(text), "qXfer:features:read:target.xml:%zx,10", size + 1);
	expect_answer(c, text, "E22");
	expect_answer(c, "qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff", "E22");
	expect_answer(c, "qXfer:features:read:target.xml:0,0", "m");
	expect_answer(c, "qXfer:features:read:target.xml:0", "E22");
	expect_answer(c, "qXfer:features:read:other.xml:0,10", "E02");
	expect_answer(c, "qXfer:memory-map:read::0,10", "");
	rig_end(&rig);
}
END_TEST

START_TEST(test_points)
{
	static const struct pair pairs[] = {
		{"Z0,1004,1", "OK"},
		{"Z0,1004,1", "OK"}, /* said twice, in once */
		{"Z1,1004,1", "OK"},
		{"Z2,2008,4", "OK"},
		{"Z3,2008,4", "OK"},
		{"Z4,2008,4", "OK"},
		{"Z4,fffffffffffffff8,8", "OK"},
		{"Z0,1005,1", "E28"},
		{"z0,1005,1", "OK"}, /* not there */
		{"z0,1004,1", "OK"},
		{"z0,1004,1", "OK"},
		{"Z0,1005,1", "OK"},
		{"Z4,fffffffffffffff9,8", "E22"},
		{"Z2,2008,0", "E22"},
		{"Z2,2008,ffffffffffffffff", "E22"},
		{"Z5,1000,1", ""},
		{"Zf,1000,1", ""},
		{"Z", "E22"},
		{"Z0", "E22"},
		{"Z0,", "E22"},
		{"Z0,1000", "E22"},
		{"Z0,1000,1;X1,00", "E22"},
		{"Z10,1000,1", "E22"},
		{"z0,1000", "E22"},
		{"z9,1000,1", ""},
	};

	rig_begin(&rig, 1000);
	EXPECT_ANSWERS(pairs);
	ck_assert_uint_eq(fake->count, FAKE_POINTS);
	ck_assert_uint_eq(fake->inserts, FAKE_POINTS + 1);
	ck_assert_uint_eq(fake->removes, 1);
	fake->insert_fails = -ENOTSUP;
	expect_answer(c, "z0,1005,1", "OK");
	expect_answer(c, "Z1,1005,1", "");
	expect_answer(c, "D", "OK");
	fake_end(fake, NULL);
	ck_assert_int_eq(fake->last, GDB_DETACH);
	ck_assert_uint_eq(fake->count, 0);
	client_close(c);
}
END_TEST

/* More than the server keeps. */
START_TEST(test_many_points)
{
	char text[40];

	rig_begin(&rig, 1000);
	client_stop_acks(c);
	for (unsigned int i = 0; i < 2000; i++) {
		/* The guest has room for ever. */
		fake->count = 0;
		snprintf(text, sizeof(text), "Z0,%x,1", 0x1000 + i);
		expect_answer(c, text, i < 1024 ? "OK" : "E28");
	}
	for (unsigned int i = 0; i < 1024; i++) {
		fake->points[0] = (struct gdb_point){GDB_POINT_BREAK, 0x1000 + i, 1};
		fake->count = 1;
		snprintf(text, sizeof(text), "z0,%x,1", 0x1000 + i);
		expect_answer(c, text, "OK");
		ck_assert_uint_eq(fake->count, 0);
	}
	rig_end(&rig);
}
END_TEST

/* How gdb has the guest go on, and what it is told then; `at` is where the guest is afterwards. */
struct move {
	const char *question, *answer;
	uint64_t at;
};

static void expect_moves(const struct move *moves, size_t count)
{
	for (const struct move *m = moves; m < moves + count; m++) {
		ck_assert_msg(!strcmp(client_ask(c, m->question), m->answer), "%s: %s and not %s", m->question, c->data, m->answer);
		expect_msg(fake->position == m->at, "%s: at %" PRIu64 " and not %" PRIu64, m->question, fake->position, m->at);
	}
}

#define EXPECT_MOVES(moves) expect_moves(moves, sizeof(moves) / sizeof(*(moves)))

START_TEST(test_moves)
{
	static const struct move moves[] = {
		{"s", "T05thread:1;", 1},
		{"vCont;s", "T05thread:1;", 2},
		{"vCont;s:1;c", "T05thread:1;", 3},
		{"vCont;c:2;s:1", "T05thread:1;", 4},
		{"vCont;s:-1", "T05thread:1;", 5},
		{"vCont;s:0;c:1", "T05thread:1;", 6},
		{"vCont;S00:1", "T05thread:1;", 7},
		{"S00", "T05thread:1;", 8},
		{"S05", "E95", 8},
		{"C05", "E95", 8},
		{"Cxx", "E22", 8},
		{"S00x", "E22", 8},
		{"vCont;C05:1;c", "E95", 8},
		{"vCont;c:2", "E03", 8},
		{"vCont;", "E22", 8},
		{"vCont;x", "E22", 8},
		{"vCont;s:", "E22", 8},
		{"vCont;s;", "E22", 8},
		{"vCont;s:1x", "E22", 8},
		{"vCont;t:1", "E22", 8},
		{"vContx", "", 8},
		{"vCont;r1000", "E22", 8},
		{"bs", "T05thread:1;", 7},
		{"bs", "T05thread:1;", 6},
		{"bsx", "", 6},
		{"?", "T05thread:1;", 6},
		{"bc", "T05replaylog:begin;thread:1;", 0},
		{"bs", "T05replaylog:begin;thread:1;", 0},
		{"c", "T05replaylog:end;thread:1;", 100},
		{"s", "T05replaylog:end;thread:1;", 100},
		{"?", "T05replaylog:end;thread:1;", 100},
		{"Z0,1003,1", "OK", 100},
		{"bc", "T05thread:1;", 99}, /* gdb has not said that it knows swbreak */
		{"qSupported:swbreak+", FEATURES ";ReverseStep+;ReverseContinue+", 99},
		{"?", "T05swbreak:;thread:1;", 99},
		{"bc", "T05swbreak:;thread:1;", 83},
		{"z0,1003,1", "OK", 83},
		{"Z1,1003,1", "OK", 83},
		{"bc", "T05thread:1;", 67},
		{"qSupported:swbreak-;hwbreak+", FEATURES ";ReverseStep+;ReverseContinue+", 67},
		{"bc", "T05hwbreak:;thread:1;", 51},
		{"C00", "T05hwbreak:;thread:1;", 67},
		{"z1,1003,1", "OK", 67},
		{"Z2,2000,10", "OK", 67},
		{"vCont;c", "T05watch:2000;thread:1;", 74},
		{"z2,2000,10", "OK", 74},
		{"Z3,200a,1", "OK", 74},
		{"Z4,2008,1", "OK", 74},
		{"c", "T05awatch:2008;thread:1;", 77},
		{"z4,2008,1", "OK", 77},
		{"z3,200a,1", "OK", 77},
		{"Z3,2008,1", "OK", 77},
		{"vCont;C00", "T05rwatch:2008;thread:1;", 93},
	};

	rig_begin(&rig, 100);
	client_stop_acks(c);
	EXPECT_MOVES(moves);
	rig_end(&rig);
}
END_TEST

/* From elsewhere. */
START_TEST(test_jumps)
{
	rig_begin(&rig, 100);
	fake->cs.gpr[CPU_RCX] = 0x1122;
	expect_answer(c, "s1008", "T05thread:1;");
	ck_assert_uint_eq(fake->position, 1);
	expect_answer(c, "c800000000000", "E22");
	expect_answer(c, "S00;1003", "T05thread:1;");
	expect_answer(c, "S00;", "T05thread:1;");
	expect_answer(c, "sx", "E22");
	expect_answer(c, "c1000,", "E22");
	ck_assert_uint_eq(fake->position, 3);
	ck_assert_uint_eq(fake->cs.gpr[CPU_RCX], 0x1122);
	rig_end(&rig);
}
END_TEST

/* gdb hears of a range's steps when it is left, or something else happens; the range is forgotten then. */
START_TEST(test_ranges)
{
	static const struct move moves[] = {
		{"vCont;r1000,1006:1", "T05thread:1;", 6},
		{"vCont;r1000,1006:1", "T05thread:1;", 7},
		{"vCont;r1007,1007", "T05thread:1;", 8},
		{"vCont;s", "T05thread:1;", 9},
		{"Z0,100c,1", "OK", 9},
		{"vCont;r1000,2000:1;c", "T05thread:1;", 12},
		{"bs", "T05thread:1;", 11},
		{"z0,100c,1", "OK", 11},
		{"vCont;r0,ffffffffffffffff", "T05replaylog:end;thread:1;", 100},
	};

	rig_begin(&rig, 100);
	EXPECT_MOVES(moves);
	/* From 0 to 6, then one each. */
	ck_assert_uint_eq(atomic_load(&fake->resumes), 6 + 1 + 1 + 1 + 3 + 1 + 90);
	rig_end(&rig);
}
END_TEST

/* What gdb shows its user of a command's text: all packets up to the answer. */
static const char *ask_monitor(const char *command, char *text, size_t room)
{
	char question[200] = "qRcmd,";
	size_t used = 0;

	for (const char *p = command; *p; p++)
		snprintf(question + strlen(question), 3, "%02x", (unsigned char)*p);
	for (client_ask(c, question); *c->data == 'O' && c->data[1] != 'K'; client_receive(c)) {
		ck_assert_uint_le(c->size, GDB_PACKET_MAX);
		for (size_t i = 1; i + 1 < c->size; i += 2) {
			char digits[3] = {c->data[i], c->data[i + 1], 0};

			expect(used < room - 1);
			text[used++] = (char)strtoul(digits, NULL, 16);
		}
	}
	text[used] = '\0';
	return c->data;
}

START_TEST(test_monitor)
{
	static char text[100000];
	const char *at = text;
	char line[20];

	rig_begin(&rig, 1000);
	client_stop_acks(c);
	ck_assert_str_eq(ask_monitor("position", text, sizeof(text)), "OK");
	ck_assert_str_eq(text, "position 0\n");
	ck_assert_str_eq(ask_monitor("nothing", text, sizeof(text)), "OK");
	ck_assert_str_eq(text, "");
	ck_assert_str_eq(ask_monitor("what", text, sizeof(text)), "OK");
	ck_assert_str_eq(text, "what: no such command; `monitor help` lists them\n");
	ck_assert_str_eq(ask_monitor("", text, sizeof(text)), "OK");
	ck_assert_str_eq(ask_monitor("fail", text, sizeof(text)), "E16");
	ck_assert_str_eq(ask_monitor("long", text, sizeof(text)), "OK");
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "%u\n", i);
		expect(!strncmp(at, line, strlen(line)));
		at += strlen(line);
	}
	ck_assert_str_eq(at, "");
	expect_answer(c, "qRcmd,6", "E22");
	expect_answer(c, "qRcmd,6x", "E22");
	expect_answer(c, "qRcmd,6800", "E22");
	rig_end(&rig);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_simple, test_forward_only, test_memory, test_last_address, test_long_reads, test_binary, test_registers, test_registers_refused,
		test_registers_lost, test_description, test_points, test_many_points, test_moves, test_jumps, test_ranges,
		test_monitor,
	};

	return RUN_TESTS("gdb-server", tests);
}
