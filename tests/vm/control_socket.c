/* The file that is the control socket: whose it is, where it can be; and `ctl` when there is no run behind it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/vm/control_client.h"
#include "tests/vm/suite.h"

START_TEST(test_stale_socket)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	struct outcome o;
	char line[200];

	kill(c.pid, SIGKILL);
	end_child(&c, SPAWN_SIGNAL + SIGKILL);
	ck_assert(is_there(p.path));
	assert_ctl_refused(p.path, "stats", p.path, "no run listens");
	snprintf(line, sizeof(line), "run --control %s @hello", p.path);
	o = spawn_line(line, NULL);
	assert_outcome(&o, 0, "hello, world\n", "in place of a stale socket");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

static void assert_run_refused(const char *path, const char *why)
{
	char line[500];
	struct outcome o;

	snprintf(line, sizeof(line), "run --control=%s @hello", path);
	o = spawn_line(line, NULL);
	assert_complaint(&o, 125, path, why, path);
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}

/* What is there already stays as it is. */
START_TEST(test_bad_places)
{
	static const char precious[] = "precious\n";
	char content[20] = "", long_path[200];
	struct place p = make_place();
	FILE *file = fopen(p.path, "w");
	struct child c;

	fputs(precious, file);
	fclose(file);
	assert_run_refused(p.path, "already");
	file = fopen(p.path, "r");
	ck_assert_ptr_nonnull(fgets(content, sizeof(content), file));
	fclose(file);
	ck_assert_str_eq(content, precious);
	assert_ctl_refused(p.path, "stats", p.path, NULL);
	unlink(p.path);
	assert_run_refused(p.directory, "already");
	assert_run_refused("/tmp/penumbra-no-such-directory/socket", "No such file or directory");
	assert_run_refused("", "name of a file");
	memset(long_path, 'x', sizeof(long_path));
	memcpy(long_path, "/tmp/", 5);
	long_path[108] = '\0';
	assert_run_refused(long_path, "107 bytes");
	assert_ctl_refused(long_path, "stats", "107 bytes", NULL);
	ck_assert_int_eq(symlink("nowhere", p.path), 0);
	assert_run_refused(p.path, "already");
	unlink(p.path);
	c = start_run(&p, "@echo");
	assert_run_refused(p.path, "another run listens");
	ask_ok(&p, "stats");
	quit(&p, &c, "bad places");
	leave_place(&p);
}
END_TEST

START_TEST(test_permissions)
{
	struct place p = make_place();
	mode_t old = umask(0);
	struct child c = start_run(&p, "@echo");
	struct stat st;

	umask(old);
	ck_assert_int_eq(lstat(p.path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
	quit(&p, &c, "permissions");
	leave_place(&p);
}
END_TEST

/* Somebody removes the socket, another run makes one in its place: that is not the first one's to remove. */
START_TEST(test_replaced_socket)
{
	struct place p = make_place();
	struct child first = start_run(&p, "@echo"), second;

	unlink(p.path);
	second = start_run(&p, "@echo");
	kill(first.pid, SIGTERM);
	end_child(&first, 130);
	ck_assert_msg(is_there(p.path), "another run's socket was removed");
	quit(&p, &second, "replaced");
	leave_place(&p);
}
END_TEST

START_TEST(test_longest_name)
{
	struct place p = make_place();
	struct child c;
	char line[300], path[108];
	struct outcome o;
	int fd;

	memset(path, 'x', sizeof(path));
	memcpy(path, p.directory, strlen(p.directory));
	path[strlen(p.directory)] = '/';
	path[107] = '\0';
	snprintf(line, sizeof(line), "run --control %s @echo", path);
	c = child_start(&(struct spawn){.line = line});
	while ((fd = try_connect(path)) < 0)
		usleep(1000);
	close(fd);
	o = ctl(path, "quit");
	assert_outcome(&o, 0, "", "the longest name");
	outcome_free(&o);
	end_child(&c, 130);
	leave_place(&p);
}
END_TEST

/* Another program in the place of a run, which says this and goes. */
static void serve(int listener, const char *words)
{
	int fd = accept(listener, NULL, NULL);
	char request[100];

	ck_assert_int_ge(fd, 0);
	if (words) {
		ck_assert_int_gt(receive(fd, request, sizeof(request)), 0);
		send_text(fd, words, strlen(words));
	}
	close(fd);
}

START_TEST(test_ctl_errors)
{
	static const struct {
		const char *words, *complaint;
	} cases[] = {{NULL, "the run ended before it answered"},
		     {"", "the run ended before it answered"},
		     {"\n", "an answer that makes no sense"},
		     {"[]\n", "an answer that makes no sense"},
		     {"{\"ok\": 7, \"error\": {}}\n", "an answer that makes no sense"},
		     {"{\"ok\": false, \"error\": \"be\\u0007ep\"}\n", "be?ep"}};
	struct place p = make_place();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct outcome o;
	char line[200];

	assert_ctl_refused(p.path, "stats", p.path, "No such file or directory");
	strcpy(address.sun_path, p.path);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_ctl_refused(p.path, "stats", p.path, "no run listens");
	listen(listener, 5);
	snprintf(line, sizeof(line), "ctl %s stats", p.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct child c = child_start(&(struct spawn){.line = line});

		serve(listener, cases[i].words);
		o = child_end(&c);
		assert_complaint(&o, 125, cases[i].complaint, p.path, "an odd answer");
		outcome_free(&o);
	}
	close(listener);
	unlink(p.path);
	o = spawn_line("ctl", NULL);
	assert_complaint(&o, 125, "ctl", "--help", "no words");
	outcome_free(&o);
	o = spawn_line("ctl socket", NULL);
	assert_complaint(&o, 125, "ctl", "--help", "no request");
	outcome_free(&o);
	o = spawn_line("ctl  stats", NULL);
	assert_complaint(&o, 125, "name is empty", NULL, "an empty name");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_stale_socket, test_bad_places, test_permissions, test_replaced_socket,
		test_longest_name, test_ctl_errors,
	};

	return RUN_TESTS("control_socket", tests);
}
