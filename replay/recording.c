#include "replay/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replay/chance.h"
#include "replay/recorder.h"
#include "replay/recording_files.h"
#include "snapshot/capture.h"
#include "snapshot/image_writer.h"
#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/vm.h"

struct recording {
	struct steerer steerer;
	const struct program *program;
	const char *directory;
	bool anyway; /* even if a replay may diverge */
	char log[PATH_MAX];
	int fd; /* of the log; -1 = the guest has not begun */
	struct log_writer writer;
	struct recorder recorder;
};

static struct recording *of(struct steerer *s)
{
	return (struct recording *)((char *)s - offsetof(struct recording, steerer));
}

/* What brings bytes that nobody writes down yet, and what cannot be written down. */
static int check_guest(const struct recording *r, const struct vm *vm, struct reason *why)
{
	if (vm->solo5.units.count > 1)
		return reason_give(why, EOPNOTSUPP, "%s: a unikernel with devices cannot be recorded yet", r->directory);
	return r->anyway ? 0 : chance_look(vm->image, r->program->host_ring0_interpreted, why);
}

/* The guest as it is before its first instruction. */
static int save_start(const struct recording *r, struct vm *vm, uint8_t id[LOG_ID_BYTES], struct reason *why)
{
	struct image_written written;
	struct capture c;
	char path[PATH_MAX];
	int err = recording_file(path, r->directory, RECORDING_START, why);

	if (err == 0)
		err = capture_prepare(&c, vm, touched_bytes(&vm->mem), why);
	if (err == 0)
		err = capture_take(&c, vm, NULL, why);
	if (err < 0)
		return err;
	err = capture_finish(&c, why);
	if (err == 0)
		err = image_write(&c, path, &written, why);
	_Static_assert(sizeof(c.sn.id.byte) == LOG_ID_BYTES, "the log names it");
	memcpy(id, c.sn.id.byte, LOG_ID_BYTES);
	capture_free(&c);
	return err;
}

static int open_log(struct recording *r, const uint8_t start[LOG_ID_BYTES], uint64_t position, struct reason *why)
{
	uint8_t id[LOG_ID_BYTES];
	int err;

	if (recording_file(r->log, r->directory, RECORDING_LOG_PARTIAL, why) < 0)
		return -ENAMETOOLONG;
	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return reason_errno(why, errno, "getrandom");
	r->fd = open(r->log, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (r->fd < 0)
		return reason_errno(why, errno, "%s", r->log);
	err = log_writer_open(&r->writer, r->fd, id, start, position);
	if (err == 0)
		return 0;
	close(r->fd);
	r->fd = -1;
	return reason_errno(why, -err, "%s", r->log);
}

static int begin(struct steerer *s, struct vm *vm)
{
	struct recording *r = of(s);
	struct reason why = {0};
	uint8_t start[LOG_ID_BYTES];
	int err = check_guest(r, vm, &why);

	clock_hold(&vm->clock);
	if (err == 0)
		err = save_start(r, vm, start, &why);
	if (err == 0)
		err = open_log(r, start, vm->vcpu.port.position, &why);
	if (err < 0)
		return *why.text ? log_bad(-err, "%s", why.text) : err;
	return recorder_begin(&r->recorder, r->program, vm, &r->writer, r->log);
}

static int recording_open(struct steerer **s, const struct program *p, const char *directory, bool anyway)
{
	struct recording *r = calloc(1, sizeof(*r));

	if (!r)
		return log_errno(ENOMEM, "%s", directory);
	r->steerer.begin = begin;
	r->program = p;
	r->directory = directory;
	r->anyway = anyway;
	r->fd = -1;
	if (mkdir(directory, 0777)) {
		int err = errno == EEXIST ? log_bad(EEXIST, "%s: there is something of that name already", directory) : log_errno(errno, "%s", directory);

		free(r);
		return err;
	}
	*s = &r->steerer;
	return 0;
}

/* What could not be written to its end keeps the name of what is not whole. */
static int finish_log(struct recording *r)
{
	struct reason why = {0};
	char whole[PATH_MAX];

	if (r->writer.error)
		return r->writer.error; /* it was said when it happened */
	if (recording_file(whole, r->directory, RECORDING_LOG, &why) < 0)
		return log_bad(ENAMETOOLONG, "%s", why.text);
	return fsync(r->fd) || rename(r->log, whole) ? log_errno(errno, "%s", r->log) : 0;
}

static int recording_close(struct steerer *s)
{
	struct recording *r = of(s);
	int err = 0;

	if (r->fd >= 0) {
		err = finish_log(r);
		log_writer_close(&r->writer);
		recorder_free(&r->recorder);
		close(r->fd);
	} else {
		rmdir(r->directory); /* nothing came of it */
	}
	free(r);
	return err;
}

const struct recording_feature recording_feature = {.open = recording_open, .close = recording_close};
