#include "tests/vm/saved_guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Saves it when a third of `us` is over: it may be faster than it was before. False: even than that. */
static bool save_on_its_way(struct saved *s, const char *words, uint64_t us, struct outcome *before)
{
	struct child c = start_listening(&s->place, "run", words, SPAWN_NULL);
	bool saved;

	usleep((useconds_t)(us / 3));
	saved = ask_quietly(&s->place.control, "pause") && save_quietly(&s->place, "", "s");
	if (saved)
		kill(c.pid, SIGKILL);
	*before = child_end(&c);
	unlink(s->place.control.path);
	return saved;
}

struct saved save_guest(const char *words)
{
	struct saved s = {.place = make_snapshot_place()};
	uint64_t start = monotonic_ns(), us;
	struct outcome whole, before;
	char line[300];

	snprintf(line, sizeof(line), "run %s", words);
	whole = spawn_line(line, "");
	ck_assert_msg(!whole.err.size, "%s: '%s'", words, whole.err.data);
	for (us = (monotonic_ns() - start) / 1000; !save_on_its_way(&s, words, us, &before); us /= 2)
		outcome_free(&before);
	ck_assert_msg(!strncmp(whole.out.data, before.out.data, before.out.size), "%s: '%s'", words, before.out.data);
	s.rest = strdup(whole.out.data + before.out.size);
	s.status = whole.status;
	outcome_free(&before);
	outcome_free(&whole);
	return s;
}

void leave_saved(struct saved *s)
{
	leave_snapshot_place(&s->place);
	free(s->rest);
}

void assert_restored(const struct saved *s, const char *words)
{
	struct outcome o = restore(&s->place, words, "s");

	assert_outcome(&o, s->status, s->rest, words);
	outcome_free(&o);
}

void run_in(const struct saved *s, const char *command)
{
	char line[300];

	snprintf(line, sizeof(line), "cd %s && %s", s->place.control.directory, command);
	ck_assert_int_eq(system(line), 0);
}
