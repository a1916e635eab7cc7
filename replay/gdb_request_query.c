#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_hex.h"
#include "replay/gdb_packet.h"
#include "replay/gdb_request.h"
#include "replay/gdb_stop_reply.h"

int gdb_request_why(struct gdb_session *s, const char *args, size_t size)
{
	char text[GDB_STOP_REPLY_MAX];

	return gdb_reply(s, gdb_stop_reply(text, &s->why, s->swbreak, s->hwbreak));
}

static bool is_feature(const char *text, size_t size, const char *name)
{
	return size == strlen(name) && !memcmp(text, name, size);
}

/* "FEATURE+;FEATURE-;FEATURE=VALUE;..." are gdb's; the answer's are ours. */
int gdb_request_supported(struct gdb_session *s, const char *args, size_t size)
{
	char text[200];

	s->swbreak = s->hwbreak = false;
	while (*args) {
		size_t length = strcspn(args, ";");

		s->swbreak |= is_feature(args, length, "swbreak+");
		s->hwbreak |= is_feature(args, length, "hwbreak+");
		args += length + (args[length] == ';');
	}
	snprintf(text, sizeof(text), "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+%s", GDB_PACKET_MAX,
		 s->target.ops->reverses ? ";ReverseStep+;ReverseContinue+" : "");
	return gdb_reply(s, text);
}

int gdb_request_no_ack(struct gdb_session *s, const char *args, size_t size)
{
	s->no_ack = true;
	return gdb_reply(s, "OK");
}

/* "target.xml:OFFSET,SIZE". The answer begins with m if more follows, with l if not. */
int gdb_request_features(struct gdb_session *s, const char *args, size_t size)
{
	static const char name[] = "target.xml:";
	char text[GDB_PACKET_BINARY_MAX];
	uint64_t offset, wanted;
	size_t left;

	if (strncmp(args, name, strlen(name)))
		return gdb_reply_error(s, -ENOENT);
	args += strlen(name);
	if (!gdb_hex_number(&args, &offset) || !gdb_text_skip(&args, ',') || !gdb_hex_number(&args, &wanted) || *args ||
	    offset > s->description_size)
		return gdb_reply_error(s, -EINVAL);
	left = s->description_size - offset;
	if (wanted > sizeof(text) - 1)
		wanted = sizeof(text) - 1;
	*text = wanted < left ? 'm' : 'l';
	if (wanted > left)
		wanted = left;
	memcpy(text + 1, s->description + offset, wanted);
	s->sink.send(s->sink.to, text, wanted + 1);
	return GDB_STANDS;
}

/* Text for the user goes ahead of the answer, in packets that begin with O. */
static void show(struct gdb_session *s, const char *text, size_t size)
{
	char packet[GDB_PACKET_MAX];
	const size_t most = (sizeof(packet) - 1) / 2;

	*packet = 'O';
	while (size) {
		size_t piece = size < most ? size : most;

		s->sink.send(s->sink.to, packet, (size_t)(gdb_hex_write(packet + 1, text, piece) - packet));
		text += piece;
		size -= piece;
	}
}

static int run_command(struct gdb_session *s, const char *command)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	r = s->target.ops->monitor(s->target.target, command, out);
	if (r == -EINVAL) {
		fprintf(out, "%s: no such command; `monitor help` lists them\n", command);
		r = 0;
	}
	if (fclose(out))
		r = -ENOMEM;
	else
		show(s, text, size);
	free(text);
	return r;
}

int gdb_request_monitor(struct gdb_session *s, const char *args, size_t size)
{
	char command[GDB_PACKET_BINARY_MAX + 1];

	if (!s->target.ops->monitor)
		return gdb_reply(s, "");
	if (size % 2 || !gdb_hex_read(command, args, size / 2) || memchr(command, '\0', size / 2))
		return gdb_reply_error(s, -EINVAL);
	command[size / 2] = '\0';
	return gdb_reply_result(s, run_command(s, command));
}

int gdb_request_current_thread(struct gdb_session *s, const char *args, size_t size)
{
	return gdb_reply(s, "QC1");
}

int gdb_request_first_threads(struct gdb_session *s, const char *args, size_t size)
{
	return gdb_reply(s, "m1");
}

int gdb_request_more_threads(struct gdb_session *s, const char *args, size_t size)
{
	return gdb_reply(s, "l");
}

int gdb_request_thread_info(struct gdb_session *s, const char *args, size_t size)
{
	static const char words[] = "vCPU 0";

	return gdb_reply_bytes(s, words, strlen(words));
}

/* So gdb lets go of the guest when it ends, and does not kill it. */
int gdb_request_attached(struct gdb_session *s, const char *args, size_t size)
{
	return gdb_reply(s, "1");
}
