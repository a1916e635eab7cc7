#include "snapshot/chain.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot/capture.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "vmm/vm.h"

struct chain {
	struct vm_keep keep;
	_Atomic bool busy; /* the rest is whose who set it */
	struct epoch epoch;
	unsigned int parts; /* 0: there is none yet */
	dev_t device;	    /* where the parts are */
	ino_t directory;
};

static void end(struct vm_keep *k, struct vm *vm)
{
	struct chain *c = (struct chain *)k;

	epoch_end(&c->epoch, vm);
	free(c);
}

static struct chain *find_chain(const struct vm *vm)
{
	struct vm_keep *k = vm->kept;

	while (k && k->end != end)
		k = k->next;
	return (struct chain *)k;
}

static struct chain *chain_of(struct vm *vm)
{
	struct chain *c = find_chain(vm);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct chain){.keep.end = end, .epoch.full = true};
	vm_keep(vm, &c->keep);
	return c;
}

/* Of the directory that `path` is in. 0 or -errno. */
static int stat_parent(const char *path, struct stat *st)
{
	char *directory = strdup(path), *slash = directory ? strrchr(directory, '/') : NULL;
	int r = slash ? 0 : -ENOMEM;

	if (slash)
		slash[slash == directory] = '\0'; /* "/name" is in "/" */
	if (r == 0 && stat(directory, st))
		r = -errno;
	free(directory);
	return r;
}

/* Parts name their parents by a name without a directory. */
static int check_place(const struct chain *c, const char *path, struct reason *why)
{
	struct stat st;
	int r = stat_parent(path, &st);

	if (r < 0)
		return reason_errno(why, -r, "%s", path);
	if (c->parts && (st.st_dev != c->device || st.st_ino != c->directory))
		return reason_give(why, EXDEV, "%s: not beside %s, which it is to be made on", path, c->epoch.parent_path);
	return 0;
}

struct epoch *chain_begin(struct vm *vm, const char *path, struct reason *why)
{
	struct chain *c = chain_of(vm);

	if (!c) {
		reason_errno(why, ENOMEM, "%s", path);
		return NULL;
	}
	if (atomic_exchange(&c->busy, true)) {
		reason_give(why, EBUSY, "%s: the last --incremental is still being written", path);
		return NULL;
	}
	if (check_place(c, path, why) < 0) {
		atomic_store(&c->busy, false);
		return NULL;
	}
	if (c->parts == CHAIN_MAX)
		c->epoch.full = true;
	return &c->epoch;
}

void chain_done(struct vm *vm, const char *path, bool written)
{
	struct chain *c = find_chain(vm);
	struct stat st;

	if (written && stat_parent(path, &st) == 0) {
		c->parts = c->parts == CHAIN_MAX ? 1 : c->parts + 1;
		c->device = st.st_dev;
		c->directory = st.st_ino;
	}
	atomic_store(&c->busy, false);
}
