#include <errno.h>
#include <string.h>

#include "replay/gdb_hex.h"
#include "replay/gdb_request.h"

/* "", or the address to go on at. */
static int go_on(struct gdb_session *s, const char *args, enum gdb_resume how)
{
	uint64_t rip;
	int r;

	if (!*args)
		return (int)how;
	if (!gdb_hex_number(&args, &rip) || *args)
		return gdb_reply_error(s, -EINVAL);
	r = gdb_request_jump(s, rip);
	return r < 0 ? gdb_reply_error(s, r) : (int)how;
}

/* A signal, which a guest has none of: 0 says that there is none. */
static int take_no_signal(const char **args)
{
	uint64_t signal;

	if (!gdb_hex_number(args, &signal))
		return -EINVAL;
	return signal ? -ENOTSUP : 0;
}

static int go_on_signalled(struct gdb_session *s, const char *args, enum gdb_resume how)
{
	int r = take_no_signal(&args);

	if (r == 0 && *args && !gdb_text_skip(&args, ';'))
		r = -EINVAL;
	return r < 0 ? gdb_reply_error(s, r) : go_on(s, args, how);
}

int gdb_request_continue(struct gdb_session *s, const char *args, size_t size)
{
	return go_on(s, args, GDB_CONTINUE);
}

int gdb_request_continue_signal(struct gdb_session *s, const char *args, size_t size)
{
	return go_on_signalled(s, args, GDB_CONTINUE);
}

int gdb_request_step(struct gdb_session *s, const char *args, size_t size)
{
	return go_on(s, args, GDB_STEP);
}

int gdb_request_step_signal(struct gdb_session *s, const char *args, size_t size)
{
	return go_on_signalled(s, args, GDB_STEP);
}

int gdb_request_reverse_continue(struct gdb_session *s, const char *args, size_t size)
{
	return s->target.ops->reverses ? GDB_REVERSE_CONTINUE : gdb_reply(s, "");
}

int gdb_request_reverse_step(struct gdb_session *s, const char *args, size_t size)
{
	return s->target.ops->reverses ? GDB_REVERSE_STEP : gdb_reply(s, "");
}

int gdb_request_vcont_query(struct gdb_session *s, const char *args, size_t size)
{
	/* gdb uses none if one of the first four is missing. */
	return gdb_reply(s, "vCont;c;C;s;S;r");
}

/* "-1" are all, "0" is any. False if it is no thread's name. */
static bool take_thread(const char **args, bool *is_ours)
{
	uint64_t thread;

	if (!strncmp(*args, "-1", 2)) {
		*args += 2;
		return *is_ours = true;
	}
	if (!gdb_hex_number(args, &thread))
		return false;
	*is_ours = thread <= 1;
	return true;
}

struct action {
	enum gdb_resume how;
	bool range;
	uint64_t from, to;
};

/* "c", "C00", "s", "S00" or "rFROM,TO". Returns 0 or -errno. */
static int take_action(const char **args, struct action *a)
{
	char letter = **args;

	if (!letter || !strchr("cCsSr", letter))
		return -EINVAL;
	++*args;
	*a = (struct action){.how = letter == 'c' || letter == 'C' ? GDB_CONTINUE : GDB_STEP, .range = letter == 'r'};
	if (letter == 'C' || letter == 'S')
		return take_no_signal(args);
	if (letter != 'r')
		return 0;
	return gdb_hex_number(args, &a->from) && gdb_text_skip(args, ',') && gdb_hex_number(args, &a->to) ? 0 : -EINVAL;
}

/* "ACTION[:THREAD];..." of which the first that names our thread holds. Returns 0 or -errno. */
static int parse_vcont(const char *args, struct action *a)
{
	bool found = false, ours = true;
	struct action next;

	do {
		int r = take_action(&args, &next);

		if (r < 0)
			return r;
		ours = true;
		if (gdb_text_skip(&args, ':') && !take_thread(&args, &ours))
			return -EINVAL;
		if (ours && !found)
			*a = next;
		found |= ours;
	} while (gdb_text_skip(&args, ';'));
	if (*args)
		return -EINVAL;
	return found ? 0 : -ESRCH;
}

int gdb_request_vcont(struct gdb_session *s, const char *args, size_t size)
{
	struct action a = {0};
	int r = parse_vcont(args, &a);

	if (r < 0)
		return gdb_reply_error(s, r);
	s->range.on = a.range;
	s->range.from = a.from;
	s->range.to = a.to;
	return (int)a.how;
}

int gdb_request_detach(struct gdb_session *s, const char *args, size_t size)
{
	/* Behind a semicolon comes the process; there is only one. */
	if (*args && *args != ';')
		return gdb_reply_error(s, -EINVAL);
	gdb_points_remove_all(&s->points, &s->target);
	gdb_reply(s, "OK");
	return GDB_DETACH;
}

/* It has no answer. */
int gdb_request_kill(struct gdb_session *s, const char *args, size_t size)
{
	return GDB_KILL;
}

int gdb_request_vkill(struct gdb_session *s, const char *args, size_t size)
{
	gdb_reply(s, "OK");
	return GDB_KILL;
}

/* Hc, Hg: the thread that is meant from now on; T: whether it lives. */
int gdb_request_thread(struct gdb_session *s, const char *args, size_t size)
{
	bool ours;

	if (!take_thread(&args, &ours) || *args)
		return gdb_reply_error(s, -EINVAL);
	return gdb_reply_result(s, ours ? 0 : -ESRCH);
}
