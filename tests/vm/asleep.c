#include "tests/vm/asleep.h"

#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKS 3 /* that find all asleep, and as much time used as before */
#define LOOK_US 20000
#define PROGRAM "penumbra"

/* The content of /proc/PID/NAME; empty when that is gone. */
static void read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[340];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	file = fopen(path, "r");
	n = file ? fread(text, 1, size - 1, file) : 0;
	text[n] = '\0';
	if (file)
		fclose(file);
}

/* proc(5): the state follows the name in parentheses, utime and stime are the 12th and 13th word from there. */
static bool is_asleep(pid_t pid, const char *thread, uint64_t *ticks)
{
	char name[300], text[1000], *at;
	unsigned long user, system;

	snprintf(name, sizeof(name), "task/%s/stat", thread);
	read_proc(pid, name, text, sizeof(text));
	at = strrchr(text, ')');
	if (!at || sscanf(at, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user, &system) != 2)
		return true; /* it has ended */
	*ticks += user + system;
	return at[2] != 'R' && at[2] != 'D';
}

static bool all_asleep(pid_t pid, uint64_t *ticks)
{
	bool asleep = true;
	struct dirent *e;
	char path[60];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	ck_assert_msg(d != NULL, "%s: the child is gone", path);
	while ((e = readdir(d)))
		asleep &= *e->d_name == '.' || is_asleep(pid, e->d_name, ticks);
	closedir(d);
	return asleep;
}

void await_asleep(const struct child *c)
{
	uint64_t last = 0;

	for (int looks = 0; looks < LOOKS;) {
		uint64_t ticks = 0;
		bool asleep = all_asleep(c->pid, &ticks);

		looks = asleep && ticks == last ? looks + 1 : 0;
		last = ticks;
		ck_assert_msg(monotonic_ns() < c->deadline_ns, "the program does not come to rest");
		usleep(LOOK_US);
	}
}

static bool has_signal(const char *status, const char *field, int signal)
{
	const char *at = strstr(status, field);

	return at && (strtoull(at + strlen(field), NULL, 16) >> (signal - 1) & 1);
}

void await_signal_ready(const struct child *c, int signal)
{
	for (;;) {
		char status[4000];

		/* Before it is the program, the child is a copy of the test, which has its signals blocked for a while. */
		read_proc(c->pid, "status", status, sizeof(status));
		if (!strncmp(status, "Name:\t" PROGRAM "\n", strlen("Name:\t" PROGRAM "\n")) &&
		    (has_signal(status, "\nSigBlk:", signal) || has_signal(status, "\nSigCgt:", signal)))
			return;
		ck_assert_msg(!child_has_ended(c), "the program ended at once");
		ck_assert_msg(monotonic_ns() < c->deadline_ns, "the program does not get ready");
		usleep(2000);
	}
}
