#include "replay/gdb_link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What gdb may take to hang up: so often so much time, or so many pieces of what it has yet to say. */
#define FAREWELL_MS 100
#define FAREWELL_TIMES 16

void gdb_link_init(struct gdb_link *l, int cancel_fd)
{
	*l = (struct gdb_link){.fd = -1, .cancel_fd = cancel_fd};
}

void gdb_link_open(struct gdb_link *l, int fd)
{
	gdb_link_init(l, l->cancel_fd);
	l->fd = fd;
}

/* A socket that is closed with unread bytes in it may drop what it has yet to send. */
static void say_farewell(struct gdb_link *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};

	shutdown(l->fd, SHUT_WR);
	for (int i = 0; i < FAREWELL_TIMES; i++) {
		if (poll(&p, 1, FAREWELL_MS) <= 0 || recv(l->fd, l->in, sizeof(l->in), MSG_DONTWAIT) <= 0)
			return;
	}
}

void gdb_link_close(struct gdb_link *l)
{
	if (l->fd < 0)
		return;
	if (!l->lost)
		say_farewell(l);
	close(l->fd);
	l->fd = -1;
}

/* Returns 0, -ECANCELED or -ECONNRESET. */
static int wait_for(struct gdb_link *l, short events)
{
	struct pollfd p[] = {{.fd = l->fd, .events = events}, {.fd = l->cancel_fd, .events = POLLIN}};

	while (poll(p, 2, -1) < 0) {
		if (errno == EINTR)
			continue;
		l->lost = true;
		return -ECONNRESET;
	}
	return p[1].revents ? -ECANCELED : 0;
}

/* Returns 0, -EAGAIN or -ECONNRESET. */
static int fill(struct gdb_link *l)
{
	ssize_t n = recv(l->fd, l->in, sizeof(l->in), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n <= 0) {
		l->lost = true;
		return -ECONNRESET;
	}
	l->taken = 0;
	l->filled = (size_t)n;
	return 0;
}

int gdb_link_next(struct gdb_link *l)
{
	for (;;) {
		int r = 0;

		if (l->lost)
			return -ECONNRESET;
		while (l->taken < l->filled) {
			enum gdb_input input = gdb_packet_decode(&l->decoder, l->in[l->taken++]);

			if (input != GDB_INPUT_NONE)
				return (int)input;
		}
		r = wait_for(l, POLLIN);
		if (r == 0)
			r = fill(l);
		if (r == -ECANCELED)
			return r;
	}
}

static void send_all(struct gdb_link *l, const char *bytes, size_t size)
{
	while (size && !l->lost) {
		ssize_t n = send(l->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			bytes += n;
			size -= (size_t)n;
		} else if ((errno != EAGAIN && errno != EINTR) || wait_for(l, POLLOUT) < 0) {
			l->lost = true;
		}
	}
}

void gdb_link_send(struct gdb_link *l, const void *data, size_t size)
{
	l->sent_size = gdb_packet_encode(l->sent, data, size);
	gdb_link_send_again(l);
}

void gdb_link_send_again(struct gdb_link *l)
{
	send_all(l, l->sent, l->sent_size);
}

void gdb_link_send_byte(struct gdb_link *l, char byte)
{
	send_all(l, &byte, 1);
}

bool gdb_link_stirs(struct gdb_link *l)
{
	for (;;) {
		if (l->taken == l->filled && fill(l) < 0)
			return l->lost;
		if (l->in[l->taken] != '+' && l->in[l->taken] != '-')
			return true;
		l->taken++;
	}
}
