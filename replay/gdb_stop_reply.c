#include "replay/gdb_stop_reply.h"

#include <inttypes.h>
#include <stdio.h>

#include "vmm/ensure.h"

#define SIGNAL_INT 2u /* by gdb's numbers */
#define SIGNAL_TRAP 5u

static const struct {
	const char *word;
	bool gva;
} reasons[GDB_STOP_KINDS] = {
	[GDB_STOP_BREAK] = {"swbreak:", false},
	[GDB_STOP_HARDWARE_BREAK] = {"hwbreak:", false},
	[GDB_STOP_WATCH] = {"watch:", true},
	[GDB_STOP_READ_WATCH] = {"rwatch:", true},
	[GDB_STOP_ACCESS_WATCH] = {"awatch:", true},
	[GDB_STOP_HISTORY_BEGIN] = {"replaylog:begin", false},
	[GDB_STOP_HISTORY_END] = {"replaylog:end", false},
};

static void print_reason(char *text, size_t room, const struct gdb_stop *why)
{
	const char *word = reasons[why->kind].word;

	if (!word)
		*text = '\0';
	else if (reasons[why->kind].gva)
		snprintf(text, room, "%s%" PRIx64 ";", word, why->gva);
	else
		snprintf(text, room, "%s;", word);
}

const char *gdb_stop_reply(char text[GDB_STOP_REPLY_MAX], const struct gdb_stop *why, bool swbreak, bool hwbreak)
{
	bool told = (why->kind != GDB_STOP_BREAK || swbreak) && (why->kind != GDB_STOP_HARDWARE_BREAK || hwbreak);
	unsigned int signal = why->kind == GDB_STOP_INTERRUPTED ? SIGNAL_INT : SIGNAL_TRAP;
	char reason[40] = "";

	ensure(why->kind < GDB_STOP_KINDS);
	if (why->kind == GDB_STOP_EXITED || why->kind == GDB_STOP_KILLED) {
		snprintf(text, GDB_STOP_REPLY_MAX, "%c%02x", why->kind == GDB_STOP_EXITED ? 'W' : 'X', why->code);
		return text;
	}
	if (told)
		print_reason(reason, sizeof(reason), why);
	snprintf(text, GDB_STOP_REPLY_MAX, "T%02x%sthread:1;", signal, reason);
	return text;
}
