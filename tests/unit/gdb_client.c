#include "tests/unit/gdb_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/expect.h"

static int connect_unix(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int connect_tcp(const char *address)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_msg(!strncmp(address, "127.0.0.1:", 10), "listens at %s", address);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)atoi(address + 10));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

void client_open(struct gdb_client *c, const char *address)
{
	*c = (struct gdb_client){.acks = true};
	c->fd = *address == '/' ? connect_unix(address) : connect_tcp(address);
}

void client_close(struct gdb_client *c)
{
	close(c->fd);
}

void client_send_raw(struct gdb_client *c, const void *bytes, size_t size)
{
	expect(send(c->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
}

size_t client_make(char *to, const void *data, size_t size)
{
	const unsigned char *p = data;
	unsigned int sum = 0;
	char end[4];

	for (size_t i = 0; i < size; i++)
		sum += p[i];
	snprintf(end, sizeof(end), "#%02x", sum % 256);
	*to = '$';
	memcpy(to + 1, data, size);
	memcpy(to + 1 + size, end, 3);
	return size + 4;
}

void client_send(struct gdb_client *c, const void *data, size_t size)
{
	char *packet = malloc(size + 4);

	client_send_raw(c, packet, client_make(packet, data, size));
	free(packet);
}

int client_receive_byte(struct gdb_client *c)
{
	unsigned char byte;
	ssize_t n;

	do
		n = recv(c->fd, &byte, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 ? byte : -1;
}

static int must_receive(struct gdb_client *c)
{
	int byte = client_receive_byte(c);

	expect_msg(byte >= 0, "the server hung up");
	return byte;
}

const char *client_receive(struct gdb_client *c)
{
	unsigned int sum = 0;
	char sent[3] = "";
	int byte = must_receive(c);

	expect_msg(byte == '$', "no packet but '%c'", byte);
	for (c->size = 0; (byte = must_receive(c)) != '#'; c->size++) {
		expect_msg(byte != '$' && byte != '*', "'%c' is not escaped", byte);
		sum += (unsigned int)byte;
		if (byte == '}') {
			byte = must_receive(c);
			sum += (unsigned int)byte;
			byte ^= 0x20;
		}
		expect(c->size < sizeof(c->data) - 1);
		c->data[c->size] = (char)byte;
	}
	c->data[c->size] = '\0';
	sent[0] = (char)must_receive(c);
	sent[1] = (char)must_receive(c);
	expect_eq(strtoul(sent, NULL, 16), sum % 256);
	if (c->acks)
		client_send_raw(c, "+", 1);
	return c->data;
}

const char *client_ask(struct gdb_client *c, const char *text)
{
	client_send(c, text, strlen(text));
	if (c->acks)
		expect_eq(must_receive(c), '+');
	return client_receive(c);
}

void client_stop_acks(struct gdb_client *c)
{
	expect_answer(c, "QStartNoAckMode", "OK");
	c->acks = false;
}
