#include "replay/gdb_listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/log.h"

#define UNIX_PREFIX "unix:"
#define DEFAULT_HOST "127.0.0.1"
#define HOST_MAX 128u
#define PORT_MAX 65535u
#define BACKLOG 1

struct place {
	char host[HOST_MAX];
	const char *port;
};

static int bad_place(const char *where)
{
	return log_bad(EINVAL, "gdb: %s: give PORT, HOST:PORT or unix:PATH", where);
}

static bool is_port(const char *text)
{
	unsigned int n = 0;

	if (!*text || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
		return false;
	for (; *text; text++)
		n = n * 10 + (unsigned int)(*text - '0');
	return n <= PORT_MAX;
}

/* An address with colons in it has brackets around it. */
static int parse(struct place *p, const char *where)
{
	const char *colon = strrchr(where, ':'), *from = where;
	size_t size = colon ? (size_t)(colon - where) : 0;
	bool bracketed = size >= 2 && *where == '[' && colon[-1] == ']';

	p->port = colon ? colon + 1 : where;
	if (bracketed) {
		from++;
		size -= 2;
	}
	if (!is_port(p->port) || size >= sizeof(p->host) || (colon && !size) || (!bracketed && size && memchr(from, ':', size)))
		return bad_place(where);
	snprintf(p->host, sizeof(p->host), "%.*s", (int)size, from);
	if (!colon)
		strcpy(p->host, DEFAULT_HOST);
	return 0;
}

static int listen_at(const struct addrinfo *a)
{
	const int yes = 1;
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), err;

	if (fd < 0)
		return -errno;
	/* A port that was just left can be had again. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

/* With the port that it has become, and the host as a number. */
static int name_address(struct gdb_listener *l)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char host[HOST_MAX], port[8];

	if (getsockname(l->fd, (struct sockaddr *)&address, &size))
		return log_errno(errno, "gdb: getsockname");
	if (getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return log_bad(EIO, "gdb: a socket without a name");
	snprintf(l->address, sizeof(l->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}

static int open_tcp(struct gdb_listener *l, const char *where)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found;
	struct place p;
	int r = parse(&p, where);

	if (r < 0)
		return r;
	r = getaddrinfo(p.host, p.port, &hints, &found);
	if (r)
		return log_bad(EINVAL, "gdb: %s: %s", where, gai_strerror(r));
	l->fd = listen_at(found);
	freeaddrinfo(found);
	if (l->fd < 0)
		return log_errno(-l->fd, "gdb: %s", where);
	r = name_address(l);
	if (r < 0)
		close(l->fd);
	return r;
}

static int open_unix(struct gdb_listener *l, const char *path)
{
	int r = control_socket_listen(&l->unix_socket, path);

	if (r < 0)
		return r;
	l->fd = l->unix_socket.fd;
	l->is_unix = true;
	snprintf(l->address, sizeof(l->address), "%s", path);
	return 0;
}

int gdb_listener_open(struct gdb_listener *l, const char *where)
{
	const size_t prefix = strlen(UNIX_PREFIX);

	*l = (struct gdb_listener){.fd = -1};
	return strncmp(where, UNIX_PREFIX, prefix) ? open_tcp(l, where) : open_unix(l, where + prefix);
}

void gdb_listener_close(struct gdb_listener *l)
{
	if (l->is_unix)
		control_socket_close(&l->unix_socket);
	else
		close(l->fd);
}

static bool has_gone(int err)
{
	/* accept() also reports what went wrong on the connection that it would have returned. */
	return err == EAGAIN || err == EINTR || err == ECONNABORTED || err == EPROTO || err == ENETDOWN || err == EHOSTUNREACH ||
	       err == ENETUNREACH;
}

int gdb_listener_accept(struct gdb_listener *l)
{
	const int yes = 1;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return has_gone(errno) ? -EAGAIN : log_errno(errno, "gdb: %s: accept", l->address);
	/* Answers are short and waited for; and a machine that went away without a word is to be missed. */
	if (!l->is_unix) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
	}
	return fd;
}
