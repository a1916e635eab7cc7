#include "tests/vm/edited_log.h"

#include <check.h>
#include <fcntl.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "snapshot/reason.h"

unsigned int logged(const char *path, enum event_kind kind)
{
	struct reason why = {.text = ""};
	struct log_reader r;
	struct event e;
	unsigned int count = 0;
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(log_reader_open(&r, fd, path, &why), 0);
	while (log_reader_next(&r, &e, &why) == 1)
		count += e.kind == kind;
	log_reader_close(&r);
	close(fd);
	return count;
}

void edit_log(const char *from, const char *to, enum verdict (*edit)(void *arg, struct event *e), void *arg)
{
	int in = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct reason why = {.text = ""};
	struct log_reader r;
	struct log_writer w;
	struct event e;

	ck_assert_int_eq(log_reader_open(&r, in, from, &why), 0);
	ck_assert_int_eq(log_writer_open(&w, out, r.header.id, r.header.start, r.header.position), 0);
	while (log_reader_next(&r, &e, &why) == 1)
		if (edit(arg, &e) == KEEP)
			ck_assert_int_eq(log_writer_put(&w, &e), 0);
	ck_assert(log_reader_is_whole(&r));
	log_reader_close(&r);
	ck_assert_int_eq(log_writer_flush(&w), 0);
	log_writer_close(&w);
	close(in);
	close(out);
}
