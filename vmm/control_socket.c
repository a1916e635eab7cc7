#include "vmm/control_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/log.h"

#define BACKLOG 128

/* An empty path would be a name in the abstract namespace, which every user of the machine may connect to. */
static int set_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path)
		return log_errno(ENOENT, "the socket's name is empty");
	if (strlen(path) >= sizeof(address->sun_path))
		return log_bad(ENAMETOOLONG, "%s: a socket's name may have at most %zu bytes", path,
			       sizeof(address->sun_path) - 1);
	strcpy(address->sun_path, path);
	return 0;
}

static int make(int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	return fd < 0 ? log_errno(errno, "socket") : fd;
}

/* True if a socket file is there that nobody listens on. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, r;

	if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	/* A listener whose queue is full must not hold us. */
	fd = make(SOCK_NONBLOCK);
	if (fd < 0)
		return false;
	r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	return r == ECONNREFUSED;
}

static int bind_and_listen(struct control_socket *s, const struct sockaddr_un *address)
{
	mode_t old = umask(0177);
	int r = bind(s->fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	struct stat st;

	umask(old);
	if (r)
		return r;
	if (lstat(address->sun_path, &st) || listen(s->fd, BACKLOG)) {
		r = errno;
		unlink(address->sun_path);
		return r;
	}
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return 0;
}

/* Why a name is taken. Returns the error, logged. */
static int log_taken(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return log_bad(EADDRINUSE, "%s: socket: another run listens there; name another socket", path);
	return log_bad(EADDRINUSE, "%s: socket: there is a file already that is none; name another", path);
}

int control_socket_listen(struct control_socket *s, const char *path)
{
	struct sockaddr_un address;
	int r = set_address(&address, path);

	if (r < 0)
		return r;
	*s = (struct control_socket){.path = path};
	s->fd = make(SOCK_NONBLOCK);
	if (s->fd < 0)
		return s->fd;
	if (is_stale(&address))
		unlink(path);
	r = bind_and_listen(s, &address);
	if (r == 0)
		return 0;
	close(s->fd);
	if (r == EADDRINUSE)
		return log_taken(path);
	return log_errno(r, "%s: socket", path);
}

void control_socket_close(struct control_socket *s)
{
	struct stat st;

	close(s->fd);
	if (lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
		unlink(s->path);
}

/* *error: why the connection was refused, 0 = what failed has been logged. */
static int try_connect(const char *path, int *error)
{
	struct sockaddr_un address;
	int fd, r = set_address(&address, path);

	*error = 0;
	if (r < 0)
		return r;
	fd = make(0);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	*error = errno;
	close(fd);
	return -*error;
}

int control_socket_connect(const char *path)
{
	int error, fd = try_connect(path, &error);

	if (error == ECONNREFUSED)
		return log_bad(error, "%s: no run listens there", path);
	return error ? log_errno(error, "%s", path) : fd;
}

int control_socket_reconnect(const char *path)
{
	int error;

	return try_connect(path, &error);
}
