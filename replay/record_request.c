#include "replay/record_request.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/recording.h"
#include "snapshot/capture.h"
#include "snapshot/reason.h"
#include "vmm/vm.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (1u << 20)

/* The guest is recorded already, and its start is being written. */
struct start {
	struct vcpu_work work; /* if that fails */
	struct control_job *job;
	struct vm *vm;
	struct recording *recording;
	struct capture capture;
};

/* The last thing that is done for it. */
static void answer(struct control_job *j, const struct reason *why)
{
	if (*why->text)
		snprintf(j->why, sizeof(j->why), "record: %.490s", why->text);
	j->done(j);
}

static void stop(struct vcpu_work *w, struct vm *vm)
{
	struct start *s = (struct start *)w;

	if (recording_of(vm) == s->recording)
		recording_stop(s->recording);
	free(s);
}

static void *save(void *arg)
{
	struct start *s = arg;
	struct control_job *job = s->job;
	struct reason why = {0};
	int err = recording_save(s->recording, &s->capture, &why);

	s->work.run = stop;
	if (err == 0 || !vcpu_post(&s->vm->vcpu, &s->work))
		free(s);
	answer(job, &why);
	return NULL;
}

static int begin(struct start *s, const char *directory, struct reason *why)
{
	pthread_t thread;
	int err = recording_new(&s->recording, s->job->program, directory, false, why);

	if (err < 0)
		return err;
	err = recording_begin(s->recording, s->vm, &s->capture, why);
	if (err < 0) {
		recording_free(s->recording);
		return err;
	}
	recording_keep(s->recording, s->vm);
	err = worker_thread_start(&thread, STACK_BYTES, true, save, s);
	if (err == 0)
		return 0;
	recording_stop(s->recording);
	capture_free(&s->capture);
	return reason_errno(why, -err, "%s: thread", directory);
}

static int start_recording(struct control_job *j, struct vm *vm, const char *directory, struct reason *why)
{
	struct start *s;
	int err;

	if (*directory != '/')
		return reason_give(why, EINVAL, "%s: not a whole path, from / on", directory);
	if (vm->steering)
		return reason_give(why, EBUSY, "the guest is recorded already, or replayed");
	s = malloc(sizeof(*s));
	if (!s)
		return reason_errno(why, ENOMEM, "%s", directory);
	s->job = j;
	s->vm = vm;
	err = begin(s, directory, why);
	if (err < 0)
		free(s);
	return err;
}

static void stop_recording(struct control_job *j, struct vm *vm, struct reason *why)
{
	struct recording *r = recording_of(vm);
	int err = r ? recording_stop(r) : 0;

	if (!r)
		reason_give(why, EINVAL, "there is none that `record start` began");
	else if (err < 0)
		reason_errno(why, -err, "the recording is not whole");
	answer(j, why);
}

static void run(struct control_job *j, struct vm *vm)
{
	static const char start_words[] = "start ";
	struct reason why = {0};

	if (!strcmp(j->argument, "stop"))
		stop_recording(j, vm, &why);
	else if (strncmp(j->argument, start_words, sizeof(start_words) - 1) != 0)
		reason_give(&why, EINVAL, "give start DIR or stop"), answer(j, &why);
	else if (start_recording(j, vm, j->argument + sizeof(start_words) - 1, &why) < 0)
		answer(j, &why);
}

const struct control_feature record_request = {.name = "record", .run = run};
