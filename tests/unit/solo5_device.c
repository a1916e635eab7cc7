/*
 * The hypercalls on a machine of RAM, a bus and a clock, without KVM: what they do, what they refuse, what they tell the
 * access seam, and that no arguments whatever touch what is not the unikernel's.
 */
#include "vmm/solo5_device.h"

#include <fcntl.h>

#include "tests/unit/board.h"
#include "tests/unit/solo5_rig.h"

#define CALL RIG_HEAP /* where tests put a call's structure */
#define BUFFER (RIG_HEAP + 0x10000)

static void out(struct solo5_rig *r, uint64_t port, uint8_t size, uint64_t value)
{
	struct access a = {.kind = ACCESS_PORT_WRITE, .size = size, .addr = port, .value = value};

	access_complete(&r->vm.vcpu.port, &a);
}

static void call(struct solo5_rig *r, unsigned int number, uint64_t gpa)
{
	r->told_size = 0;
	out(r, 0x500 + number, 4, gpa);
}

/* Words of 64 bits in guest memory. */
static void put(struct solo5_rig *r, uint64_t gpa, const uint64_t *words, unsigned int count)
{
	ck_assert_int_eq(mem_write(&r->vm.mem, gpa, words, 8 * count), 0);
}

static uint64_t word(struct solo5_rig *r, uint64_t gpa)
{
	uint64_t value;

	ck_assert_int_eq(mem_read(&r->vm.mem, gpa, &value, 8), 0);
	return value;
}

static int block(struct solo5_rig *r, unsigned int number, uint64_t handle, uint64_t offset, uint64_t data, uint64_t size)
{
	const uint64_t words[] = {handle, offset, data, size, 0x7777777777777777};

	put(r, CALL, words, 5);
	call(r, number, CALL);
	return (int)word(r, CALL + 32);
}

static int net(struct solo5_rig *r, unsigned int number, uint64_t handle, uint64_t data, uint64_t size)
{
	const uint64_t words[] = {handle, data, size, 0x7777777777777777};

	put(r, CALL, words, 4);
	call(r, number, CALL);
	return (int)word(r, CALL + 24);
}

START_TEST(test_walltime)
{
	struct solo5_rig *r = solo5_rig_make();

	r->now += 5000;
	call(r, 1, CALL);
	ck_assert_uint_eq(word(r, CALL), RIG_WALL_NS + 5000);
	ck_assert_uint_eq(r->told_size, 8);
	ck_assert_mem_eq(r->told, mem_at(&r->vm.mem, CALL, 8, MEM_READ), 8);
	ck_assert_uint_eq(r->told_at, 0);
	ck_assert_uint_eq(r->vm.vcpu.port.position, 1);
	solo5_rig_free(r);
}
END_TEST

START_TEST(test_block)
{
	struct solo5_rig *r = solo5_rig_make();
	uint8_t *ram = mem_at(&r->vm.mem, BUFFER, 4096, MEM_WRITE), file[4096];

	for (unsigned int i = 0; i < 4096; i++)
		ram[i] = (uint8_t)(i * 13 + i / 256);
	ck_assert_int_eq(block(r, 4, RIG_BLOCK, 8192, BUFFER, 4096), 0);
	ck_assert_int_eq(pread(r->disk, file, 4096, 8192), 4096);
	ck_assert_mem_eq(file, ram, 4096);
	ck_assert_uint_eq(r->told_size, 4 + 4); /* that it may, and the result */
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 8192, BUFFER + 8192, 4096), 0);
	ck_assert_mem_eq(ram + 8192, file, 4096);
	ck_assert_uint_eq(r->told_size, 4 + 4 + 4096);
	ck_assert_mem_eq(r->told + 8, file, 4096);
	ck_assert_int_eq(block(r, 5, RIG_NET, 0, BUFFER, 512), 2);
	ck_assert_int_eq(block(r, 5, 0, 0, BUFFER, 512), 2);
	ck_assert_int_eq(block(r, 5, 1ull << 32 | RIG_BLOCK, 0, BUFFER, 512), 2);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, RIG_DISK, BUFFER, 512), 2);
	ck_assert_int_eq(r->vm.end.kind, VM_RUNNING);
	solo5_rig_free(r);
}
END_TEST

/* A disk that gives out: an error that the unikernel is told, and nothing else. */
START_TEST(test_bad_disk)
{
	struct solo5_rig *r = solo5_rig_make();
	int readonly;

	ck_assert_int_eq(ftruncate(r->disk, 1000), 0);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 0, BUFFER, 512), 0);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 512, BUFFER, 512), 3);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 4096, BUFFER, 512), 3);
	ck_assert_int_eq(ftruncate(r->disk, RIG_DISK), 0);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 4096, BUFFER, 512), 0);
	readonly = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(readonly, r->vm.solo5.units.unit[RIG_BLOCK].block.disk.fd);
	close(readonly);
	ck_assert_int_eq(block(r, 4, RIG_BLOCK, 0, BUFFER, 512), 3);
	ck_assert_int_eq(block(r, 5, RIG_BLOCK, 0, BUFFER, 512), 3);
	readonly = open("/dev/full", O_RDWR | O_CLOEXEC);
	dup2(readonly, r->vm.solo5.units.unit[RIG_BLOCK].block.disk.fd);
	close(readonly);
	ck_assert_int_eq(block(r, 4, RIG_BLOCK, 0, BUFFER, 512), 3);
	ck_assert_int_eq(r->vm.end.kind, VM_RUNNING);
	solo5_rig_free(r);
}
END_TEST

START_TEST(test_net)
{
	struct solo5_rig *r = solo5_rig_make();
	uint8_t frame[1514], *ram = mem_at(&r->vm.mem, BUFFER, 1514, MEM_WRITE);

	ck_assert_int_eq(net(r, 7, RIG_NET, BUFFER, 1514), 1);
	memset(frame, 0x5a, sizeof(frame));
	ck_assert_int_eq(send(r->wire, frame, 100, 0), 100);
	ck_assert_int_eq(net(r, 7, RIG_NET, BUFFER, 1514), 0);
	ck_assert_uint_eq(word(r, CALL + 16), 100);
	ck_assert_mem_eq(ram, frame, 100);
	ck_assert_uint_eq(r->told_size, 4 + 16 + 100);
	ck_assert_int_eq(net(r, 6, RIG_NET, BUFFER, 60), 0);
	ck_assert_int_eq(recv(r->wire, frame, sizeof(frame), 0), 60);
	ck_assert_int_eq(net(r, 6, RIG_NET, BUFFER, 1515), 2);
	ck_assert_int_eq(net(r, 6, RIG_BLOCK, BUFFER, 60), 2);
	/* A full wire drops frames. */
	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(net(r, 6, RIG_NET, BUFFER, 1514), 0);
	close(r->wire);
	r->wire = -1;
	while (net(r, 7, RIG_NET, BUFFER, 1514) != 3)
		;
	ck_assert_int_eq(r->vm.end.kind, VM_RUNNING);
	solo5_rig_free(r);
}
END_TEST

static void start_poll(struct solo5_rig *r, uint64_t timeout)
{
	const uint64_t words[] = {timeout, 0x5555, 0x7777777777777777};

	put(r, CALL, words, 3);
	call(r, 3, CALL);
}

START_TEST(test_poll)
{
	struct solo5_rig *r = solo5_rig_make();
	uint8_t frame[60] = {0};

	start_poll(r, 0);
	expect(!r->vm.solo5.polling);
	ck_assert_uint_eq(word(r, CALL + 8), 0);
	ck_assert_int_eq((int)word(r, CALL + 16), 0);
	start_poll(r, 1000000);
	expect(r->vm.solo5.polling);
	ck_assert_uint_eq(clock_next(&r->vm.clock), clock_now(&r->vm.clock) + 1000000);
	r->now += 1000000;
	solo5_wait(&r->vm.solo5);
	expect(!r->vm.solo5.polling);
	ck_assert_uint_eq(clock_next(&r->vm.clock), CLOCK_NEVER);
	ck_assert_int_eq((int)word(r, CALL + 16), 0);
	/* For ever, and with numbers that would wrap. */
	start_poll(r, UINT64_MAX);
	expect(r->vm.solo5.polling);
	ck_assert_uint_eq(clock_next(&r->vm.clock), CLOCK_NEVER);
	ck_assert_int_eq(send(r->wire, frame, sizeof(frame), 0), 60);
	r->told_size = 0;
	solo5_wait(&r->vm.solo5);
	expect(!r->vm.solo5.polling);
	ck_assert_uint_eq(word(r, CALL + 8), 1 << RIG_NET);
	ck_assert_int_eq((int)word(r, CALL + 16), 1);
	ck_assert_uint_eq(r->told_size, 16);
	ck_assert_uint_eq(r->vm.vcpu.port.position, 3);
	start_poll(r, CLOCK_NEVER - 5);
	expect(!r->vm.solo5.polling); /* the frame is still there */
	solo5_rig_free(r);
}
END_TEST

/* A saved wait is a wait, and goes on; a reset one is none. */
START_TEST(test_state)
{
	struct solo5_rig *a = solo5_rig_make(), *b = solo5_rig_make();
	struct state s;

	start_poll(a, 5000000);
	expect(a->vm.solo5.polling);
	state_save_init(&s);
	clock_visit(&a->vm.clock, &s);
	bus_visit(&a->vm.bus, &s);
	ck_assert_ptr_null(state_error(&s));
	put(b, CALL, (const uint64_t[]){5000000, 0x5555, 0x77}, 3);
	{
		struct state l;

		state_load_init(&l, s.bytes, s.size);
		clock_visit(&b->vm.clock, &l);
		bus_visit(&b->vm.bus, &l);
		ck_assert_ptr_null(state_error(&l));
	}
	clock_start(&b->vm.clock);
	expect(b->vm.solo5.polling);
	ck_assert_uint_eq(clock_next(&b->vm.clock), clock_next(&a->vm.clock));
	b->now += 5000000;
	solo5_wait(&b->vm.solo5);
	expect(!b->vm.solo5.polling);
	ck_assert_uint_eq(word(b, CALL + 8), 0);
	bus_reset(&a->vm.bus);
	expect(!a->vm.solo5.polling);
	ck_assert_uint_eq(clock_next(&a->vm.clock), CLOCK_NEVER);
	state_free(&s);
	solo5_rig_free(a);
	solo5_rig_free(b);
}
END_TEST

START_TEST(test_halt)
{
	static const struct {
		uint64_t cookie, status;
		int kind, code;
	} cases[] = {
		{0, 0, VM_EXITED, 0}, {0, 255, VM_EXITED, 255}, {0, 256, VM_EXITED, 0}, {BUFFER, 7, VM_EXITED, 7},
		{RIG_TEXT, 7, VM_EXITED, 7}, {RIG_RAM - 512, 7, VM_EXITED, 7}, {RIG_RAM - 511, 7, VM_KILLED, 0}, {1, 7, VM_KILLED, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct solo5_rig *r = solo5_rig_make();

		put(r, CALL, (const uint64_t[]){cases[i].cookie, cases[i].status}, 2);
		call(r, 8, CALL);
		ck_assert_int_eq(r->vm.end.kind, cases[i].kind);
		ck_assert_int_eq(r->vm.end.code, cases[i].code);
		solo5_rig_free(r);
	}
}
END_TEST

/* What is no hypercall: wrong width, direction or number. Each ends the VM; afterwards nothing more happens. */
START_TEST(test_no_calls)
{
	for (unsigned int port = 0x500; port < 0x510; port++) {
		for (uint8_t size = 1; size <= 4; size *= 2) {
			bool good = size == 4 && port > 0x500 && port <= 0x508;
			struct solo5_rig *r = solo5_rig_make();
			struct access a = {.kind = ACCESS_PORT_READ, .size = size, .addr = port};

			out(r, port, size, CALL);
			expect_msg((r->vm.end.kind != VM_KILLED) == good, "port %x, size %u", port, size);
			solo5_rig_free(r);
			r = solo5_rig_make();
			access_complete(&r->vm.vcpu.port, &a);
			expect_msg(r->vm.end.kind == VM_KILLED, "port %x, size %u", port, size);
			call(r, 1, CALL);
			ck_assert_uint_eq(word(r, CALL), 0);
			solo5_rig_free(r);
		}
	}
}
END_TEST

/* An address at or near a border of something. */
static uint64_t odd_address(struct random *r)
{
	static const uint64_t borders[] = {
		0, 0x2000, 0x10000, 0x20000, RIG_TEXT, RIG_TEXT + 0x11000, RIG_CONSTANTS, RIG_CONSTANTS + 0x1000, RIG_DATA,
		RIG_DATA + 0x2000, RIG_HEAP, RIG_RAM, 1ull << 32, 1ull << 63, UINT64_MAX,
	};
	uint64_t a = borders[random_below(r, sizeof(borders) / sizeof(*borders))];

	return a + random_below(r, 1200) - 600;
}

static uint64_t odd_size(struct random *r)
{
	static const uint64_t sizes[] = {0, 1, 13, 14, 512, 1513, 1514, 1515, 4096, 65536, 65537, RIG_RAM, 1ull << 32, UINT64_MAX};

	return sizes[random_below(r, sizeof(sizes) / sizeof(*sizes))];
}

static uint64_t odd_word(struct random *r)
{
	switch (random_below(r, 3)) {
	case 0: return odd_size(r);
	case 1: return odd_address(r);
	default: return random_below(r, 4);
	}
}

/* Whatever is called with whatever arguments: what the unikernel must not write stays as it is. */
START_TEST(test_hostile)
{
	struct random dice = random_start("solo5_device");
	unsigned int ended = 0;

	for (int i = 0; i < 120; i++) {
		struct solo5_rig *r = solo5_rig_make();
		uint8_t *ram = mem_at(&r->vm.mem, 0, RIG_RAM, MEM_WRITE);

		memset(ram, 0x5a, RIG_RAM);
		for (int n = 0; n < 20 && r->vm.end.kind == VM_RUNNING && !r->vm.solo5.polling; n++) {
			uint64_t gpa = random_below(&dice, 8) ? CALL : odd_address(&dice) & UINT32_MAX;

			if (gpa + 40 <= RIG_RAM && solo5_rig_is_writable(gpa) && solo5_rig_is_writable(gpa + 39))
				put(r, gpa, (const uint64_t[]){odd_word(&dice), odd_word(&dice), odd_word(&dice), odd_word(&dice),
							       odd_word(&dice)}, 5);
			call(r, (unsigned int)random_below(&dice, 10), gpa);
		}
		ended += r->vm.end.kind != VM_RUNNING;
		for (uint64_t gpa = 0; gpa < RIG_RAM; gpa += solo5_rig_is_writable(gpa) ? PAGE_SIZE : 1)
			expect_msg(solo5_rig_is_writable(gpa) || ram[gpa] == 0x5a, "%" PRIx64 " was written", gpa);
		solo5_rig_free(r);
	}
	expect(ended > 20);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("calls");

	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, test_walltime);
	tcase_add_test(tcase, test_block);
	tcase_add_test(tcase, test_bad_disk);
	tcase_add_test(tcase, test_net);
	tcase_add_test(tcase, test_poll);
	tcase_add_test(tcase, test_state);
	tcase_add_test(tcase, test_halt);
	tcase_add_test(tcase, test_no_calls);
	tcase_add_test(tcase, test_hostile);
	return run_case("solo5_device", tcase);
}
