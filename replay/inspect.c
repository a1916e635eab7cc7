#include "replay/inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/recording_files.h"
#include "replay/show_event.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/show.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/vm.h"

/* What a log says in all. */
struct summary {
	const char *path;
	const struct image_reader *start;
	uint64_t begins, ends; /* positions */
	uint64_t events[EVENT_KINDS], external_bytes, packed_bytes, ns;
	uint64_t file_bytes, left; /* behind the last whole block */
	bool whole;
	uint8_t how, code;
};

bool recording_inspect_knows(const char *path)
{
	return recording_is_at(path);
}

static void add(struct summary *s, const struct event *e)
{
	s->events[e->kind]++;
	if (e->kind == EVENT_EXTERNAL)
		s->external_bytes += e->external.size;
	else if (e->kind == EVENT_PAGE || e->kind == EVENT_STATE)
		s->packed_bytes += e->packed.size;
	else if (e->kind == EVENT_CLOCK)
		s->ns += e->ns;
	else if (e->kind == EVENT_END)
		s->how = e->end.how, s->code = e->end.code;
}

static int sum(struct summary *s, struct log_reader *r, struct reason *why)
{
	struct event e;
	int n;

	s->begins = r->header.position;
	while ((n = log_reader_next(r, &e, why)) == 1)
		add(s, &e);
	s->ends = r->position;
	s->file_bytes = r->size;
	s->left = log_reader_left(r);
	s->whole = log_reader_is_whole(r);
	return n;
}

static void print_text(const struct summary *s)
{
	struct shown path, image;
	uint64_t all = 0;

	printf("%s: a recording, %s\n", show(&path, s->path), s->whole ? "whole" : "cut off: its guest's end is not in it");
	printf("image     %s\n", show(&image, s->start->sn.machine.image));
	printf("positions %" PRIu64 " to %" PRIu64 ", %.3f s of the guest's time\n", s->begins, s->ends, (double)s->ns / 1e9);
	for (unsigned int i = 0; i < EVENT_KINDS; i++)
		all += s->events[i];
	printf("events    %" PRIu64 " in %" PRIu64 " bytes:", all, s->file_bytes);
	for (unsigned int i = 0; i < EVENT_KINDS; i++)
		if (s->events[i])
			printf(" %" PRIu64 " %s", s->events[i], event_kind_names[i]);
	printf("\nbrought   %" PRIu64 " bytes from outside; %" PRIu64 " for asynchronous points\n", s->external_bytes, s->packed_bytes);
	if (s->whole)
		printf("end       %s, code %u\n", vm_end_name(s->how), s->code);
	if (s->left)
		printf("left      %" PRIu64 " bytes behind its last whole block are not used\n", s->left);
}

static void print_json(const struct summary *s)
{
	struct shown path, image;
	json_t *events = json_object(), *root;

	for (unsigned int i = 0; i < EVENT_KINDS; i++)
		json_object_set_new(events, event_kind_names[i], json_integer((json_int_t)s->events[i]));
	root = json_pack("{s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path", show(&path, s->path), "what",
			 "a recording", "whole", s->whole, "image", show(&image, s->start->sn.machine.image), "begins",
			 (json_int_t)s->begins, "ends", (json_int_t)s->ends, "guest_ns", (json_int_t)s->ns, "bytes",
			 (json_int_t)s->file_bytes, "left_bytes", (json_int_t)s->left, "external_bytes", (json_int_t)s->external_bytes,
			 "packed_bytes", (json_int_t)s->packed_bytes, "events", events);
	if (s->whole) {
		json_object_set_new(root, "end", json_string(vm_end_name(s->how)));
		json_object_set_new(root, "code", json_integer(s->code));
	}
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

/* Has `read` read the log of a recording. */
static int with_log(struct summary *s, int (*read)(struct summary *s, struct log_reader *r, struct reason *why), struct reason *why)
{
	struct log_reader reader;
	char name[PATH_MAX];
	bool partial;
	int fd = recording_open_log(s->path, name, &partial, why), err;

	if (fd < 0)
		return fd;
	err = log_reader_open(&reader, fd, name, why);
	if (err == 0) {
		err = read(s, &reader, why);
		log_reader_close(&reader);
	}
	close(fd);
	return err;
}

static int inspect_log(struct summary *s, bool json, struct reason *why)
{
	int err = with_log(s, sum, why);

	if (err == 0)
		(json ? print_json : print_text)(s);
	return err;
}

static int inspect_start(struct summary *s, bool json, struct reason *why)
{
	struct image_reader start;
	char path[PATH_MAX];
	int err = recording_file(path, s->path, RECORDING_START, why);

	if (err == 0)
		err = image_reader_open(&start, path, why);
	if (err < 0)
		return err;
	s->start = &start;
	err = image_reader_check(&start, why);
	if (err == 0)
		err = inspect_log(s, json, why);
	image_reader_close(&start);
	return err;
}

static int print_events(struct summary *s, struct log_reader *r, struct reason *why)
{
	struct event e;
	int n;

	while ((n = log_reader_next(r, &e, why)) == 1)
		show_event(&e);
	return n;
}

/* One object a line. */
static int print_events_json(struct summary *s, struct log_reader *r, struct reason *why)
{
	struct event e;
	int n;

	while ((n = log_reader_next(r, &e, why)) == 1) {
		json_t *o = show_event_json(&e);

		json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(o);
	}
	return n;
}

int recording_inspect_events(const char *path, bool json)
{
	struct summary s = {.path = path};
	struct reason why = {0};
	int err = with_log(&s, json ? print_events_json : print_events, &why);

	if (program_flush_output() < 0)
		return EXIT_BAD;
	if (err < 0)
		log_print(LOG_ERROR, "%s", why.text);
	return err < 0 ? EXIT_BAD : 0;
}

int recording_inspect(const char *path, bool json)
{
	struct summary s = {.path = path};
	struct reason why = {0};

	if (inspect_start(&s, json, &why) == 0)
		return program_flush_output() < 0 ? EXIT_BAD : 0;
	log_print(LOG_ERROR, "%s", why.text);
	return EXIT_BAD;
}
