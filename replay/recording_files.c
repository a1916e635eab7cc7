#include "replay/recording_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "snapshot/find.h"
#include "snapshot/reason.h"

static const char *const names[RECORDING_FILES] = {"start", "log", "log.partial"};

int recording_file(char path[PATH_MAX], const char *directory, enum recording_file file, struct reason *why)
{
	if (snprintf(path, PATH_MAX, "%s/%s", directory, names[file]) >= PATH_MAX)
		return reason_errno(why, ENAMETOOLONG, "%s", directory);
	return 0;
}

bool recording_is_at(const char *path)
{
	struct reason why = {0};
	char start[PATH_MAX];

	return recording_file(start, path, RECORDING_START, &why) == 0 && snapshot_is_at(start);
}

int recording_open_log(const char *directory, char name[PATH_MAX], bool *partial, struct reason *why)
{
	int fd = -1;

	for (int i = 0; i < 2 && fd < 0; i++) {
		if (recording_file(name, directory, i ? RECORDING_LOG_PARTIAL : RECORDING_LOG, why) < 0)
			return -ENAMETOOLONG;
		fd = open(name, O_RDONLY | O_CLOEXEC);
		*partial = i;
		if (fd < 0 && errno != ENOENT)
			return reason_errno(why, errno, "%s", name);
	}
	return fd < 0 ? reason_give(why, ENOENT, "%s: there is no log of a recording in it", directory) : fd;
}
