/*
 * 1. The connection and the session belong to the thread in gdb_server_serve() while the guest stands still, and to the watcher,
 *    under the lock, while it runs: `running` says whose they are, and changes under the lock alone.
 * 2. The watcher never calls the target but for interrupt(), and that once in a run, under the lock: so not once serve() has been
 *    entered. From then on it has nothing to watch until the next run.
 * 3. Points are put into the guest and taken out of it by the thread in serve() alone: who finds the connection lost while the
 *    guest runs only has it stopped.
 * 4. The watcher polls without the lock, with a descriptor that may be closed meanwhile and be another's: what it hears makes it
 *    look again, under the lock, and means nothing else.
 */
#include "replay/gdb_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "replay/gdb_link.h"
#include "replay/gdb_listener.h"
#include "replay/gdb_session.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/worker_thread.h"

#define WATCHER_STACK (64u << 10)

struct gdb_server {
	struct gdb_listener listener;
	struct gdb_link link;
	struct gdb_session session;
	int cancel_fd; /* eventfd, never read: cancelled for good */
	int wake_fd;   /* eventfd: the watcher is to look again */
	pthread_t watcher;
	pthread_mutex_t lock;
	bool running, closing;
	bool deaf; /* connections cannot be accepted now */
	atomic_bool interrupted;
};

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	/* It can only fail if it is readable already. */
	(void)!write(fd, &one, sizeof(one));
}

static bool connected(const struct gdb_server *g)
{
	return g->link.fd >= 0;
}

static void interrupt(struct gdb_server *g)
{
	atomic_store(&g->interrupted, true);
	g->session.target.ops->interrupt(g->session.target.target);
}

/* Takes a connection, if there is one still. */
static bool meets(struct gdb_server *g)
{
	int fd = gdb_listener_accept(&g->listener);

	g->deaf = fd < 0 && fd != -EAGAIN;
	if (fd >= 0)
		gdb_link_open(&g->link, fd);
	return fd >= 0;
}

static void look(struct gdb_server *g)
{
	if (!g->running || atomic_load(&g->interrupted))
		return;
	if (connected(g) ? gdb_link_stirs(&g->link) : !g->deaf && meets(g))
		interrupt(g);
}

/* What the watcher is to poll, -1 = nothing. */
static int watched_fd(const struct gdb_server *g)
{
	if (!g->running || atomic_load(&g->interrupted) || (g->deaf && !connected(g)))
		return -1;
	return connected(g) ? g->link.fd : g->listener.fd;
}

static void *watch(void *arg)
{
	struct gdb_server *g = arg;
	struct pollfd p[] = {{.events = POLLIN}, {.fd = g->wake_fd, .events = POLLIN}};
	uint64_t count;

	pthread_mutex_lock(&g->lock);
	while (!g->closing) {
		look(g);
		p[0].fd = watched_fd(g);
		pthread_mutex_unlock(&g->lock);
		poll(p, 2, -1);
		(void)!read(g->wake_fd, &count, sizeof(count));
		pthread_mutex_lock(&g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static void set_running(struct gdb_server *g, bool running)
{
	pthread_mutex_lock(&g->lock);
	g->running = running;
	pthread_mutex_unlock(&g->lock);
	if (running)
		signal_fd(g->wake_fd);
}

static void send_packet(void *to, const void *data, size_t size)
{
	struct gdb_server *g = to;

	if (connected(g))
		gdb_link_send(&g->link, data, size);
}

static int open_events(struct gdb_server *g)
{
	g->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->cancel_fd < 0)
		return log_errno(errno, "gdb: eventfd");
	g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->wake_fd >= 0)
		return 0;
	close(g->cancel_fd);
	return log_errno(errno, "gdb: eventfd");
}

static void close_events(struct gdb_server *g)
{
	close(g->cancel_fd);
	close(g->wake_fd);
}

static int start_watcher(struct gdb_server *g)
{
	int r = worker_thread_start(&g->watcher, WATCHER_STACK, false, watch, g);

	return r < 0 ? log_errno(-r, "gdb: a thread that watches the connection") : 0;
}

static int open_all(struct gdb_server *g, const char *where, const struct gdb_target *target)
{
	const struct gdb_sink sink = {send_packet, g};
	int r = gdb_session_create(&g->session, target, &sink);

	if (r < 0)
		return r;
	r = open_events(g);
	if (r < 0)
		goto no_events;
	gdb_link_init(&g->link, g->cancel_fd);
	r = gdb_listener_open(&g->listener, where);
	if (r < 0)
		goto no_listener;
	r = start_watcher(g);
	if (r == 0)
		return 0;
	gdb_listener_close(&g->listener);
no_listener:
	close_events(g);
no_events:
	gdb_session_destroy(&g->session);
	return r;
}

int gdb_server_open(struct gdb_server **server, const char *where, const struct gdb_target *target)
{
	struct gdb_server *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return log_errno(ENOMEM, "gdb: %s", where);
	pthread_mutex_init(&g->lock, NULL);
	r = open_all(g, where, target);
	if (r < 0) {
		pthread_mutex_destroy(&g->lock);
		free(g);
		return r;
	}
	log_print(LOG_WARN, "gdb: listening; in gdb: target remote %s", gdb_server_address(g));
	*server = g;
	return 0;
}

const char *gdb_server_address(const struct gdb_server *g)
{
	return g->listener.address;
}

/* Waits for a connection. Returns 0, -ECANCELED, or a logged -errno. */
static int meet(struct gdb_server *g)
{
	struct pollfd p[] = {{.fd = g->listener.fd, .events = POLLIN}, {.fd = g->cancel_fd, .events = POLLIN}};

	for (;;) {
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return log_errno(errno, "gdb: poll");
		if (p[1].revents)
			return -ECANCELED;
		fd = gdb_listener_accept(&g->listener);
		if (fd >= 0)
			gdb_link_open(&g->link, fd);
		if (fd != -EAGAIN)
			return fd < 0 ? fd : 0;
	}
}

int gdb_server_wait(struct gdb_server *g)
{
	ensure(!g->running);
	return connected(g) ? 0 : meet(g);
}

static void hang_up(struct gdb_server *g)
{
	gdb_link_close(&g->link);
	gdb_session_reset(&g->session);
}

static void acknowledge(struct gdb_server *g, char byte)
{
	if (!g->session.no_ack)
		gdb_link_send_byte(&g->link, byte);
}

static int answer_packet(struct gdb_server *g)
{
	const struct gdb_decoder *d = &g->link.decoder;
	int how;

	acknowledge(g, '+');
	how = gdb_session_answer(&g->session, d->data, d->size);
	if (how == GDB_DETACH)
		hang_up(g);
	return how;
}

/* gdb sends again what was damaged, but not where it was told that nothing ever is. */
static void refuse_damaged(struct gdb_server *g)
{
	if (g->session.no_ack)
		gdb_session_refuse(&g->session, -EBADMSG);
	else
		gdb_link_send_byte(&g->link, '-');
}

static int answer(struct gdb_server *g)
{
	switch (gdb_link_next(&g->link)) {
	case -ECANCELED: return GDB_GONE;
	case -ECONNRESET: hang_up(g); break;
	case GDB_INPUT_PACKET: return answer_packet(g);
	case GDB_INPUT_NACK:
		if (!g->session.no_ack)
			gdb_link_send_again(&g->link);
		break;
	case GDB_INPUT_DAMAGED: refuse_damaged(g); break;
	case GDB_INPUT_TOO_LARGE:
		acknowledge(g, '+');
		gdb_session_refuse(&g->session, -E2BIG);
		break;
	default: break;
	}
	return GDB_STANDS;
}

static bool is_cancelled(const struct gdb_server *g)
{
	struct pollfd p = {.fd = g->cancel_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

enum gdb_resume gdb_server_serve(struct gdb_server *g, const struct gdb_stop *why)
{
	int how = GDB_STANDS;

	ensure(why->kind < GDB_STOP_EXITED);
	set_running(g, false);
	if (is_cancelled(g))
		how = GDB_GONE;
	else if (gdb_session_stopped(&g->session, why, atomic_load(&g->interrupted)))
		how = GDB_STEP;
	while (how == GDB_STANDS) {
		if (connected(g))
			how = answer(g);
		else if (meet(g) < 0)
			how = GDB_GONE;
	}
	atomic_store(&g->interrupted, false);
	g->deaf = false;
	set_running(g, how != GDB_KILL && how != GDB_GONE);
	return (enum gdb_resume)how;
}

bool gdb_server_interrupted(const struct gdb_server *g)
{
	return atomic_load(&g->interrupted);
}

void gdb_server_cancel(struct gdb_server *g)
{
	signal_fd(g->cancel_fd);
}

static void stop_watcher(struct gdb_server *g)
{
	pthread_mutex_lock(&g->lock);
	g->closing = true;
	pthread_mutex_unlock(&g->lock);
	signal_fd(g->wake_fd);
	pthread_join(g->watcher, NULL);
}

void gdb_server_close(struct gdb_server *g, const struct gdb_stop *end)
{
	if (!g)
		return;
	ensure(!end || end->kind == GDB_STOP_EXITED || end->kind == GDB_STOP_KILLED);
	stop_watcher(g);
	/* From here on nothing waits for the other end to take what is sent. */
	gdb_server_cancel(g);
	if (end)
		gdb_session_stopped(&g->session, end, true);
	gdb_link_close(&g->link);
	gdb_listener_close(&g->listener);
	close_events(g);
	gdb_session_destroy(&g->session);
	pthread_mutex_destroy(&g->lock);
	free(g);
}
