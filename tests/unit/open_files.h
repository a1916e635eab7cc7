/* How many files this process has open, for tests that nothing is left open. */
#pragma once

#include <check.h>
#include <dirent.h>

static inline int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}
