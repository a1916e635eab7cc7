/*
 * Why something about a snapshot failed, in one line: it goes to the log, or to whoever asked through the control socket.
 */
#pragma once

struct reason {
	char text[512]; /* empty: nothing has failed, or it has been logged already */
};

/* Writes the reason, unless there is one already, and returns -err: `return reason_give(why, EINVAL, "%s: ...", path)`. */
int reason_give(struct reason *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, and what errno `err` means behind it. */
int reason_errno(struct reason *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
