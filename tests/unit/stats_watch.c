/*
 * `ctl stats --watch` with a run that is none: it answers, drops the client when it likes, and ends. What it looks like is
 * stats_table.c's; a real run is tests/vm/stats_watch.c's.
 */
#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/vm/suite.h"
#include "vmm/control_socket.h"
#include "vmm/program.h"
#include "vmm/stats_watch.h"

static int asked = -1; /* where the run says that a request has come */
static char directory[] = "/tmp/penumbra-watch.XXXXXX", path[60];

/* Answers so many times on each connection, one after the other; 0 ends it. A client that has gone, or without `answer`: it just stays. */
static void serve(const struct control_socket *s, const char *answer, const unsigned int *times)
{
	char request[6];

	for (; *times; times++) {
		int fd;

		do
			fd = accept(s->fd, NULL, NULL);
		while (fd < 0 && usleep(1000) == 0);
		for (unsigned int i = 0; i < *times; i++) {
			ssize_t n = recv(fd, request, 6, MSG_WAITALL);

			if (n > 0 && (n != 6 || memcmp(request, "stats\n", 6)))
				_exit(1);
			if (n > 0)
				(void)!write(asked, "", 1);
			if (n <= 0 || !answer)
				pause();
			(void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
		}
		close(fd);
	}
}

static pid_t start_server(const char *answer, const unsigned int *times)
{
	struct control_socket s;
	pid_t child;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/socket", directory);
	ck_assert_int_eq(control_socket_listen(&s, path), 0);
	child = fork();
	if (child) {
		close(s.fd);
		return child;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	serve(&s, answer, times);
	control_socket_close(&s);
	_exit(0);
}

static void end_server(pid_t child, int wanted)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), wanted);
	unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* With this as standard output. */
static int watch_into(int fd, unsigned int ms)
{
	int saved = dup(STDOUT_FILENO), status;

	fflush(stdout);
	ck_assert_int_ge(dup2(fd, STDOUT_FILENO), 0);
	status = stats_watch(path, ms);
	fflush(stdout);
	ck_assert_int_ge(dup2(saved, STDOUT_FILENO), 0);
	close(saved);
	return status;
}

#define GUESTS "[{\"number\":0,\"ended\":{\"how\":\"running\"},\"mmu_now\":\"ept\",\"exits\":{\"io\":5},\"wall_us\":1}]"
#define ANSWER "{\"ok\":true,\"guests\":" GUESTS "}\n"

/* Dropped between and after answers: it goes on while the run is there. */
START_TEST(test_lines)
{
	pid_t server = start_server(ANSWER, (unsigned int[]){1, 3, 1, 0});
	int file = memfd_create("output", MFD_CLOEXEC);
	char text[2000] = "";

	ck_assert_int_eq(watch_into(file, 1), 0);
	ck_assert_int_gt((int)pread(file, text, sizeof(text) - 1, 0), 0);
	ck_assert_str_eq(text, GUESTS "\n" GUESTS "\n" GUESTS "\n" GUESTS "\n" GUESTS "\n");
	close(file);
	end_server(server, 0);
}
END_TEST

/* Each table is written over the last one, and the last one stays. */
START_TEST(test_terminal)
{
	static const char table[] = "guest mode     \033[K\r\n    0 ept      \033[K\r\n\033[J", back[] = "\r\033[2A";
	pid_t server = start_server(ANSWER, (unsigned int[]){2, 0});
	struct winsize size = {.ws_row = 10, .ws_col = 15};
	char text[500] = "", wanted[500];
	int master, slave;

	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
	ck_assert_int_eq(watch_into(slave, 1), 0);
	close(slave);
	for (size_t used = 0; used < sizeof(text) - 1;) {
		ssize_t n = read(master, text + used, sizeof(text) - 1 - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	snprintf(wanted, sizeof(wanted), "%s%s%s", table, back, table);
	ck_assert_str_eq(text, wanted);
	close(master);
	end_server(server, 0);
}
END_TEST

static void check_complaint(const char *answer, const unsigned int *times, const char *said)
{
	pid_t server = start_server(answer, times);
	struct capture c;
	int status;

	capture_begin(&c);
	status = stats_watch(path, 1);
	assert_one_line(capture_end(&c), said);
	ck_assert_int_eq(status, EXIT_BAD);
	end_server(server, 0);
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
}

START_TEST(test_complaints)
{
	struct capture c;

	check_complaint("{\"ok\":false,\"error\":\"because\"}\n", (unsigned int[]){1, 0}, ": because");
	check_complaint("nonsense\n", (unsigned int[]){1, 0}, "an answer that makes no sense");
	check_complaint("{\"ok\":true}\n", (unsigned int[]){1, 0}, "an answer that makes no sense");
	check_complaint("half an answ", (unsigned int[]){1, 0}, "the run ended before it answered");
	capture_begin(&c);
	ck_assert_int_eq(stats_watch("/nonexistent/socket", 1), EXIT_BAD);
	assert_one_line(capture_end(&c), "/nonexistent/socket: No such file");
}
END_TEST

START_TEST(test_output_refused)
{
	pid_t server = start_server(ANSWER, (unsigned int[]){1, 0});
	FILE *full = fopen("/dev/full", "w");
	struct capture c;

	capture_begin(&c);
	ck_assert_int_eq(watch_into(fileno(full), 1000), EXIT_BAD);
	assert_one_line(capture_end(&c), "ctl: standard output: No space left");
	fclose(full);
	end_server(server, 0);
}
END_TEST

/* By a signal, while it waits for an answer, and while it waits for the next time. */
START_TEST(test_interrupted)
{
	static const unsigned int times[] = {1000, 0};
	int file = memfd_create("output", MFD_CLOEXEC), status, ends[2];
	pid_t server, child;
	char byte;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	asked = ends[1];
	server = start_server(_i % 2 ? ANSWER : NULL, times);
	child = fork();
	if (!child)
		_exit(watch_into(file, 3600000));
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	while (_i % 2 && lseek(file, 0, SEEK_END) == 0)
		usleep(1000);
	kill(child, _i / 2 ? SIGTERM : SIGINT);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
	ck_assert_int_eq(lseek(file, 0, SEEK_END) > 0, _i % 2);
	close(file);
	close(ends[0]);
	close(ends[1]);
	kill(server, SIGKILL);
	end_server(server, -SIGKILL);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("stats-watch");

	tcase_add_test(tcase, test_lines);
	tcase_add_test(tcase, test_terminal);
	tcase_add_test(tcase, test_complaints);
	tcase_add_test(tcase, test_output_refused);
	tcase_add_loop_test(tcase, test_interrupted, 0, 4);
	tcase_set_timeout(tcase, 0);
	return run_case("stats-watch", tcase);
}
