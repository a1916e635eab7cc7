#include "snapshot/target.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/image_files.h"
#include "snapshot/reason.h"

static void forget(struct target *t)
{
	close(t->fd);
	free(t->path);
	free(t->partial);
	*t = (struct target){.fd = -1};
}

static int open_directory(struct target *t, struct reason *why)
{
	struct stat st;

	if (lstat(t->path, &st) == 0)
		return reason_give(why, EEXIST, "%s: there is something of that name already", t->path);
	if (!mkdtemp(t->partial))
		return reason_errno(why, errno, "%s: make a directory beside it", t->path);
	t->fd = open(t->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd >= 0)
		return 0;
	reason_errno(why, errno, "%s", t->partial);
	rmdir(t->partial);
	return -EIO;
}

int target_create(struct target *t, const char *path, struct reason *why)
{
	size_t length = strlen(path);
	int r;

	*t = (struct target){.fd = -1, .path = strdup(path)};
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (!t->path || asprintf(&t->partial, "%.*s.partial-XXXXXX", (int)length, path) < 0) {
		free(t->path);
		return reason_errno(why, ENOMEM, "%s", path);
	}
	t->path[length] = '\0';
	r = open_directory(t, why);
	if (r < 0)
		forget(t);
	return r;
}

int target_file(const struct target *t, const char *name, struct reason *why)
{
	int fd = openat(t->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? reason_errno(why, errno, "%s/%s", t->path, name) : fd;
}

static void remove_all(const struct target *t, const char *directory)
{
	for (unsigned int i = 0; i < IMAGE_FILES; i++)
		unlinkat(t->fd, image_file_names[i], 0);
	rmdir(directory);
}

void target_abandon(struct target *t)
{
	remove_all(t, t->partial);
	forget(t);
}

static int sync_parent(const struct target *t)
{
	char copy[PATH_MAX];
	int fd, r;

	snprintf(copy, sizeof(copy), "%s", t->path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) ? -errno : 0;
	close(fd);
	return r;
}

static int appear(const struct target *t, struct reason *why)
{
	if (fsync(t->fd))
		return reason_errno(why, errno, "%s: sync", t->path);
	if (renameat2(AT_FDCWD, t->partial, AT_FDCWD, t->path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EEXIST)
		return reason_give(why, EEXIST, "%s: there is something of that name already", t->path);
	return reason_errno(why, errno, "%s: rename", t->path);
}

/* Who is killed while the files are removed must not leave a part of them under the wanted name. */
static void disappear(const struct target *t)
{
	bool back = renameat2(AT_FDCWD, t->path, AT_FDCWD, t->partial, RENAME_NOREPLACE) == 0;

	remove_all(t, back ? t->partial : t->path);
}

int target_commit(struct target *t, struct reason *why)
{
	int r = appear(t, why);

	if (r < 0) {
		target_abandon(t);
		return r;
	}
	r = sync_parent(t);
	if (r < 0) {
		reason_errno(why, -r, "%s: sync of the directory it is in", t->path);
		disappear(t);
	}
	forget(t);
	return r;
}
