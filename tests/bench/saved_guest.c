#include "tests/bench/saved_guest.h"

#include <err.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/stopwatch.h"

#define MAX_WORDS 40
#define PATIENCE_MS 60000
#define SILENT_MS 500 /* a guest that says nothing has come to its loop by then */
#define PAGE_KIB 4

const char *saved_guest_path(const struct saved_guest *g, const char *name, char path[80])
{
	snprintf(path, 80, "%s/%s", g->directory, name);
	return path;
}

static bool is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static bool has_said_something(const struct saved_guest *g)
{
	struct stat st;

	return stat(g->out, &st) == 0 && st.st_size > 0;
}

static void await_guest(const struct saved_guest *g, bool silent)
{
	int ms;

	for (ms = 0; ms < PATIENCE_MS && !(is_there(g->control) && (silent || has_said_something(g))); ms += 5)
		stopwatch_pause_ms(5);
	if (ms >= PATIENCE_MS)
		errx(1, "%s: a guest does not get going", g->log);
	if (silent)
		stopwatch_pause_ms(SILENT_MS);
}

/* Its words behind the others. */
static void split(char *words, const char **argv, int n)
{
	for (char *word = strtok(words, " "); word && n < MAX_WORDS - 1; word = strtok(NULL, " "))
		argv[n++] = word;
	argv[n] = NULL;
}

void saved_guest_make(struct saved_guest *g, const struct bench *b)
{
	*g = (struct saved_guest){.bench = b, .directory = "/tmp/penumbra-bench.XXXXXX"};
	if (!mkdtemp(g->directory))
		err(1, "%s", g->directory);
	snprintf(g->control, sizeof(g->control), "%s/control", g->directory);
	snprintf(g->log, sizeof(g->log), "%s/log", g->directory);
	snprintf(g->out, sizeof(g->out), "%s/out", g->directory);
}

void saved_guest_start(struct saved_guest *g, const char *words, const char *input)
{
	char console[80], copy[400];
	const char *argv[MAX_WORDS] = {g->bench->penumbra, "run", "--log=debug", "--control", g->control, "--console",
				       input ? "stdio" : console};

	snprintf(console, sizeof(console), "file:%s", g->out);
	snprintf(copy, sizeof(copy), "%s", words);
	split(copy, argv, 7);
	g->child = child_start(argv, &(struct child_options){.log = g->log, .input = input});
	await_guest(g, input != NULL);
}

double saved_guest_ask(const struct saved_guest *g, const char *request)
{
	char copy[200];
	const char *argv[MAX_WORDS] = {g->bench->penumbra, "ctl", g->control};
	struct child c;

	snprintf(copy, sizeof(copy), "%s", request);
	split(copy, argv, 3);
	c = child_start(argv, NULL);
	return child_finish(&c).exit_us;
}

/* The number in front of a word, where it stands for the first time. */
static bool number_before(const char *line, const char *word, double *number)
{
	const char *end = strstr(line, word), *at = end;

	while (at && at > line && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return end && at < end && sscanf(at, "%lf", number) == 1;
}

/* The last line of the log with these words. */
static bool last_line(const char *path, const char *part, char *line, size_t size)
{
	char next[400];
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && fgets(next, sizeof(next), f))
		if (strstr(next, part)) {
			snprintf(line, size, "%s", next);
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

struct saved_pause saved_guest_save(const struct saved_guest *g, const char *name)
{
	char request[200], path[80], line[400];
	struct saved_pause p = {0};

	snprintf(request, sizeof(request), "snapshot %s", saved_guest_path(g, name, path));
	p.answer_us = saved_guest_ask(g, request);
	if (!last_line(g->log, "snapshot: the guest stood still", line, sizeof(line)) ||
	    !number_before(line, " us;", &p.pause_us) || !number_before(line, " pages", &p.pages))
		errx(1, "%s: nothing about a snapshot in it", g->log);
	return p;
}

unsigned int saved_guest_increments(const struct saved_guest *g, double low, double high, struct saved_pause *p,
				    unsigned int most)
{
	FILE *f = fopen(g->log, "re");
	unsigned int n = 0;
	char line[400];

	while (f && n < most && fgets(line, sizeof(line), f)) {
		double kib;

		if (!strstr(line, "incremental checkpoint: the guest stood still") ||
		    !number_before(line, " us;", &p[n].pause_us) || !number_before(line, " KiB", &kib))
			continue;
		p[n].pages = kib / PAGE_KIB;
		n += p[n].pages >= low && p[n].pages <= high;
	}
	if (f)
		fclose(f);
	return n;
}

void saved_guest_stop(const struct saved_guest *g)
{
	child_stop(&g->child);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void saved_guest_remove(const struct saved_guest *g)
{
	nftw(g->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void saved_guest_drop(const struct saved_guest *g, const char *name)
{
	char path[80];

	nftw(saved_guest_path(g, name, path), remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
