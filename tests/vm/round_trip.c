#include "tests/vm/round_trip.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ept/host_mmu.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"

/* A way out of one process and into the next. */
struct way {
	const char *restore; /* command and options before the directory */
	const char *save;    /* options of the control socket's `snapshot`: "", or with a blank behind */
	const char *earlier; /* NULL, or those of another snapshot, taken a moment before while the guest runs */
	bool checkpoints;    /* saved by `--checkpoint` instead */
	bool late;	     /* RAM is not checked before the guest runs */
	bool shared;	     /* brought back as a clone: those take no checkpoints */
	bool mapped;	     /* RAM of a file on a disk cannot be exchanged, which is said */
};

static const struct way ways[] = {
	{.restore = "restore", .save = ""},
	{.restore = "restore", .save = "", .earlier = ""},
	{.restore = "restore --ram lazy", .save = "", .late = true},
	{.restore = "restore --ram mapped", .save = "", .late = true, .mapped = true},
	{.restore = "restore", .save = "--compress "},
	{.restore = "restore --ram lazy", .save = "--compress ", .late = true},
	{.restore = "restore", .save = "--incremental ", .earlier = "--incremental "},
	{.restore = "restore --ram lazy", .save = "--compress --incremental ", .earlier = "--incremental --compress ", .late = true},
	{.restore = "clone --count 1", .save = "", .shared = true},
	{.restore = "restore", .checkpoints = true},
	{.restore = "restore --ram lazy", .checkpoints = true, .late = true},
};

#define WAYS (sizeof(ways) / sizeof(*ways))

/* On its way. */
struct traveller {
	const struct trip_guest *guest;
	struct random *random;
	struct snapshot_place place;
	bool shadow; /* now */
	const struct way *came_by;  /* NULL = it was started */
	const struct way *way;	    /* by which it will go on */
	char saved[100]; /* where */
	struct bytes out; /* of all processes, one after the other */
	struct child child;
	int status; /* of the last process */
};

const char *trip_restore_words(struct random *r)
{
	const struct way *w;

	do
		w = &ways[random_below(r, WAYS)];
	while (w->late);
	return w->restore;
}

static void append(struct bytes *to, const struct bytes *more)
{
	to->data = realloc(to->data, to->size + more->size + 1);
	memcpy(to->data + to->size, more->data, more->size + 1);
	to->size += more->size;
}

static bool can_be(const struct trip_guest *g, bool shadow)
{
	if (g->modes == NOT_INTERPRETED)
		return shadow || !host_mmu_detect("").ring0_interpreted;
	if (g->modes == NESTED)
		return shadow || host_mmu_detect("").nested;
	return g->modes == EVERY_MODE || !shadow;
}

/* The other mode, where the guest can be in it. */
static void change_mode(struct traveller *t)
{
	if (can_be(t->guest, !t->shadow))
		t->shadow = !t->shadow;
}

static bool random_mode(const struct trip_guest *g, struct random *r)
{
	bool shadow = random_below(r, 2);

	return can_be(g, shadow) ? shadow : !shadow;
}

/* How it is to leave the process in which it will be. */
static const struct way *choose_way(struct traveller *t, const struct way *came_by)
{
	const struct way *w;

	do
		w = &ways[random_below(t->random, WAYS)];
	while (came_by && came_by->shared && w->checkpoints);
	return w;
}

/* Starts the next process: a command, and what is behind the options. */
static void enter(struct traveller *t, const char *command, const struct way *came_by, const char *words, unsigned int number)
{
	const char *options = t->guest->options ? t->guest->options : "";
	char line[700], keep[200] = "";

	t->came_by = came_by;
	t->way = choose_way(t, came_by);
	snprintf(t->saved, sizeof(t->saved), "%s/s%u", t->place.control.directory, number);
	if (t->way->checkpoints)
		snprintf(keep, sizeof(keep), "--checkpoint %s --checkpoint-every %u ", t->saved,
			 1 + (unsigned int)random_below(t->random, 20));
	snprintf(line, sizeof(line), "--mmu %s %s%s%s", mmu_modes[t->shadow], options, keep, words);
	t->child = start_listening(&t->place, command, line, SPAWN_PIPE);
}

static bool take_snapshot(struct traveller *t, const char *suffix, const char *options)
{
	char request[300];

	snprintf(request, sizeof(request), "snapshot %s%s%s", options, t->saved, suffix);
	return ask_quietly(&t->place.control, request);
}

/*
 * The guest stands still: a third further checkpoint is of this moment, for the first may have been begun before, and the
 * second may be its chain joined. Then nothing that the guest says is said twice.
 */
static bool await_checkpoint(struct traveller *t)
{
	unsigned int before = newest_checkpoint(t->saved);

	while (newest_checkpoint(t->saved) < before + 3) {
		if (child_has_ended(&t->child))
			return false;
		usleep(1000);
	}
	return true;
}

/* False: the guest was faster. */
static bool save_there(struct traveller *t)
{
	if (t->way->earlier && !take_snapshot(t, "-earlier", t->way->earlier))
		return false;
	if (!ask_quietly(&t->place.control, "pause"))
		return false;
	return t->way->checkpoints ? await_checkpoint(t) : take_snapshot(t, "", t->way->save);
}

/* Saves it and kills the process, unless the guest ends before. */
static bool leave(struct traveller *t, uint64_t us)
{
	struct outcome o;
	bool saved;

	usleep((useconds_t)random_below(t->random, us));
	saved = save_there(t);
	if (saved)
		kill(t->child.pid, SIGKILL);
	o = child_end(&t->child);
	ck_assert_msg(!saved || o.status == SPAWN_SIGNAL + SIGKILL, "status %d, '%s'", o.status, o.err.data);
	append(&t->out, &o.out);
	t->status = o.status;
	outcome_free(&o);
	/* A run that was killed leaves its socket behind; the next one replaces it, and who waits for that must not find this. */
	unlink(t->place.control.path);
	return saved;
}

static bool may_complain(const struct traveller *t, const char *text)
{
	return t->came_by && t->came_by->mapped && t->guest->options && strstr(text, "cannot be exchanged: give --ram=lazy or --ram=now");
}

static void arrive(struct traveller *t)
{
	struct outcome o = child_end(&t->child);

	append(&t->out, &o.out);
	t->status = o.status;
	ck_assert_msg(o.err.size == 0 || may_complain(t, o.err.data), "%s: complained '%s'", t->guest->words, o.err.data);
	outcome_free(&o);
}

static void check_end(const struct traveller *t, const struct outcome *whole, unsigned int stops)
{
	const char *words = t->guest->words;

	ck_assert_msg(t->status == whole->status, "%s, %u stops, last '%s': status %d, not %d; '%s'", words, stops,
		      t->way->restore, t->status, whole->status, t->out.data);
	ck_assert_msg(t->out.size == whole->out.size && !memcmp(t->out.data, whole->out.data, t->out.size),
		      "%s, %u stops, last '%s': '%s'", words, stops, t->way->restore, t->out.data);
}

unsigned int trip(const struct trip_guest *g, const struct outcome *whole, unsigned int stops, uint64_t us, struct random *r)
{
	struct traveller t = {.guest = g, .random = r, .place = make_snapshot_place(), .shadow = random_mode(g, r)};
	unsigned int stop = 0;

	enter(&t, "run", NULL, g->words, 0);
	child_send(&t.child, g->input ? g->input : "", g->input ? strlen(g->input) : 0);
	child_close_input(&t.child);
	while (stop < stops && leave(&t, us)) {
		char saved[sizeof(t.saved)];

		strcpy(saved, t.saved);
		change_mode(&t);
		enter(&t, t.way->restore, t.way, saved, ++stop);
	}
	if (stop == stops)
		arrive(&t);
	check_end(&t, whole, stop);
	free(t.out.data);
	leave_snapshot_place(&t.place);
	return stop;
}

struct outcome trip_whole(const struct trip_guest *g, uint64_t *us, struct random *r)
{
	char line[400];
	uint64_t start = monotonic_ns();
	struct outcome o;

	snprintf(line, sizeof(line), "run --mmu %s %s", mmu_modes[random_mode(g, r)], g->words);
	o = spawn_line(line, g->input ? g->input : "");
	*us = (monotonic_ns() - start) / 1000 + 1000;
	ck_assert_msg(o.err.size == 0 && o.status == g->status, "%s: status %d, complained '%s'", g->words, o.status, o.err.data);
	return o;
}
