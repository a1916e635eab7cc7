/*
 * What made-up hosts let a process have: with and without control groups, and with files that say nothing.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dedup/host_room.h"
#include "tests/vm/suite.h"

#define FILES_MOST 8

static const struct host {
	const char *what;
	uint64_t room;
	struct {
		const char *path, *text;
	} file[FILES_MOST];
} hosts[] = {
	{"nothing", UINT64_MAX, {{"/proc/other", ""}}},
	{"no groups", 2048, {{"/proc/meminfo", "MemTotal:  9 kB\nMemAvailable:       2 kB\nSwap: 7 kB\n"}}},
	{"version 1", 2048, {{"/proc/meminfo", "MemAvailable: 2 kB\n"}, {"/proc/self/cgroup", "4:memory:/a\n"},
			     {"/sys/fs/cgroup/a/memory.max", "1\n"}, {"/sys/fs/cgroup/a/memory.current", "0\n"}}},
	{"no limit", 2048, {{"/proc/meminfo", "MemAvailable: 2 kB\n"}, {"/proc/self/cgroup", "0::/\n"},
			    {"/sys/fs/cgroup/memory.max", "max\n"}, {"/sys/fs/cgroup/memory.current", "10\n"}}},
	{"a limit", 700, {{"/proc/meminfo", "MemAvailable: 2 kB\n"}, {"/proc/self/cgroup", "1:cpu:/\n0::/\n"},
			  {"/sys/fs/cgroup/memory.max", "1000\n"}, {"/sys/fs/cgroup/memory.current", "300\n"}}},
	{"more than there is", 2048, {{"/proc/meminfo", "MemAvailable: 2 kB\n"}, {"/proc/self/cgroup", "0::/\n"},
				      {"/sys/fs/cgroup/memory.max", "9000\n"}, {"/sys/fs/cgroup/memory.current", "300\n"}}},
	{"what can be given up", 900, {{"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "1000\n"},
				       {"/sys/fs/cgroup/a/memory.current", "300\n"},
				       {"/sys/fs/cgroup/a/memory.stat", "anon 100\ninactive_file 200\nactive_file 1\n"}}},
	{"the outer one", 50, {{"/proc/self/cgroup", "0::/a/b/c\n"}, {"/sys/fs/cgroup/a/memory.max", "1000\n"},
			       {"/sys/fs/cgroup/a/memory.current", "950\n"}, {"/sys/fs/cgroup/a/b/c/memory.max", "500\n"},
			       {"/sys/fs/cgroup/a/b/c/memory.current", "300\n"}}},
	{"the inner one", 200, {{"/proc/self/cgroup", "0::/a/b/c\n"}, {"/sys/fs/cgroup/a/memory.max", "10000\n"},
				{"/sys/fs/cgroup/a/memory.current", "950\n"}, {"/sys/fs/cgroup/a/b/c/memory.max", "500\n"},
				{"/sys/fs/cgroup/a/b/c/memory.current", "300\n"}}},
	{"used up", 0, {{"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "1000\n"},
			{"/sys/fs/cgroup/a/memory.current", "1001\n"}}},
	{"nonsense", UINT64_MAX, {{"/proc/meminfo", "MemAvailable: much\n"}, {"/proc/self/cgroup", "0::\n"},
				  {"/sys/fs/cgroup/memory.max", "-\n"}, {"/sys/fs/cgroup/memory.current", "\n"}}},
};

static void make_file(const char *root, const char *path, const char *text)
{
	char full[300];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *c = full + strlen(root) + 1; (c = strchr(c, '/')); c++) {
		*c = '\0';
		mkdir(full, 0700);
		*c = '/';
	}
	f = fopen(full, "we");
	ck_assert_msg(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", full);
}

START_TEST(made_up)
{
	const struct host *h = &hosts[_i];
	char root[] = "/tmp/penumbra-room.XXXXXX", command[60];
	uint64_t room;

	ck_assert_ptr_nonnull(mkdtemp(root));
	for (unsigned int i = 0; i < FILES_MOST && h->file[i].path; i++)
		make_file(root, h->file[i].path, h->file[i].text);
	room = host_room(root);
	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
	ck_assert_msg(room == h->room, "%s: %" PRIu64, h->what, room);
}
END_TEST

/* Whatever this host is, some memory is left. */
START_TEST(this_one)
{
	ck_assert_uint_gt(host_room(""), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("host_room");

	tcase_add_loop_test(tcase, made_up, 0, sizeof(hosts) / sizeof(*hosts));
	tcase_add_test(tcase, this_one);
	return run_case("host_room", tcase);
}
