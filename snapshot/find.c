#include "snapshot/find.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "snapshot/checkpoints.h"
#include "snapshot/image_files.h"
#include "snapshot/reason.h"

bool snapshot_is_at(const char *path)
{
	char name[PATH_MAX];

	return snprintf(name, sizeof(name), "%s/%s", path, image_file_names[FILE_STATE]) < PATH_MAX && access(name, F_OK) == 0;
}

bool checkpoints_are_at(const char *path)
{
	struct reason why = {0};
	unsigned int newest;

	return !snapshot_is_at(path) && checkpoints_newest(path, &newest, &why) == 0 && newest;
}

static int find_newest(const char *path, char found[PATH_MAX], struct reason *why)
{
	char name[CHECKPOINT_NAME];
	struct reason none = {0};
	unsigned int number;
	int err = checkpoints_newest(path, &number, &none);

	if (err == -ENOTDIR)
		return reason_give(why, ENOTDIR, "%s: not a snapshot, which is a directory; `penumbra run` launches images",
				   path);
	if (err < 0)
		return reason_errno(why, -err, "%s", path);
	if (!number)
		return reason_give(why, EINVAL, "%s: not a snapshot: there is neither a file `state` nor a checkpoint in it; "
				   "`penumbra ctl SOCKET snapshot DIR` and `penumbra run --checkpoint DIR` make them", path);
	if (snprintf(found, PATH_MAX, "%s/%s", path, checkpoint_name(number, name)) >= PATH_MAX)
		return reason_errno(why, ENAMETOOLONG, "%s", path);
	return 0;
}

int snapshot_find(const char *path, char found[PATH_MAX], struct reason *why)
{
	if (!snapshot_is_at(path))
		return find_newest(path, found, why);
	snprintf(found, PATH_MAX, "%s", path);
	return 0;
}
