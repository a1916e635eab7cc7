#include "tests/vm/solo5_bench.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void make_bench(struct bench *b, size_t bytes)
{
	int pair[2], fd;

	strcpy(b->disk, "/tmp/penumbra-disk-XXXXXX");
	fd = mkstemp(b->disk);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	/* Without CLOEXEC: the program inherits it. */
	ck_assert_int_eq(dup2(pair[1], NET_FD), NET_FD);
	close(pair[1]);
	b->net = pair[0];
}

void give_away(void)
{
	close(NET_FD);
}

void leave_bench(struct bench *b)
{
	unlink(b->disk);
	close(b->net);
	close(NET_FD);
}

char *line_of(const struct bench *b, const char *options, const char *words)
{
	char *line;

	ck_assert_int_ge(asprintf(&line, "run --block:storage=%s --net:service=@%d --net-mac:service=02:00:00:00:0a:0B%s%s "
				  "@solo5-devices -- %s", b->disk, NET_FD, *options ? " " : "", options, words), 0);
	return line;
}

void exchange(const struct bench *b, unsigned int number, size_t size)
{
	uint8_t frame[FRAME_MAX], back[FRAME_MAX + 1];

	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)(i * 7 + number);
	ck_assert_int_eq(send(b->net, frame, size, MSG_NOSIGNAL), (ssize_t)size);
	ck_assert_int_eq(recv(b->net, back, sizeof(back), 0), (ssize_t)size);
	ck_assert_mem_eq(back, frame + 6, 6);
	ck_assert_mem_eq(back + 6, frame, 6);
	ck_assert_mem_eq(back + 12, frame + 12, size - 12);
}
