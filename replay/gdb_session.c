#include "replay/gdb_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_description.h"
#include "replay/gdb_hex.h"
#include "replay/gdb_packet.h"
#include "replay/gdb_request.h"
#include "replay/gdb_stop_reply.h"
#include "vmm/cpu_state.h"

struct request {
	const char *name;
	gdb_request *answer;
	enum { ALONE = 1, BINARY } form; /* nothing comes behind the name; there may be NULs */
};

/* The first that fits is it. */
static const struct request requests[] = {
	{"?", gdb_request_why, ALONE},
	{"g", gdb_request_all_registers, ALONE},
	{"G", gdb_request_set_all_registers, 0},
	{"p", gdb_request_register, 0},
	{"P", gdb_request_set_register, 0},
	{"m", gdb_request_read, 0},
	{"M", gdb_request_write, 0},
	{"X", gdb_request_write_binary, BINARY},
	{"Z", gdb_request_insert, 0},
	{"z", gdb_request_remove, 0},
	{"bc", gdb_request_reverse_continue, ALONE},
	{"bs", gdb_request_reverse_step, ALONE},
	{"c", gdb_request_continue, 0},
	{"C", gdb_request_continue_signal, 0},
	{"s", gdb_request_step, 0},
	{"S", gdb_request_step_signal, 0},
	{"vCont?", gdb_request_vcont_query, ALONE},
	{"vCont;", gdb_request_vcont, 0},
	{"D", gdb_request_detach, 0},
	{"k", gdb_request_kill, ALONE},
	{"vKill;", gdb_request_vkill, 0},
	{"Hg", gdb_request_thread, 0},
	{"Hc", gdb_request_thread, 0},
	{"T", gdb_request_thread, 0},
	{"qSupported", gdb_request_supported, ALONE},
	{"qSupported:", gdb_request_supported, 0},
	{"QStartNoAckMode", gdb_request_no_ack, ALONE},
	{"qXfer:features:read:", gdb_request_features, 0},
	{"qRcmd,", gdb_request_monitor, 0},
	{"qC", gdb_request_current_thread, ALONE},
	{"qfThreadInfo", gdb_request_first_threads, ALONE},
	{"qsThreadInfo", gdb_request_more_threads, ALONE},
	{"qThreadExtraInfo,", gdb_request_thread_info, 0},
	{"qAttached", gdb_request_attached, ALONE},
	{"qAttached:", gdb_request_attached, 0},
};

static bool fits(const struct request *r, const char *data, size_t size)
{
	size_t name = strlen(r->name);

	return size >= name && !memcmp(data, r->name, name) && (r->form != ALONE || size == name);
}

static const struct request *find(const char *data, size_t size)
{
	for (const struct request *r = requests; r < requests + sizeof(requests) / sizeof(*requests); r++) {
		if (fits(r, data, size))
			return r;
	}
	return NULL;
}

int gdb_session_create(struct gdb_session *s, const struct gdb_target *target, const struct gdb_sink *sink)
{
	*s = (struct gdb_session){.target = *target, .sink = *sink, .why.kind = GDB_STOP_SIGNAL};
	s->description = gdb_description(&s->description_size);
	return s->description ? 0 : -ENOMEM;
}

void gdb_session_destroy(struct gdb_session *s)
{
	free(s->description);
}

void gdb_session_reset(struct gdb_session *s)
{
	gdb_points_remove_all(&s->points, &s->target);
	s->no_ack = s->swbreak = s->hwbreak = s->waits = s->range.on = false;
}

static bool in_range(struct gdb_session *s)
{
	struct cpu_state cs;

	return s->target.ops->registers(s->target.target, &cs) == 0 && cs.rip >= s->range.from && cs.rip < s->range.to;
}

bool gdb_session_stopped(struct gdb_session *s, const struct gdb_stop *why, bool interrupted)
{
	char text[GDB_STOP_REPLY_MAX];

	if (s->range.on && s->waits && why->kind == GDB_STOP_SIGNAL && !interrupted && in_range(s))
		return true;
	s->range.on = false;
	s->why = *why;
	if (s->waits)
		gdb_reply(s, gdb_stop_reply(text, why, s->swbreak, s->hwbreak));
	s->waits = false;
	return false;
}

int gdb_session_answer(struct gdb_session *s, const char *data, size_t size)
{
	const struct request *r = find(data, size);
	size_t name;
	int how;

	/* The protocol's word for "unknown". */
	if (!r)
		return gdb_reply(s, "");
	name = strlen(r->name);
	if (r->form != BINARY && memchr(data, '\0', size))
		return gdb_reply_error(s, -EINVAL);
	how = r->answer(s, data + name, size - name);
	s->waits = how == GDB_CONTINUE || how == GDB_STEP || how == GDB_REVERSE_CONTINUE || how == GDB_REVERSE_STEP;
	return how;
}

void gdb_session_refuse(struct gdb_session *s, int err)
{
	gdb_reply_error(s, err);
}

int gdb_reply(struct gdb_session *s, const char *text)
{
	s->sink.send(s->sink.to, text, strlen(text));
	return GDB_STANDS;
}

int gdb_reply_bytes(struct gdb_session *s, const void *bytes, size_t size)
{
	char text[GDB_PACKET_MAX];

	s->sink.send(s->sink.to, text, (size_t)(gdb_hex_write(text, bytes, size) - text));
	return GDB_STANDS;
}

/* Two digits, which have no meaning to gdb but are shown: the error's number in decimal, so that E14 is EFAULT. */
int gdb_reply_error(struct gdb_session *s, int err)
{
	char text[8];

	snprintf(text, sizeof(text), "E%02d", err > -100 && err < 0 ? -err : EIO);
	return gdb_reply(s, text);
}

int gdb_reply_result(struct gdb_session *s, int err)
{
	return err ? gdb_reply_error(s, err) : gdb_reply(s, "OK");
}
