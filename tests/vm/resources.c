#include "tests/vm/resources.h"

#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/sanitized.h"

#define PATIENCE 3000 /* times 10 ms */

/* Threads' stacks are not kept for the next thread; one arena, which does not grow with the threads. */
#define TUNABLES "glibc.pthread.stack_cache_size=0:glibc.malloc.arena_max=1"

void resources_prepare(char **argv)
{
	const char *now = getenv("GLIBC_TUNABLES");

	if (now && !strcmp(now, TUNABLES))
		return;
	setenv("GLIBC_TUNABLES", TUNABLES, 1);
	execv("/proc/self/exe", argv);
	perror("/proc/self/exe");
	exit(1);
}

static int count_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int count_fds(char *list, size_t size)
{
	DIR *d = opendir("/proc/self/fd");
	char path[300], target[200];
	size_t used = 0;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
		ssize_t length;

		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(d))
			continue;
		n++;
		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = '\0';
		if (used < size)
			used += (size_t)snprintf(list + used, size - used, " %s=%s", e->d_name, target);
	}
	closedir(d);
	return n;
}

static int count_lines(const char *path, const char *start)
{
	FILE *f = fopen(path, "re");
	char line[600];
	int n = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		n += !strncmp(line, start, strlen(start));
	fclose(f);
	return n;
}

/* The heap and the stack grow as they like and are one mapping each; they are left out. */
static void count_maps(struct resources *r)
{
	FILE *f = fopen("/proc/self/maps", "re");
	uint64_t start, end;
	char line[600];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "[heap]") || strstr(line, "[stack]") ||
		    sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) != 2)
			continue;
		r->maps++;
		r->map_kib += (long)((end - start) >> 10);
	}
	fclose(f);
}

struct resources resources_now(void)
{
	struct resources r = {.threads = count_threads(), .timers = count_lines("/proc/self/timers", "ID:")};

	if (SANITIZED)
		r.maps = -1;
	else
		count_maps(&r);
	r.fds = count_fds(r.fd_list, sizeof(r.fd_list));
	return r;
}

static bool same(const struct resources *a, const struct resources *b)
{
	return a->fds == b->fds && a->threads == b->threads && a->timers == b->timers && a->maps == b->maps &&
	       a->map_kib == b->map_kib;
}

void assert_resources_back(const struct resources *before, const char *what)
{
	struct resources now = resources_now();

	for (int i = 0; i < PATIENCE && !same(before, &now); i++) {
		usleep(10000);
		now = resources_now();
	}
	ck_assert_msg(same(before, &now),
		      "%s: descriptors %d, now %d; threads %d, now %d; timers %d, now %d; mappings %d of %ld KiB, now %d of "
		      "%ld KiB. Descriptors are%s",
		      what, before->fds, now.fds, before->threads, now.threads, before->timers, now.timers, before->maps,
		      before->map_kib, now.maps, now.map_kib, now.fd_list);
}
