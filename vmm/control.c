#include "vmm/control.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/control_request.h"

#define REST_MS 100

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* The slot stays taken while a request is under way. */
static void drop(struct control_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->answer);
	client->fd = -1;
	client->used = 0;
	client->answer = NULL;
}

static void send_some(struct control_client *client)
{
	ssize_t n = send(client->fd, client->answer + client->sent, client->size - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		drop(client);
	if (n < 0)
		return;
	client->sent += (size_t)n;
	if (client->sent < client->size)
		return;
	free(client->answer);
	client->answer = NULL;
}

/* Takes the answer over. */
static void answer(struct control_client *client, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(json);
	if (client->fd < 0 || !text) {
		free(text);
		drop(client);
		return;
	}
	client->seen_ns = host_ns();
	client->answer = text;
	client->size = strlen(text) + 1;
	client->sent = 0;
	text[client->size - 1] = '\n'; /* in place of the NUL */
	send_some(client);
}

static void finish_request(struct control_client *client)
{
	struct control_request *r = client->request;

	if (!r || !control_request_done(r))
		return;
	client->request = NULL;
	answer(client, control_request_answer(r));
	control_request_free(r);
}

/* Moves the first whole line out of the buffer. A line that is too long or has a NUL in it is no client of ours. */
static bool take_line(struct control_client *client, char line[CONTROL_MAX_LINE])
{
	char *end = memchr(client->line, '\n', client->used);
	size_t size;

	if (!end && client->used == sizeof(client->line))
		drop(client);
	if (!end)
		return false;
	size = (size_t)(end - client->line);
	memcpy(line, client->line, size);
	line[size] = '\0';
	client->used -= size + 1;
	memmove(client->line, end + 1, client->used);
	if (strlen(line) == size)
		return true;
	drop(client);
	return false;
}

static void start_request(struct control *c, struct control_client *client, char *line)
{
	const char *error;

	client->request = control_request_start(line, c->fleet, c->program, &error);
	if (!client->request)
		answer(client, control_request_failure(error));
}

/* Goes on as far as it gets: the next line waits until the one before has been answered and the answer been taken. */
static void proceed(struct control *c, struct control_client *client)
{
	char line[CONTROL_MAX_LINE];

	finish_request(client);
	while (!client->request && !client->answer && take_line(client, line)) {
		start_request(c, client, line);
		finish_request(client);
	}
}

static void receive(struct control_client *client)
{
	ssize_t n = recv(client->fd, client->line + client->used, sizeof(client->line) - client->used, MSG_DONTWAIT);

	if (n > 0)
		client->used += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		drop(client);
}

/* A free slot, or one whose client may go; NULL if there is none. */
static const struct control_client *find_slot(const struct control *c)
{
	uint64_t long_ago = host_ns() - CONTROL_SILENCE_MS * 1000000ull;
	const struct control_client *found = NULL;

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		const struct control_client *client = &c->clients[i];

		if (client->request)
			continue;
		if (client->fd < 0)
			return client;
		if (client->seen_ns < long_ago && (!found || client->seen_ns < found->seen_ns))
			found = client;
	}
	return found;
}

static void accept_client(struct control *c)
{
	const struct control_client *slot = find_slot(c);
	int fd;

	if (!slot)
		return;
	fd = accept4(c->socket.fd, NULL, NULL, SOCK_CLOEXEC);
	c->resting = fd < 0;
	if (fd < 0)
		return;
	drop(&c->clients[slot - c->clients]);
	c->clients[slot - c->clients] = (struct control_client){.fd = fd, .seen_ns = host_ns()};
}

static struct pollfd poll_client(const struct control *c, const struct control_client *client)
{
	return (struct pollfd){.fd = c->on && !client->request ? client->fd : -1, .events = client->answer ? POLLOUT : POLLIN};
}

int control_poll(const struct control *c, struct pollfd *fds)
{
	bool listening = c->on && !c->resting && find_slot(c);

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		fds[i] = poll_client(c, &c->clients[i]);
	fds[CONTROL_MAX_CLIENTS] = (struct pollfd){.fd = listening ? c->socket.fd : -1, .events = POLLIN};
	return c->on && !listening ? REST_MS : -1;
}

void control_handle(struct control *c, const struct pollfd *fds)
{
	if (!c->on)
		return;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_client *client = &c->clients[i];

		if (fds[i].fd >= 0 && fds[i].revents) {
			client->seen_ns = host_ns();
			if (client->answer)
				send_some(client);
			else
				receive(client);
		}
		proceed(c, client);
	}
	c->resting = false;
	if (fds[CONTROL_MAX_CLIENTS].revents)
		accept_client(c);
}

int control_init(struct control *c, const char *path, const struct program *p, struct fleet *f)
{
	int r;

	*c = (struct control){.program = p, .fleet = f};
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		c->clients[i].fd = -1;
	r = path ? control_socket_listen(&c->socket, path) : 0;
	c->on = path && r == 0;
	return r;
}

bool control_busy(const struct control *c)
{
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].request && !control_request_done(c->clients[i].request))
			return true;
	return false;
}

void control_destroy(struct control *c)
{
	if (!c->on)
		return;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		finish_request(&c->clients[i]);
		drop(&c->clients[i]);
	}
	control_socket_close(&c->socket);
}
