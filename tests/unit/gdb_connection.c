/* The connection to gdb: cut up, damaged, too large, interrupted, lost, refused, and ended; and noise. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replay/gdb_packet.h"
#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/gdb_rig.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

static struct gdb_rig rig;
static struct gdb_client *const c = &rig.client;
static struct gdb_fake *const fake = &rig.fake;

static void expect_byte(int wanted)
{
	int byte = client_receive_byte(c);

	expect_msg(byte == wanted, "byte %d and not %d", byte, wanted);
}

static size_t make_text(char *to, const char *text)
{
	return client_make(to, text, strlen(text));
}

/* A conversation, the answers to which are the same however it comes. */
static size_t make_conversation(char *to)
{
	static const char *const said[] = {"qSupported:swbreak+",      "QStartNoAckMode", "m1000,2", "Z0,1002,1",
					   "X3000,3:}\x03}\x04}]", "m3000,3",	 "bs",	    "c"};
	size_t size = 0;

	to[size++] = '+';
	for (unsigned int i = 0; i < sizeof(said) / sizeof(*said); i++)
		size += make_text(to + size, said[i]);
	return size;
}

static void expect_conversation(void)
{
	static const char *const answers[] = {"OK", "9090", "OK", "OK", "23247d", "T05replaylog:begin;thread:1;", "T05swbreak:;thread:1;"};

	c->acks = false;
	expect_byte('+');
	ck_assert_int_eq(strncmp(client_receive(c), "PacketSize", 10), 0);
	expect_byte('+');
	for (unsigned int i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		ck_assert_str_eq(client_receive(c), answers[i]);
}

static void start_over(void)
{
	rig_reconnect(&rig);
	/* Only a guest that stands still has a gdb that answers. */
	client_stop_acks(c);
	expect_answer(c, "bc", "T05replaylog:begin;thread:1;");
	expect_answer(c, "M3000,3:000000", "OK");
	rig_reconnect(&rig);
}

/* In two pieces, whichever; and byte by byte. */
START_TEST(test_pieces)
{
	char bytes[400];
	size_t size = make_conversation(bytes);

	rig_begin(&rig, 1000);
	for (size_t cut = 0; cut <= size; cut++) {
		client_send_raw(c, bytes, cut);
		usleep(200);
		client_send_raw(c, bytes + cut, size - cut);
		expect_conversation();
		start_over();
	}
	for (size_t i = 0; i < size; i++) {
		client_send_raw(c, bytes + i, 1);
		usleep(100);
	}
	expect_conversation();
	rig_end(&rig);
}
END_TEST

/* The guest stands still, is as it was, and has no points in it; and the next gdb is answered. */
START_TEST(test_lost)
{
	char bytes[400];
	size_t size = make_conversation(bytes);
	struct random r = random_start("gdb_connection");

	rig_begin(&rig, 1000);
	for (size_t cut = 0; cut <= size; cut++) {
		client_send_raw(c, bytes, cut);
		/* Sometimes with a reset, sometimes before it has answered, sometimes after. */
		if (random_below(&r, 2))
			setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
		if (random_below(&r, 2))
			usleep(500);
		rig_reconnect(&rig);
		client_stop_acks(c);
		ck_assert_uint_eq(fake->count, 0);
		expect_msg(fake->position <= 2, "at %" PRIu64, fake->position);
		start_over();
	}
	rig_end(&rig);
}
END_TEST

/* While it runs, too. */
START_TEST(test_lost_while_running)
{
	rig_begin(&rig, FAKE_FOREVER);
	expect_answer(c, "Z0,5000,1", "OK");
	for (unsigned int i = 0; i < 20; i++) {
		client_send(c, "c", 1);
		fake_wait_resumed(fake, i + 1);
		rig_reconnect(&rig);
		expect_answer(c, "?", "T02thread:1;");
		ck_assert_uint_eq(fake->count, 0);
		ck_assert_uint_eq(atomic_load(&fake->interrupts), i + 1);
		expect_answer(c, "Z0,5000,1", "OK");
	}
	rig_end(&rig);
}
END_TEST

START_TEST(test_damaged)
{
	static char large[GDB_PACKET_MAX + 2], packet[sizeof(large) + 4];

	rig_begin(&rig, 1000);
	client_send_raw(c, "$m1000,1#00", 11);
	expect_byte('-');
	client_send_raw(c, "$m1000,1#zz", 11);
	expect_byte('-');
	expect_answer(c, "m1000,1", "90");
	/* The answer once more. */
	client_send_raw(c, "-", 1);
	ck_assert_str_eq(client_receive(c), "90");
	client_send_raw(c, "+++noise\x03\x03\x7f", 11);
	expect_answer(c, "m1000,1", "90");
	memset(large, 'm', sizeof(large));
	client_send_raw(c, packet, client_make(packet, large, sizeof(large)));
	expect_byte('+');
	ck_assert_str_eq(client_receive(c), "E07");
	client_send_raw(c, packet, client_make(packet, large, GDB_PACKET_MAX));
	expect_byte('+');
	ck_assert_str_eq(client_receive(c), "E22");
	client_stop_acks(c);
	client_send_raw(c, "$m1000,1#00", 11);
	ck_assert_str_eq(client_receive(c), "E74");
	client_send_raw(c, "$m1000,1#zz", 11);
	ck_assert_str_eq(client_receive(c), "E74");
	client_send_raw(c, packet, client_make(packet, large, sizeof(large)));
	ck_assert_str_eq(client_receive(c), "E07");
	client_send_raw(c, "-", 1);
	expect_answer(c, "m1000,1", "90");
	rig_end(&rig);
}
END_TEST

START_TEST(test_interrupts)
{
	char both[20];
	unsigned int resumes = 0;

	rig_begin(&rig, FAKE_FOREVER);
	client_stop_acks(c);
	for (unsigned int i = 0; i < 50; i++) {
		client_send(c, "c", 1);
		fake_wait_resumed(fake, ++resumes);
		client_send_raw(c, "+\x03", 2);
		ck_assert_str_eq(client_receive(c), "T02thread:1;");
		/* In the same piece. */
		memcpy(both, "$c#63\x03", 6);
		client_send_raw(c, both, 6);
		resumes++;
		ck_assert_str_eq(client_receive(c), "T02thread:1;");
		expect_answer(c, "m1000,1", "90");
		expect_answer(c, "s", "T05thread:1;");
		resumes++;
	}
	ck_assert_uint_eq(atomic_load(&fake->interrupts), 100);
	/* One that comes when it stands still already means nothing to the next run. */
	client_send_raw(c, "\x03\x03", 2);
	expect_answer(c, "Z0,1003,1", "OK");
	ck_assert_str_eq(client_ask(c, "c"), "T05thread:1;");
	rig_end(&rig);
}
END_TEST

static void ignore(void *target)
{
}

/* Of a range, too, when the guest had taken its step by then. */
START_TEST(test_range_interrupted)
{
	rig_init(&rig, FAKE_FOREVER);
	fake->ops.interrupt = ignore;
	rig_start(&rig);
	client_stop_acks(c);
	for (unsigned int i = 0; i < 50; i++) {
		client_send(c, "vCont;r0,ffffffffffffffff", 25);
		fake_wait_resumed(fake, atomic_load(&fake->resumes) + 1);
		client_send_raw(c, "\x03", 1);
		expect(client_receive(c)[0] == 'T');
	}
	rig_end(&rig);
}
END_TEST

/* Against the protocol; the guest is stopped, and then it is answered. */
START_TEST(test_packet_while_running)
{
	rig_begin(&rig, FAKE_FOREVER);
	client_stop_acks(c);
	client_send(c, "c", 1);
	fake_wait_resumed(fake, 1);
	client_send(c, "m1000,1", 7);
	ck_assert_str_eq(client_receive(c), "T02thread:1;");
	ck_assert_str_eq(client_receive(c), "90");
	rig_end(&rig);
}
END_TEST

/* A second gdb waits for the first to go, by itself or by letting go of the guest. */
START_TEST(test_second)
{
	struct gdb_client second;

	rig_init(&rig, FAKE_FOREVER);
	fake->serve_after_detach = true;
	rig_start(&rig);
	expect_answer(c, "s", "T05thread:1;");
	client_open(&second, gdb_server_address(fake->server));
	client_send(&second, "?", 1);
	expect_answer(c, "s", "T05thread:1;");
	client_close(c);
	ck_assert_int_eq(client_receive_byte(&second), '+');
	ck_assert_str_eq(client_receive(&second), "T05thread:1;");
	ck_assert_uint_eq(fake->position, 2);
	*c = second;
	expect_answer(c, "D;1", "OK");
	ck_assert_int_eq(client_receive_byte(c), -1);
	fake_wait_resumed(fake, 3);
	/* The guest runs: it is stopped for who comes then. */
	rig_reconnect(&rig);
	expect_answer(c, "?", "T02thread:1;");
	ck_assert_uint_eq(atomic_load(&fake->interrupts), 1);
	expect_answer(c, "Dx", "E22");
	expect_answer(c, "vKill;1", "OK");
	fake_end(fake, NULL);
	ck_assert_int_eq(fake->last, GDB_KILL);
	client_close(c);
}
END_TEST

/*
 * While it waits for a connection, for a packet, for the end of one, for a new connection, and for gdb to take an answer; and while
 * it steps on its own.
 */
START_TEST(test_cancelled)
{
	struct capture capture;

	if (_i == 0) {
		rig_init(&rig, 1000);
		capture_begin(&capture);
		fake_start(fake, "127.0.0.1:0");
		assert_one_line(capture_end(&capture), "127.0.0.1:");
		usleep(1000);
		fake_cancel(fake);
		ck_assert_int_eq(fake->last, GDB_GONE);
		return;
	}
	rig_begin(&rig, _i == 5 ? FAKE_FOREVER : 1000);
	expect_answer(c, "?", "T05thread:1;");
	if (_i == 5)
		client_send(c, "vCont;r0,ffffffffffffffff", 25);
	if (_i == 2)
		client_send_raw(c, "$m1000", 6);
	if (_i == 3)
		client_close(c);
	for (unsigned int i = 0; _i == 4 && i < 1000; i++) {
		char packet[40];
		size_t size = make_text(packet, "m1000,1fff");

		if (send(c->fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
			break;
	}
	usleep(10000);
	fake_cancel(fake);
	ck_assert_int_eq(fake->last, GDB_GONE);
	if (_i != 3)
		client_close(c);
}
END_TEST

START_TEST(test_ends)
{
	static const struct {
		struct gdb_stop stop;
		const char *said;
	} ends[] = {
		{{.kind = GDB_STOP_EXITED}, "W00"},
		{{.kind = GDB_STOP_EXITED, .code = 0xfe}, "Wfe"},
		{{.kind = GDB_STOP_KILLED, .code = 9}, "X09"},
	};

	for (unsigned int i = 0; i < 3; i++) {
		rig_init(&rig, 100);
		fake->exits = true;
		rig_start(&rig);
		client_stop_acks(c);
		client_send(c, "c", 1);
		fake_end(fake, &ends[i].stop);
		ck_assert_str_eq(client_receive(c), ends[i].said);
		ck_assert_int_eq(client_receive_byte(c), -1);
		client_close(c);
	}
	/* To one that does not wait for it nothing is said: it knows that the guest stands still, or that it is none of its business. */
	rig_begin(&rig, 100);
	client_stop_acks(c);
	expect_answer(c, "s", "T05thread:1;");
	gdb_server_cancel(fake->server);
	fake_end(fake, &ends[0].stop);
	ck_assert_int_eq(client_receive_byte(c), -1);
	client_close(c);
	rig_begin(&rig, 100);
	expect_answer(c, "D", "OK");
	fake_end(fake, &ends[0].stop);
	ck_assert_int_eq(client_receive_byte(c), -1);
	client_close(c);
	gdb_server_close(NULL, NULL);
}
END_TEST

static void expect_refused(const char *where, const char *why)
{
	const struct gdb_target target = {&fake->ops, fake};
	struct gdb_server *g;
	struct capture capture;
	int r;

	capture_begin(&capture);
	r = gdb_server_open(&g, where, &target);
	assert_one_line(capture_end(&capture), why);
	ck_assert_int_lt(r, 0);
}

START_TEST(test_places)
{
	static const char *const bad[] = {"", "x", "-1", "65536", "123456", ":1", "a:", "::1:1", "1:2:3",
					  "127.0.0.1:70000", "unix", "1 ", " 1", "[]:1", "127.0.0.1:"};
	struct stat st;

	rig_begin(&rig, 100);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect_refused(bad[i], "give PORT, HOST:PORT or unix:PATH");
	expect_refused("[:1", "[:1");
	expect_refused("no-such-host.invalid:1", "no-such-host.invalid");
	expect_refused("unix:", "empty");
	expect_refused("unix:/nonexistent/gdb", "/nonexistent/gdb");
	expect_refused("unix:/etc/passwd", "name another");
	expect_refused("192.0.2.1:1234", "192.0.2.1:1234");
	/* For its owner alone, and not twice. */
	ck_assert_int_eq(stat(gdb_server_address(fake->server), &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	client_ask(c, "?");
	{
		char where[80];

		snprintf(where, sizeof(where), "unix:%s", gdb_server_address(fake->server));
		expect_refused(where, "another run listens there");
	}
	rig_end(&rig);
}
END_TEST

START_TEST(test_ports)
{
	struct capture capture;
	char port[40];

	rig_init(&rig, 100);
	capture_begin(&capture);
	fake_start(fake, _i ? "localhost:0" : "0");
	assert_one_line(capture_end(&capture), "target remote 127.0.0.1:");
	expect_refused(gdb_server_address(fake->server), "in use");
	snprintf(port, sizeof(port), "%s", strchr(gdb_server_address(fake->server), ':') + 1);
	expect_refused(port, "in use");
	client_open(c, gdb_server_address(fake->server));
	expect_answer(c, "m1000,1", "90");
	rig_end(&rig);
	/* The same port can be had at once. */
	rig_init(&rig, 100);
	capture_begin(&capture);
	fake_start(fake, port);
	assert_one_line(capture_end(&capture), port);
	client_open(c, gdb_server_address(fake->server));
	rig_end(&rig);
}
END_TEST

/* From now on there is room for `more` descriptors. */
static void leave_room(unsigned int more)
{
	struct rlimit limit;
	int fd = dup(STDIN_FILENO);

	ck_assert_int_ge(fd, 0);
	close(fd);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)fd + more;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The host has no more descriptors, for gdb's connection: that is said, and ends it. */
START_TEST(test_no_descriptors)
{
	const struct gdb_target target = {&fake->ops, fake};
	struct capture capture;
	struct gdb_server *g;

	rig_init(&rig, 100);
	capture_begin(&capture);
	ck_assert_int_eq(gdb_server_open(&g, "0", &target), 0);
	capture_end(&capture);
	client_open(c, gdb_server_address(g));
	capture_begin(&capture);
	leave_room(0);
	ck_assert_int_eq(gdb_server_wait(g), -EMFILE);
	assert_one_line(capture_end(&capture), "accept: Too many open files");
	gdb_server_close(g, NULL);
	client_close(c);
}
END_TEST

/* The same while the guest runs: it is left alone, and it is said once. */
START_TEST(test_no_descriptors_while_running)
{
	struct capture capture;

	rig_init(&rig, FAKE_FOREVER);
	fake->serve_after_detach = true;
	rig_start(&rig);
	expect_answer(c, "D", "OK");
	fake_wait_resumed(fake, 1);
	client_close(c);
	capture_begin(&capture);
	leave_room(1);
	client_open(c, gdb_server_address(fake->server));
	while (lseek(capture.file, 0, SEEK_END) == 0)
		usleep(1000);
	usleep(10000);
	assert_one_line(capture_end(&capture), "accept: Too many open files");
	atomic_store(&fake->leaves, true);
	fake_end(fake, NULL);
	ck_assert_uint_eq(atomic_load(&fake->interrupts), 0);
	client_close(c);
}
END_TEST

/* Each of the server's descriptors may be the one that the host does not have: one line, and none is left open. */
START_TEST(test_open_without_descriptors)
{
	const struct gdb_target target = {&fake->ops, fake};
	struct gdb_server *g;
	unsigned int room = 0;
	int r;

	rig_init(&rig, 100);
	for (;; room++) {
		struct capture capture;
		int before = dup(STDIN_FILENO), after;

		close(before);
		capture_begin(&capture);
		leave_room(room);
		r = gdb_server_open(&g, "0", &target);
		if (r == 0)
			gdb_server_close(g, NULL);
		assert_one_line(capture_end(&capture), r ? "gdb: " : "listening");
		leave_room(20);
		after = dup(STDIN_FILENO);
		ck_assert_int_eq(after, before);
		close(after);
		if (r == 0)
			break;
		ck_assert_int_eq(r, -EMFILE);
	}
	ck_assert_uint_ge(room, 3);
}
END_TEST

/* Requests that are changed at random, with right sums; some of them let the guest go on, or let go of it. */
static size_t make_noise(struct random *r, char *to)
{
	static const char *const words[] = {
		"qSupported:swbreak+;hwbreak+", "m1000,10", "M3000,2:1122", "X3000,4:abcd", "g", "G00112233", "p10",
		"P10=0010000000000000", "Z0,1003,1",
		"z0,1003,1", "Z2,2008,4", "vCont;r1000,1005:1;c", "vCont;s:1", "bs", "bc", "c", "s", "C00", "S00;1001",
		"qXfer:features:read:target.xml:0,100", "qRcmd,68656c70",
		"qfThreadInfo", "Hg1", "T1", "?", "vKill", "qAttached", "vCont?", "QStartNoAckMode", "qC", "mffffffffffffffff,ffffffffffffffff",
	};
	static const char letters[] = "0123456789abcdef,;:+-=?*}cgsmMXZzr";
	char text[200];
	size_t size = (size_t)snprintf(text, sizeof(text), "%s", words[random_below(r, sizeof(words) / sizeof(*words))]);

	for (uint64_t n = random_below(r, 4); n; n--) {
		size_t at = random_below(r, size);

		switch (random_below(r, 4)) {
		case 0: text[at] = letters[random_below(r, sizeof(letters) - 1)]; break;
		case 1: text[at] = (char)random_next(r); break;
		case 2: size = at + 1; break;
		default:
			memmove(text + at + 1, text + at, size - at);
			text[at] = letters[random_below(r, sizeof(letters) - 1)];
			size++;
		}
	}
	size = client_make(to, text, size);
	/* Damaged as bytes. */
	if (!random_below(r, 10))
		to[random_below(r, size)] = (char)random_next(r);
	return size;
}

static void drop_answers(void)
{
	char bytes[4096];

	while (recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* Whole or not at all. A guest that has ended reads no more: what it has not read must not block who sends. */
static bool send_noise(const char *packet, size_t size)
{
	ssize_t n;

	while ((n = send(c->fd, packet, size, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 && errno == EAGAIN && !atomic_load(&fake->done))
		usleep(100);
	return n == (ssize_t)size;
}

static void talk_noise(struct random *r)
{
	for (unsigned int n = 0; n < 500 && !atomic_load(&fake->done); n++) {
		char packet[400];
		size_t size = make_noise(r, packet);

		if (!send_noise(packet, size) || !random_below(r, 200))
			rig_reconnect(&rig);
		drop_answers();
	}
}

/* Something may have ended the guest; if not, a new gdb finds it. */
static bool still_answers(void)
{
	char first = 0;

	rig_reconnect(&rig);
	client_send(c, "?", 1);
	while (!atomic_load(&fake->done) && recv(c->fd, &first, 1, MSG_DONTWAIT) != 1)
		usleep(100);
	if (atomic_load(&fake->done))
		return false;
	ck_assert_int_eq(first, '+');
	ck_assert_int_eq(*client_receive(c), 'T');
	ck_assert_uint_eq(fake->count, 0);
	return true;
}

START_TEST(test_noise)
{
	struct random r = random_start("gdb_connection");
	unsigned int runs = getenv("PENUMBRA_LONG") ? 300 : 30, alive = 0;

	for (unsigned int run = 0; run < runs; run++) {
		rig_init(&rig, 10000);
		fake->serve_after_detach = true;
		fake->ops.reverses = run % 2;
		rig_start(&rig);
		talk_noise(&r);
		alive += still_answers();
		fake_cancel(fake);
		client_close(c);
	}
	ck_assert_uint_gt(alive, 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("gdb-connection");

	tcase_add_test(tcase, test_pieces);
	tcase_add_test(tcase, test_lost);
	tcase_add_test(tcase, test_lost_while_running);
	tcase_add_test(tcase, test_damaged);
	tcase_add_test(tcase, test_interrupts);
	tcase_add_test(tcase, test_range_interrupted);
	tcase_add_test(tcase, test_packet_while_running);
	tcase_add_test(tcase, test_second);
	tcase_add_loop_test(tcase, test_cancelled, 0, 6);
	tcase_add_test(tcase, test_ends);
	tcase_add_test(tcase, test_places);
	tcase_add_loop_test(tcase, test_ports, 0, 2);
	tcase_add_test(tcase, test_no_descriptors);
	tcase_add_test(tcase, test_no_descriptors_while_running);
	tcase_add_test(tcase, test_open_without_descriptors);
	tcase_add_test(tcase, test_noise);
	tcase_set_timeout(tcase, 0);
	return run_case("gdb-connection", tcase);
}
