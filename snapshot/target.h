/*
 * The directory of a snapshot while it is being made: under a name of its own beside the wanted one, until all of it is on the
 * disk. Then it is renamed, in one step; before that there is nothing under the wanted name. Who is killed on the way leaves a
 * directory NAME.partial-XXXXXX behind, which nobody takes for a snapshot.
 */
#pragma once

struct reason;

struct target {
	char *path;    /* wanted */
	char *partial; /* until then */
	int fd;	       /* of the directory */
};

/* Makes it. Returns 0, or -errno with the reason: -EEXIST if there is something of that name. */
int target_create(struct target *t, const char *path, struct reason *why);

/* A new file in it, open to write; or -errno with the reason. */
int target_file(const struct target *t, const char *name, struct reason *why);

/*
 * The end, and the target is gone. commit: has it appear under its name, durably; its files have been synced. Returns 0, or
 * -errno with the reason and nothing left behind. abandon: removes what there is.
 */
int target_commit(struct target *t, struct reason *why);
void target_abandon(struct target *t);
