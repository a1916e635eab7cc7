#include "tests/bench/gdb_peer.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TRIES 6000 /* of 10 ms */

static int try_connect(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

void gdb_peer_open(struct gdb_peer *p, const char *path)
{
	p->fd = try_connect(path);
	for (int i = 0; i < TRIES && p->fd < 0; i++) {
		usleep(10000);
		p->fd = try_connect(path);
	}
	p->from = p->fd < 0 ? NULL : fdopen(p->fd, "r");
	if (!p->from)
		err(1, "%s", path);
	gdb_peer_ask(p, "QStartNoAckMode");
}

void gdb_peer_close(struct gdb_peer *p)
{
	fclose(p->from);
}

/* An acknowledgement before it is passed over. */
static const char *receive(struct gdb_peer *p)
{
	size_t size = 0;
	int c;

	while ((c = fgetc(p->from)) != '$' && c != EOF)
		;
	while ((c = fgetc(p->from)) != '#' && c != EOF && size + 1 < sizeof(p->data))
		p->data[size++] = (char)c;
	p->data[size] = '\0';
	if (c != '#' || fgetc(p->from) == EOF || fgetc(p->from) == EOF)
		errx(1, "the debugger hung up");
	return p->data;
}

const char *gdb_peer_ask(struct gdb_peer *p, const char *packet)
{
	unsigned int sum = 0;

	for (const char *c = packet; *c; c++)
		sum += (unsigned char)*c;
	if (dprintf(p->fd, "$%s#%02x", packet, sum & 0xff) < 0)
		err(1, "%s", packet);
	return receive(p);
}

/* A part of the answer comes in a packet of its own, in hexadecimal behind an O. */
static void add_said(const char *data, char *said, size_t room)
{
	size_t n = strlen(said);

	for (data++; data[0] && data[1] && n + 1 < room; data += 2)
		said[n++] = (char)strtoul((char[]){data[0], data[1], '\0'}, NULL, 16);
	said[n] = '\0';
}

void gdb_peer_monitor(struct gdb_peer *p, const char *text, char *said, size_t room)
{
	char packet[200] = "qRcmd,";

	for (size_t i = 0; text[i] && 2 * i + 9 < sizeof(packet); i++)
		sprintf(packet + 6 + 2 * i, "%02x", (unsigned char)text[i]);
	if (said)
		*said = '\0';
	for (const char *data = gdb_peer_ask(p, packet); strcmp(data, "OK"); data = receive(p)) {
		if (*data != 'O')
			errx(1, "monitor %s: %s", text, data);
		if (said)
			add_said(data, said, room);
	}
}
