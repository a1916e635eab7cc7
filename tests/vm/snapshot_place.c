#include "tests/vm/snapshot_place.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct snapshot_place make_snapshot_place(void)
{
	return (struct snapshot_place){.control = make_place()};
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void leave_snapshot_place(const struct snapshot_place *p)
{
	ck_assert_msg(!is_there(p->control.path), "%s is left behind", p->control.path);
	ck_assert_int_eq(nftw(p->control.directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

char *snapshot_path(const struct snapshot_place *p, const char *name)
{
	char *path;

	ck_assert_int_gt(asprintf(&path, "%s/%s", p->control.directory, name), 0);
	return path;
}

/* Counts those that have a name of eight digits. */
static unsigned int look_through(const char *directory, unsigned int *newest)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	unsigned int n = 0;

	*newest = 0;
	while (d && (e = readdir(d))) {
		unsigned int number = (unsigned int)strtoul(e->d_name, NULL, 10);

		if (strlen(e->d_name) != 8 || strspn(e->d_name, "0123456789") != 8)
			continue;
		*newest = number > *newest ? number : *newest;
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

unsigned int count_checkpoints(const char *directory)
{
	unsigned int newest;

	return look_through(directory, &newest);
}

unsigned int newest_checkpoint(const char *directory)
{
	unsigned int newest;

	look_through(directory, &newest);
	return newest;
}

bool ask_quietly(const struct place *p, const char *request)
{
	char line[200], *text = NULL;
	int fd = try_connect(p->path), size = snprintf(line, sizeof(line), "%s\n", request);
	bool ok = false;

	if (fd < 0)
		return false;
	if (send(fd, line, (size_t)size, MSG_NOSIGNAL) == size)
		text = read_answer(fd);
	if (text) {
		json_t *answer = parse_answer(text);

		ok = json_is_true(json_object_get(answer, "ok"));
		json_decref(answer);
	}
	close(fd);
	return ok;
}

bool save_quietly(const struct snapshot_place *p, const char *options, const char *name)
{
	char request[200];

	snprintf(request, sizeof(request), "snapshot %s%s/%s", options, p->control.directory, name);
	return ask_quietly(&p->control, request);
}

void save(const struct snapshot_place *p, const char *name)
{
	char request[200];

	snprintf(request, sizeof(request), "snapshot %s/%s", p->control.directory, name);
	ask_ok(&p->control, request);
}

struct child start_shell(const struct snapshot_place *p, const char *options)
{
	char words[300];
	struct child c;

	snprintf(words, sizeof(words), "%s%s@shell", options, *options ? " " : "");
	c = start_run(&p->control, words);
	child_expect(&c, "> ");
	return c;
}

struct child start_restore(const struct snapshot_place *p, const char *words, const char *name)
{
	char line[300];

	snprintf(line, sizeof(line), "%s%s%s/%s", words, *words ? " " : "", p->control.directory, name);
	return start_listening(p, "restore", line, SPAWN_PIPE);
}

struct child start_listening(const struct snapshot_place *p, const char *command, const char *words, enum spawn_stdin in)
{
	char line[800];
	struct child c;
	int fd;

	snprintf(line, sizeof(line), "%s --control %s %s", command, p->control.path, words);
	c = child_start(&(struct spawn){.line = line, .in = in, .limit_s = 400});
	while ((fd = try_connect(p->control.path)) < 0 && !child_has_ended(&c))
		usleep(200); /* fast guests are to be caught, too */
	if (fd >= 0)
		close(fd);
	return c;
}

struct outcome restore(const struct snapshot_place *p, const char *words, const char *name)
{
	return restore_with(p, words, name, "");
}

void assert_not_restored(const struct snapshot_place *p, const char *words, const char *name, const char *part)
{
	struct outcome o = restore(p, words, name);

	assert_complaint(&o, 125, part, NULL, words);
	outcome_free(&o);
}

struct outcome restore_with(const struct snapshot_place *p, const char *words, const char *name, const char *input)
{
	char line[300];

	snprintf(line, sizeof(line), "restore%s%s %s/%s", *words ? " " : "", words, p->control.directory, name);
	return spawn_line(line, input);
}

void assert_went_on(const struct outcome *whole, const struct outcome *killed, const struct outcome *rest, const char *what)
{
	const struct bytes *all = &whole->out, *head = &killed->out, *tail = &rest->out;

	ck_assert_msg(rest->status == whole->status && !rest->err.size, "%s: status %d, '%s'", what, rest->status,
		      rest->err.data);
	ck_assert_msg(head->size <= all->size && !memcmp(all->data, head->data, head->size), "%s: said '%s' first", what,
		      head->data);
	ck_assert_msg(tail->size <= all->size && !strcmp(all->data + all->size - tail->size, tail->data), "%s: went on with '%s'",
		      what, tail->data);
	ck_assert_msg(head->size + tail->size >= all->size, "%s: between '%s' and '%s' something is missing", what,
		      head->data, tail->data);
}
