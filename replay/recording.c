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
	struct steerer steerer; /* `run --record` */
	struct vm_keep keep;	/* `ctl record` */
	const struct program *program;
	char *directory;
	bool anyway;
	char log[PATH_MAX];
	int fd; /* of the log; -1 = the guest has not begun */
	struct log_writer writer;
	struct recorder recorder;
	bool saved; /* where it begins */
	bool over;
	int error; /* of making it whole, logged */
};

static struct recording *of_recorder(struct recorder *r)
{
	return (struct recording *)((char *)r - offsetof(struct recording, recorder));
}

static struct recording *of_steerer(struct steerer *s)
{
	return (struct recording *)((char *)s - offsetof(struct recording, steerer));
}

/* What cannot be written down. */
static int check_guest(const struct recording *r, const struct vm *vm, struct reason *why)
{
	return r->anyway ? 0 : chance_look(vm->image, r->program->host_ring0_interpreted, why);
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

/* What could not be written to its end keeps the name of what is not whole; that was said when it happened. */
static void finish_log(struct recorder *recorder)
{
	struct recording *r = of_recorder(recorder);
	struct reason why = {0};
	char whole[PATH_MAX];

	r->over = true;
	if (r->writer.error)
		r->error = r->writer.error;
	else if (recording_file(whole, r->directory, RECORDING_LOG, &why) < 0)
		r->error = log_bad(ENAMETOOLONG, "%s", why.text);
	else if (fsync(r->fd) || rename(r->log, whole))
		r->error = log_errno(errno, "%s", r->log);
}

static int take(const struct recording *r, struct vm *vm, struct capture *c, struct reason *why)
{
	int err = check_guest(r, vm, why);

	if (err == 0)
		err = capture_prepare(c, vm, touched_bytes(&vm->mem), why);
	return err < 0 ? err : capture_take(c, vm, NULL, why);
}

/* The clock is held before the guest is taken: between the two no time passes that nobody wrote down. */
int recording_begin(struct recording *r, struct vm *vm, struct capture *c, struct reason *why)
{
	int err;

	clock_hold(&vm->clock);
	err = take(r, vm, c, why);
	if (err < 0)
		goto release;
	err = open_log(r, c->sn.id.byte, vm->vcpu.port.position, why);
	if (err < 0)
		goto capture;
	err = recorder_begin(&r->recorder, r->program, vm, &r->writer, r->log, finish_log);
	if (err == 0)
		return 0;
	reason_errno(why, -err, "%s", r->log);
	vm->steering = NULL;
	vm->vcpu.port.tap = NULL;
	virtio_devices_hide(&vm->virtio);
capture:
	capture_free(c);
release:
	clock_release(&vm->clock);
	return err;
}

int recording_save(struct recording *r, struct capture *c, struct reason *why)
{
	struct image_written written;
	char path[PATH_MAX];
	int err = recording_file(path, r->directory, RECORDING_START, why);

	_Static_assert(sizeof(c->sn.id.byte) == LOG_ID_BYTES, "the log names it");
	if (err == 0)
		err = capture_finish(c, why);
	if (err == 0)
		err = image_write(c, path, &written, why);
	r->saved = err == 0;
	capture_free(c);
	return err;
}

int recording_stop(struct recording *r)
{
	recorder_stop(&r->recorder);
	return r->error;
}

int recording_new(struct recording **r, const struct program *p, const char *directory, bool anyway, struct reason *why)
{
	*r = calloc(1, sizeof(**r));
	if (!*r)
		return reason_errno(why, ENOMEM, "%s", directory);
	**r = (struct recording){.program = p, .directory = strdup(directory), .anyway = anyway, .fd = -1};
	if ((*r)->directory && mkdir(directory, 0777) == 0)
		return 0;
	if (!(*r)->directory)
		errno = ENOMEM;
	free((*r)->directory);
	free(*r);
	return errno == EEXIST ? reason_give(why, EEXIST, "%s: there is something of that name already", directory)
			       : reason_errno(why, errno, "%s", directory);
}

/* Nothing came of it. */
static void remove_directory(const struct recording *r)
{
	struct reason why = {0};
	char path[PATH_MAX];

	for (enum recording_file f = RECORDING_LOG; f <= RECORDING_LOG_PARTIAL; f++)
		if (recording_file(path, r->directory, f, &why) == 0)
			unlink(path);
	rmdir(r->directory);
}

void recording_free(struct recording *r)
{
	if (r->fd >= 0) {
		log_writer_close(&r->writer);
		recorder_free(&r->recorder);
		close(r->fd);
	}
	if (!r->saved)
		remove_directory(r);
	free(r->directory);
	free(r);
}

static void end_kept(struct vm_keep *k, struct vm *vm)
{
	recording_free((struct recording *)((char *)k - offsetof(struct recording, keep)));
}

void recording_keep(struct recording *r, struct vm *vm)
{
	r->keep.end = end_kept;
	vm_keep(vm, &r->keep);
}

struct recording *recording_of(const struct vm *vm)
{
	for (struct vm_keep *k = vm->kept; k; k = k->next) {
		struct recording *r = (struct recording *)((char *)k - offsetof(struct recording, keep));

		if (k->end == end_kept && !r->over)
			return r;
	}
	return NULL;
}

static int begin_steering(struct steerer *s, struct vm *vm)
{
	struct recording *r = of_steerer(s);
	struct reason why = {0};
	struct capture c;
	int err = recording_begin(r, vm, &c, &why);

	if (err == 0 && (err = recording_save(r, &c, &why)) < 0)
		recording_stop(r);
	return err < 0 && *why.text ? log_bad(-err, "%s", why.text) : err;
}

static int open_recording(struct steerer **s, const struct program *p, const char *directory, bool anyway)
{
	struct reason why = {0};
	struct recording *r;
	int err = recording_new(&r, p, directory, anyway, &why);

	if (err < 0)
		return log_bad(-err, "%s", why.text);
	r->steerer.begin = begin_steering;
	*s = &r->steerer;
	return 0;
}

static int close_recording(struct steerer *s)
{
	struct recording *r = of_steerer(s);
	int err = r->error;

	recording_free(r);
	return err;
}

const struct recording_feature recording_feature = {.open = open_recording, .close = close_recording};
