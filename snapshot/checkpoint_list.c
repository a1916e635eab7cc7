#include "snapshot/checkpoint_list.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "snapshot/checkpoints.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/show.h"
#include "vmm/log.h"
#include "vmm/program.h"

struct listing {
	const char *directory;
	json_t *array; /* NULL: a table is printed */
	bool bad;      /* one of them is */
};

static void add_bad(struct listing *l, const char *name, const struct reason *why)
{
	struct shown text;

	l->bad = true;
	show(&text, why->text);
	if (l->array)
		json_array_append_new(l->array, json_pack("{s:s, s:b, s:s}", "name", name, "readable", 0, "reason", text.text));
	else
		printf("%-10s  bad: %s\n", name, text.text);
}

static json_t *good_object(const char *name, const struct snapshot *sn, const char *parent)
{
	json_int_t taken = (json_int_t)sn->machine.taken_ns, stored = (json_int_t)stored_bytes(sn);

	return json_pack("{s:s, s:b, s:b, s:I, s:b, s:I, s:s}", "name", name, "readable", 1, "full", !sn->incremental, "taken_ns",
			 taken, "compressed", sn->compressed, "stored_bytes", stored, "parent", parent);
}

static void add_good(struct listing *l, const char *name, const struct snapshot *sn)
{
	struct shown time, text;
	const char *parent = show(&text, sn->incremental ? sn->parent_path : "");

	if (l->array)
		json_array_append_new(l->array, good_object(name, sn, parent));
	else
		printf("%-10s  %-11s  %-23s  %9" PRIu64 " KiB%s%s\n", name, sn->incremental ? "incremental" : "full",
		       show_time(&time, sn->machine.taken_ns), stored_bytes(sn) >> 10, *parent ? "  " : "", parent);
}

/* Without its parents, which have lines of their own. One that is gone was removed meanwhile, and nobody needs it. */
static void add_one(struct listing *l, unsigned int number)
{
	char name[CHECKPOINT_NAME], path[PATH_MAX];
	struct reason why = {0};
	struct image_reader r;
	int err;

	snprintf(path, sizeof(path), "%s/%s", l->directory, checkpoint_name(number, name));
	err = image_reader_open_alone(&r, path, &why);
	if (err == 0) {
		add_good(l, name, &r.sn);
		image_reader_close(&r);
	} else if (err != -ENOENT) {
		add_bad(l, name, &why);
	}
}

static int check_newest(const char *directory, const char *name, struct reason *why)
{
	char path[PATH_MAX];
	struct image_reader r;
	int err;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	err = image_reader_open(&r, path, why);
	if (err < 0)
		return err;
	err = image_reader_check(&r, why);
	image_reader_close(&r);
	return err;
}

static void print_json(const struct listing *l, const char *newest, bool whole)
{
	struct shown path;
	json_t *root = json_pack("{s:s, s:s, s:s, s:b, s:O}", "path", show(&path, l->directory), "what", "checkpoints", "restore",
				 newest, "whole", whole, "checkpoints", l->array);

	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

static void print_head(const struct listing *l, const char *newest, bool whole)
{
	struct shown path;

	printf("%s: checkpoints; restore takes %s, which is %swhole\n", show(&path, l->directory), newest, whole ? "" : "not ");
	printf("%-10s  %-11s  %-23s  %13s  made on\n", "name", "kind", "taken", "stored");
}

/* Returns the exit status. */
static int print_list(struct listing *l, const unsigned int *number, size_t count)
{
	char newest[CHECKPOINT_NAME];
	struct reason why = {0};
	bool whole = check_newest(l->directory, checkpoint_name(number[count - 1], newest), &why) == 0;

	if (!l->array)
		print_head(l, newest, whole);
	for (size_t i = 0; i < count; i++)
		add_one(l, number[i]);
	if (l->array)
		print_json(l, newest, whole);
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	return program_flush_output() < 0 || !whole || l->bad ? EXIT_BAD : 0;
}

int checkpoint_list_inspect(const char *directory, bool json)
{
	struct listing l = {.directory = directory, .array = json ? json_array() : NULL};
	struct reason why = {0};
	unsigned int *number;
	size_t count;
	int status = EXIT_BAD;

	if (checkpoints_all(directory, &number, &count, &why) == 0) {
		if (count)
			status = print_list(&l, number, count);
		free(number);
	}
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	json_decref(l.array);
	return status;
}
