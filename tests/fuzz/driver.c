/*
 * A fuzz target without libFuzzer: gives it the files of a corpus, then copies of them with random
 * changes. It knows nothing of coverage; it is there so that the tests run with every compiler.
 */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/fuzz/target.h"
#include "tests/unit/random.h"

#define MAX_SIZE ((size_t)256 << 10)

struct input {
	uint8_t *bytes;
	size_t size;
};

struct corpus {
	struct input *input;
	size_t count;
};

static void fail(const char *what)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void add_file(struct corpus *c, const char *path)
{
	FILE *f = fopen(path, "re");
	struct input in;

	c->input = realloc(c->input, (c->count + 1) * sizeof(*c->input));
	in.bytes = malloc(MAX_SIZE);
	if (!f || !c->input || !in.bytes)
		fail(path);
	in.size = fread(in.bytes, 1, MAX_SIZE, f);
	fclose(f);
	c->input[c->count++] = in;
}

static void add_directory(struct corpus *c, const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	char name[4096];

	if (count < 0)
		fail(path);
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			add_file(c, name);
		free(entries[i]);
	}
	free(entries);
}

static void add(struct corpus *c, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		fail(path);
	if (S_ISDIR(st.st_mode))
		add_directory(c, path);
	else
		add_file(c, path);
}

static const uint64_t odd[] = { 0, 1, 2, 0x38, 0x40, 0x1000, 0x10000, 0x7fffffff, 0xffffffff, UINT64_MAX };

/* One change: bits, a number of any width where numbers are, a piece moved, or an end. */
static void mutate(struct random *r, struct input *in)
{
	size_t at = random_below(r, in->size), left = in->size - at, n = 1u << random_below(r, 4);
	uint64_t value = odd[random_below(r, sizeof(odd) / sizeof(odd[0]))] + random_below(r, 3) - 1;

	switch (random_below(r, 5)) {
	case 0:
		in->bytes[at] ^= (uint8_t)(1u << random_below(r, 8));
		break;
	case 1:
		in->bytes[at] = (uint8_t)random_next(r);
		break;
	case 2:
		at -= at % n;
		memcpy(in->bytes + at, &value, n < in->size - at ? n : in->size - at);
		break;
	case 3:
		n = random_below(r, left < 64 ? left : 64);
		memmove(in->bytes + random_below(r, in->size - n), in->bytes + at, n);
		break;
	default:
		/* Seldom, or little would be left to mutate. */
		in->size = random_below(r, 8) ? in->size : at + 1;
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t mutate_for(const struct corpus *c, uint64_t seconds)
{
	struct random r = random_start("fuzz");
	uint64_t end = now_ns() + seconds * 1000000000, runs = 0;
	uint8_t *copy = malloc(MAX_SIZE);

	if (!copy)
		fail("copy of an input");
	while (now_ns() < end) {
		const struct input *seed = &c->input[random_below(&r, c->count)];
		struct input in = {.bytes = copy, .size = seed->size};

		memcpy(copy, seed->bytes, seed->size);
		for (uint64_t n = 1 + random_below(&r, 6); n && in.size; n--)
			mutate(&r, &in);
		LLVMFuzzerTestOneInput(in.bytes, in.size);
		runs++;
	}
	free(copy);
	return runs;
}

struct options {
	struct corpus corpus;
	uint64_t seconds;
};

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (key == 's')
		o->seconds = strtoull(arg, NULL, 10);
	else if (key == ARGP_KEY_ARG)
		add(&o->corpus, arg);
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"seconds", 's', "N", 0, "Go on with changed inputs for so long (default: 0)", 0},
		{0},
	};
	static const struct argp argp = {
		options, on_key, "FILE|DIRECTORY...", "Give a fuzz target the inputs of a corpus.",
		NULL, NULL, NULL,
	};
	struct options o = {.seconds = 0};
	uint64_t runs = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	for (size_t i = 0; i < o.corpus.count; i++)
		LLVMFuzzerTestOneInput(o.corpus.input[i].bytes, o.corpus.input[i].size);
	if (o.corpus.count && o.seconds)
		runs = mutate_for(&o.corpus, o.seconds);
	printf("fuzz: %zu inputs, %" PRIu64 " changed ones\n", o.corpus.count, runs);
	for (size_t i = 0; i < o.corpus.count; i++)
		free(o.corpus.input[i].bytes);
	free(o.corpus.input);
	return o.corpus.count ? 0 : 2;
}
