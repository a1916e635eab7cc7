#include "snapshot/checkpoints.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/array_room.h"
#include "snapshot/image_files.h"
#include "snapshot/reason.h"

#define DIGITS (CHECKPOINT_NAME - 1)

const char *checkpoint_name(unsigned int number, char name[CHECKPOINT_NAME])
{
	snprintf(name, CHECKPOINT_NAME, "%08u", number % 100000000u);
	return name;
}

/* The number that a name starts with, 0 = none of ours. */
static unsigned int number_of(const char *name)
{
	if (strspn(name, "0123456789") != DIGITS)
		return 0;
	return (unsigned int)strtoul(name, NULL, 10);
}

/* Numbers there are, in an array that grows. */
struct numbers {
	unsigned int *number;
	size_t count, room;
};

static int compare_numbers(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return (x > y) - (x < y);
}

static int add_number(struct numbers *all, const char *name)
{
	unsigned int n = strlen(name) == DIGITS ? number_of(name) : 0;
	int err;

	if (!n)
		return 0;
	err = array_room((void **)&all->number, &all->room, all->count, sizeof(*all->number));
	if (err == 0)
		all->number[all->count++] = n;
	return err;
}

int checkpoints_all(const char *directory, unsigned int **number, size_t *count, struct reason *why)
{
	DIR *d = opendir(directory);
	struct numbers all = {0};
	const struct dirent *e;
	int err = 0;

	if (!d)
		return reason_errno(why, errno, "%s", directory);
	while (err == 0 && (e = readdir(d)))
		err = add_number(&all, e->d_name);
	closedir(d);
	if (err < 0) {
		free(all.number);
		return reason_errno(why, -err, "%s", directory);
	}
	if (all.count)
		qsort(all.number, all.count, sizeof(*all.number), compare_numbers);
	*number = all.number;
	*count = all.count;
	return 0;
}

int checkpoints_newest(const char *directory, unsigned int *number, struct reason *why)
{
	unsigned int *all;
	size_t count;
	int err = checkpoints_all(directory, &all, &count, why);

	*number = 0;
	if (err < 0)
		return err;
	if (count)
		*number = all[count - 1];
	free(all);
	return 0;
}

static void remove_snapshot(int directory, const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	for (unsigned int i = 0; i < IMAGE_FILES; i++)
		unlinkat(fd, image_file_names[i], 0);
	unlinkat(fd, WORKING_SET_FILE, 0);
	unlinkat(fd, WORKING_SET_PARTIAL, 0);
	close(fd);
	unlinkat(directory, name, AT_REMOVEDIR);
}

void checkpoints_prune(const char *directory, unsigned int keep)
{
	DIR *d = opendir(directory);
	const struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		unsigned int n = number_of(e->d_name);
		bool partial = n && !strncmp(e->d_name + DIGITS, ".partial-", 9);

		if (partial || (n && n < keep && !e->d_name[DIGITS]))
			remove_snapshot(dirfd(d), e->d_name);
	}
	closedir(d);
}
