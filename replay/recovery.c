#include "replay/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "replay/mark_find.h"
#include "replay/recording.h"
#include "replay/recording_files.h"
#include "replay/replayer.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/vm.h"

struct recovery {
	struct steerer steerer;
	struct replayer replayer;
	struct mark_place place;
	char name[PATH_MAX]; /* of the log */
	int fd;
	struct steerer *next; /* records it afterwards; NULL = nobody */
};

static struct recovery *of_replayer(struct replayer *r)
{
	return (struct recovery *)((char *)r - offsetof(struct recovery, replayer));
}

static struct recovery *of_steerer(struct steerer *s)
{
	return (struct recovery *)((char *)s - offsetof(struct recovery, steerer));
}

static void let_go(struct replayer *replayer)
{
	struct recovery *r = of_replayer(replayer);
	struct vm *vm = replayer->vm;
	uint64_t at = vm->vcpu.port.position;

	replayer_let_go(replayer);
	log_print(LOG_INFO, "%s: the guest is where it was, at position %" PRIu64 ", %" PRIu64 " behind the snapshot, and goes on", r->name, at,
		  at - r->place.position);
	if (r->next && r->next->begin(r->next, vm) < 0)
		vm_fail_said(vm, "recording", -EIO);
}

static int begin(struct steerer *s, struct vm *vm)
{
	struct recovery *r = of_steerer(s);

	r->replayer.steering.catching_up = true;
	return replayer_begin(&r->replayer, vm);
}

static int open_replayer(struct recovery *r, const struct program *p, struct reason *why)
{
	const struct mark_place *m = &r->place;
	int err = replayer_open(&r->replayer, p, r->fd, r->name, REPLAYER_TO_THE_END, why);

	if (err < 0)
		return err;
	r->replayer.over = let_go;
	err = replayer_go_to(&r->replayer, m->events, m->position, m->digest, m->use, why);
	if (err < 0)
		replayer_close(&r->replayer);
	return err;
}

static int find_place(struct recovery *r, const char *directory, const uint8_t *id, const char *snapshot, struct reason *why)
{
	bool partial;
	int err;

	if (!recording_is_at(directory))
		return reason_give(why, EINVAL, "%s: not a recording; `penumbra run --record DIR` makes them", directory);
	r->fd = recording_open_log(directory, r->name, &partial, why);
	if (r->fd < 0)
		return r->fd;
	err = mark_find(r->fd, r->name, id, &r->place, why);
	if (err == 0)
		return reason_give(why, ENOENT, "%s: was not taken while the guest was recorded in %s; without --recording it is restored as it is, "
			    "and what the guest did later is lost", snapshot, directory);
	return err < 0 ? err : 0;
}

static int open_log(struct recovery *r, const struct program *p, const char *directory, const uint8_t *id, const char *snapshot)
{
	struct reason why = {0};
	int err = find_place(r, directory, id, snapshot, &why);

	if (err == 0)
		err = open_replayer(r, p, &why);
	if (err == 0 && r->place.unused)
		log_print(LOG_WARN, "%s: %" PRIu64 " bytes at its end are no whole block, and are not used", r->name, r->place.unused);
	return err < 0 ? log_bad(-err, "%s", why.text) : 0;
}

static int close_log(struct recovery *r, int err)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return err;
}

static int open_recovery(struct steerer **s, const struct program *p, const char *directory, const uint8_t id[STEERING_ID_BYTES],
			 const char *snapshot, const char *record)
{
	struct recovery *r = malloc(sizeof(*r));
	int err;

	if (!r)
		return log_errno(ENOMEM, "%s", directory);
	*r = (struct recovery){.steerer.begin = begin, .fd = -1};
	err = open_log(r, p, directory, id, snapshot);
	if (err < 0)
		return close_log(r, err);
	if (record && (err = recording_feature.open(&r->next, p, record, true)) < 0) {
		replayer_close(&r->replayer);
		return close_log(r, err);
	}
	*s = &r->steerer;
	return 0;
}

static int close_recovery(struct steerer *s)
{
	struct recovery *r = of_steerer(s);
	int err = r->next ? recording_feature.close(r->next) : 0;

	replayer_close(&r->replayer);
	return close_log(r, err);
}

const struct recovery_feature recovery_feature = {.open = open_recovery, .close = close_recovery};
