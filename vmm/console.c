#include "vmm/console.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/access.h"
#include "vmm/state.h"
#include "vmm/vm.h"

#define WAIT_MS 100
#define MAX_GATHERED 16 /* bytes of one byte and a VM's number before it */

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
 * What the reader takes now. The descriptor may be a blocking one that others share, so it is asked first: a pipe that is
 * writable takes PIPE_BUF bytes without blocking.
 */
static size_t write_some(struct console *c, size_t size)
{
	struct pollfd p = {.fd = c->config.fd, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = write(c->config.fd, c->buffer, size);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		vm_fail(c->vm, "console output: %s", strerror(errno));
		c->config.fd = -1;
		return size;
	}
	return (size_t)n;
}

/*
 * How much may go out. Where several VMs share the output, an unfinished line is kept until it is finished or long, or
 * pieces of two VMs' lines would stand in one.
 */
static size_t due(const struct console *c)
{
	size_t n = c->used;

	if (!c->config.numbered || n >= CONSOLE_GATHER || vm_ended(c->vm))
		return n;
	while (n && c->buffer[n - 1] != '\n')
		n--;
	return n;
}

static void end_last_line(struct console *c)
{
	if (!c->config.numbered || !c->line_open || !vm_ended(c->vm) || c->used == CONSOLE_BUFFER)
		return;
	c->buffer[c->used++] = '\n';
	c->line_open = false;
}

void console_flush(struct console *c)
{
	size_t size, n;

	end_last_line(c);
	c->blocked = false;
	if (!c->used)
		return;
	clock_timer_set(&c->vm->clock, &c->flush, CLOCK_NEVER);
	access_seen(&c->vm->vcpu.port);
	while ((size = due(c))) {
		n = c->config.fd < 0 ? size : write_some(c, size);
		c->blocked = n == 0;
		if (c->blocked)
			return;
		c->used -= n;
		memmove(c->buffer, c->buffer + n, c->used);
	}
}

void console_wait(struct console *c)
{
	struct pollfd p = {.fd = c->config.fd, .events = POLLOUT};

	if (atomic_load(&c->vm->asked_end) != VM_RUNNING) {
		c->used = 0;
		c->blocked = false;
		return;
	}
	/* The timeout is for a kick that came just before. */
	poll(&p, 1, WAIT_MS);
	console_flush(c);
}

static void gather(struct console *c, uint8_t byte)
{
	if (!c->line_open && c->config.numbered)
		c->used += (size_t)sprintf((char *)c->buffer + c->used, "%u: ", c->vm->number);
	c->buffer[c->used++] = byte;
	c->line_open = byte != '\n';
}

void console_put(void *arg, uint8_t byte)
{
	struct console *c = arg;

	if (mem_is_lost(&c->vm->mem))
		return; /* it may be a zero that stands for what the guest had there */
	if (c->said++ < c->shown)
		return;
	c->shown = c->said;
	/* One exit brought more than there is room for: nothing is left but to wait in the middle of it. */
	while (c->used > CONSOLE_BUFFER - MAX_GATHERED)
		console_wait(c);
	gather(c, byte);
	if (byte == '\n' || c->used >= CONSOLE_GATHER)
		console_flush(c);
	else if (c->flush.at == CLOCK_NEVER)
		clock_timer_set(&c->vm->clock, &c->flush, clock_now(&c->vm->clock) + CONSOLE_FLUSH_NS);
}

void console_rewind(struct console *c, uint64_t said)
{
	c->said = said;
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

size_t console_waiting(const struct console *c)
{
	return atomic_load(&c->head) - atomic_load(&c->tail);
}

static size_t input_room(struct console *c)
{
	return c->vm->virtio.has_console ? virtio_console_room(&c->vm->virtio.console) : uart_room(&c->vm->uart);
}

static void receive(struct console *c, const uint8_t *bytes, size_t size)
{
	if (c->vm->virtio.has_console)
		virtio_console_receive(&c->vm->virtio.console, bytes, size);
	else
		uart_receive(&c->vm->uart, bytes, size);
}

bool console_has_for_guest(struct console *c)
{
	return console_waiting(c) ? input_room(c) > 0 : atomic_load(&c->starved);
}

bool console_receive(struct console *c, const uint8_t *bytes, size_t size)
{
	bool room = size <= input_room(c);

	if (room)
		receive(c, bytes, size);
	return room;
}

void console_feed(struct console *c)
{
	uint32_t tail = atomic_load(&c->tail), head = atomic_load(&c->head);
	uint8_t bytes[CONSOLE_RING];
	size_t room, n;

	while (tail != head && (room = input_room(c))) {
		for (n = 0; n < room && tail != head; n++)
			bytes[n] = c->ring[tail++ % CONSOLE_RING];
		access_external(&c->vm->vcpu.port, ACCESS_CONSOLE, bytes, n);
		receive(c, bytes, n);
		atomic_store(&c->tail, tail);
	}
	if (tail == head && atomic_exchange(&c->starved, false) && c->config.room)
		c->config.room(c->config.arg);
}

void console_drop(struct console *c, size_t size)
{
	atomic_fetch_add(&c->tail, (uint32_t)size);
}

static void visit_output(struct console *c, struct state *s)
{
	uint32_t used = (uint32_t)c->used;

	state_u32(s, &used);
	state_check(s, used <= sizeof(c->buffer), "console: more output than there is room for");
	c->used = s->error ? 0 : used;
	state_bytes(s, c->buffer, c->used);
	state_bool(s, &c->line_open);
}

static void visit_input(struct console *c, struct state *s)
{
	uint32_t tail = atomic_load(&c->tail), waiting = atomic_load(&c->head) - tail;

	state_u32(s, &waiting);
	state_check(s, waiting <= CONSOLE_RING, "console: more input than there is room for");
	for (uint32_t i = 0; i < waiting && !s->error; i++)
		state_u8(s, &c->ring[(tail + i) % CONSOLE_RING]);
	if (state_loading(s))
		atomic_store(&c->head, s->error ? tail : tail + waiting);
}

void console_visit(struct console *c, struct state *s)
{
	state_begin(s, "console", 1);
	visit_output(c, s);
	visit_input(c, s);
	state_end(s);
	if (state_loading(s) && c->used)
		clock_timer_set(&c->vm->clock, &c->flush, clock_now(&c->vm->clock) + CONSOLE_FLUSH_NS);
}
