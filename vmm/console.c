#include "vmm/console.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/access.h"
#include "vmm/vm.h"

static void on_flush_time(void *owner, uint64_t now)
{
	console_flush(owner);
}

int console_init(struct console *c, struct vm *vm, const struct console_config *config)
{
	*c = (struct console){.vm = vm, .config = *config};
	clock_timer_add(&vm->clock, &c->flush, on_flush_time, c);
	return 0;
}

void console_destroy(struct console *c)
{
	console_flush(c);
}

/*
 * Waits out a full pipe: the guest waits with us, nothing is dropped, unless somebody asked the VM to end. The timeout
 * covers a request that came just before the poll.
 */
static bool wait_writable(struct console *c)
{
	struct pollfd p = {.fd = c->config.fd, .events = POLLOUT};

	if (atomic_load(&c->vm->asked_end) != VM_RUNNING)
		return false;
	poll(&p, 1, 100);
	return true;
}

static void write_all(struct console *c, const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(c->config.fd, bytes, size);

		if (n > 0) {
			bytes += n;
			size -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_writable(c))
				return;
		} else {
			vm_fail(c->vm, "console output: %s", strerror(errno));
			c->config.fd = -1;
			return;
		}
	}
}

/* Leads every line with the VM's number; what is left of an unfinished line goes on without. */
static void write_numbered(struct console *c)
{
	uint8_t out[2 * CONSOLE_BUFFER];
	size_t n = 0;

	for (size_t i = 0; i < c->used; i++) {
		if (!c->line_open)
			n += (size_t)snprintf((char *)out + n, 12, "%u: ", c->vm->number);
		out[n++] = c->buffer[i];
		c->line_open = c->buffer[i] != '\n';
		if (n > sizeof(out) - 16) {
			write_all(c, out, n);
			n = 0;
		}
	}
	write_all(c, out, n);
}

void console_flush(struct console *c)
{
	if (!c->used)
		return;
	clock_timer_set(&c->vm->clock, &c->flush, CLOCK_NEVER);
	if (c->config.fd >= 0 && c->config.numbered)
		write_numbered(c);
	else if (c->config.fd >= 0)
		write_all(c, c->buffer, c->used);
	c->used = 0;
}

void console_put(void *arg, uint8_t byte)
{
	struct console *c = arg;

	c->buffer[c->used++] = byte;
	if (byte == '\n' || c->used == CONSOLE_BUFFER)
		console_flush(c);
	else if (c->used == 1)
		clock_timer_set(&c->vm->clock, &c->flush, clock_now(&c->vm->clock) + CONSOLE_FLUSH_NS);
}

size_t console_input(struct console *c, const uint8_t *bytes, size_t size)
{
	uint32_t head = atomic_load(&c->head), room = CONSOLE_RING - (head - atomic_load(&c->tail));
	size_t n = size < room ? size : room;

	for (size_t i = 0; i < n; i++)
		c->ring[(head + i) % CONSOLE_RING] = bytes[i];
	atomic_store(&c->head, head + (uint32_t)n);
	if (n < size)
		atomic_store(&c->starved, true);
	return n;
}

void console_feed(struct console *c)
{
	uint32_t tail = atomic_load(&c->tail), head = atomic_load(&c->head);
	uint8_t byte;

	while (tail != head && uart_room(&c->vm->uart)) {
		byte = c->ring[tail++ % CONSOLE_RING];
		access_external(&c->vm->vcpu.port, ACCESS_CONSOLE, &byte, 1);
		uart_receive(&c->vm->uart, &byte, 1);
		atomic_store(&c->tail, tail);
	}
	if (tail == head && atomic_exchange(&c->starved, false) && c->config.room)
		c->config.room(c->config.arg);
}
