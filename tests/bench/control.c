#include "tests/bench/control.h"

#include <err.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/stopwatch.h"

#define PATIENCE_MS 60000
#define ANSWER_MAX (1u << 20)

int control_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	for (int ms = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)); ms += 5) {
		if (ms >= PATIENCE_MS)
			err(1, "%s", path);
		stopwatch_pause_ms(5);
	}
	return fd;
}

static void send_line(int fd, const char *request)
{
	struct iovec parts[] = {{(void *)(uintptr_t)request, strlen(request)}, {(void *)(uintptr_t)"\n", 1}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};

	if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)(parts[0].iov_len + 1))
		err(1, "control socket");
}

static void receive_line(int fd, char *line)
{
	size_t size = 0;

	while (size < ANSWER_MAX - 1) {
		ssize_t n = read(fd, line + size, ANSWER_MAX - 1 - size);

		if (n <= 0)
			errx(1, "the control socket was closed: a guest has ended too soon");
		size += (size_t)n;
		if (line[size - 1] == '\n')
			break;
	}
	line[size] = '\0';
}

json_t *control_ask(int fd, const char *request)
{
	static char line[ANSWER_MAX];
	json_t *answer;

	send_line(fd, request);
	receive_line(fd, line);
	answer = json_loads(line, 0, NULL);
	if (!answer || !json_is_true(json_object_get(answer, "ok")))
		errx(1, "'%s' was answered with '%.200s'", request, line);
	return answer;
}

void control_tell(int fd, const char *request)
{
	json_decref(control_ask(fd, request));
}
