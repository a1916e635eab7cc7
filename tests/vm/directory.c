#include "tests/vm/directory.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/spawn.h"

void make_file(const char *path, const void *bytes, size_t size, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

void enter_directory(char *path, size_t size)
{
	const char *base = getenv("TMPDIR");

	snprintf(path, size, "%s/penumbra-vm.XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(chdir(path), 0);
}

void leave_directory(const char *path, const char *const *names)
{
	for (; *names; names++) {
		if (unlink(*names) && errno == EISDIR)
			rmdir(*names);
	}
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(rmdir(path) == 0, "%s: the program left something there", path);
}

void copy_image(const char *name, const char *to, size_t limit)
{
	char *from = build_path(name), *bytes = malloc(limit);
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_ptr_nonnull(bytes);
	ck_assert_msg(fd >= 0, "%s: %s", from, strerror(errno));
	n = read(fd, bytes, limit);
	ck_assert_int_gt(n, 0);
	make_file(to, bytes, (size_t)n, 0755);
	close(fd);
	free(bytes);
	free(from);
}
