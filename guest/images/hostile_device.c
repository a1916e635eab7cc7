/* hostile: ports nobody owns, devices given garbage, and too much of everything. */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/hostile.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pic.h"
#include "guest/kernel/timer.h"
#include "guest/lib/random.h"

#define CONSOLE_PORTS 0x3f8
#define CONSOLE_PORTS_END 0x400
#define ABI_PORTS_END 0x514
#define GARBAGE_COUNT 1000
#define NS_PER_MS 1000000
#define STORM_CHECK 16 /* ticks between looks at the clock */

struct garbage {
	const uint16_t *ports;
	size_t count;
	uint64_t state;
};

/* The console, and what is in abi.h, with accesses that reach into them from below. */
static bool needed(uint32_t port)
{
	return (port + 3 >= CONSOLE_PORTS && port < CONSOLE_PORTS_END) ||
	       (port + 3 >= ABI_PORT_EXIT && port < ABI_PORTS_END);
}

int hostile_bad_port(const char *args)
{
	uint64_t step = hostile_number(args, 1);

	for (uint64_t port = 0; port < 0x10000 - 3 && step > 0; port += step) {
		uint16_t at = (uint16_t)port;

		if (needed(at))
			continue;
		outb(at, inb(at));
		if (port % 64 == 0) {
			outw(at, inw(at));
			outl(at, inl(at));
		}
	}
	kprintf("survived all ports\n");
	return 0;
}

/*
 * Everything happens in the handler: where interrupts come faster than they can be handled, as they may here, nothing
 * else ever runs.
 */
static uint64_t storm_end;

static void storm_tick(void)
{
	if (timer_ticks() % STORM_CHECK != 0 || machine_clock() < storm_end)
		return;
	kprintf("survived the storm\n");
	machine_exit(0);
}

int hostile_interrupt_storm(const char *args)
{
	storm_end = machine_clock() + hostile_number(args, 100) * NS_PER_MS;
	timer_start(TIMER_MAX_HZ, storm_tick);
	/* The shortest period mode 2 has: two counts, 596,591 interrupts a second. */
	outb(0x40, 2);
	outb(0x40, 0);
	for (;;)
		cpu_wait();
}

int hostile_console_flood(const char *args)
{
	static const char line[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";
	uint64_t left = hostile_number(args, 65536);
	uint64_t size;

	for (; left > 0; left -= size) {
		size = left < sizeof(line) - 1 ? left : sizeof(line) - 1;
		console_write(line, size);
	}
	return 0;
}

/* Random reads and writes; only letters as data of the console, so that terminals survive, too. */
static void scribble(struct garbage *garbage, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t random = random_next(&garbage->state);
		uint16_t port = garbage->ports[(random >> 32) % garbage->count];

		if (random >> 63)
			inb(port);
		else
			outb(port, port == CONSOLE_PORTS ? (uint8_t)('a' + random % 26) : (uint8_t)random);
	}
}

/* After the garbage the timer must work again. */
static int timer_works(const char *device)
{
	pic_init();
	timer_start(1000, NULL);
	while (timer_ticks() < 5)
		cpu_wait();
	kprintf("survived garbage in the %s\n", device);
	return 0;
}

int hostile_pic_garbage(const char *args)
{
	static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	struct garbage garbage = { ports, sizeof(ports) / sizeof(ports[0]), 1 };

	scribble(&garbage, hostile_number(args, GARBAGE_COUNT));
	return timer_works("PIC");
}

int hostile_pit_garbage(const char *args)
{
	static const uint16_t ports[] = { 0x40, 0x41, 0x42, 0x43, 0x43, 0x61 };
	struct garbage garbage = { ports, sizeof(ports) / sizeof(ports[0]), 2 };

	scribble(&garbage, hostile_number(args, GARBAGE_COUNT));
	return timer_works("PIT");
}

int hostile_uart_garbage(const char *args)
{
	static const uint16_t ports[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff };
	struct garbage garbage = { ports, sizeof(ports) / sizeof(ports[0]), 3 };

	scribble(&garbage, hostile_number(args, GARBAGE_COUNT));
	outb(0x3fb, 0x03); /* no divisor, 8 bits */
	outb(0x3f9, 0);
	outb(0x3fc, 0); /* no loopback */
	console_init();
	kprintf("\nsurvived garbage in the UART\n");
	return 0;
}

int hostile_rtc_garbage(const char *args)
{
	static const uint16_t ports[] = { 0x70, 0x71 };
	struct garbage garbage = { ports, sizeof(ports) / sizeof(ports[0]), 4 };

	scribble(&garbage, hostile_number(args, GARBAGE_COUNT));
	return timer_works("real-time clock");
}
