#include "vmm/terminal.h"

#include <unistd.h>

void terminal_init(struct terminal *t, int fd)
{
	*t = (struct terminal){.fd = fd >= 0 && isatty(fd) ? fd : -1};
}

/* A terminal that is not this session's has neither a foreground nor a background for us: it is read and left as it is. */
enum place { ELSEWHERE, FOREGROUND, BACKGROUND };

static enum place place(const struct terminal *t)
{
	pid_t owner = t->fd < 0 ? -1 : tcgetpgrp(t->fd);

	if (owner < 0)
		return ELSEWHERE;
	return owner == getpgrp() ? FOREGROUND : BACKGROUND;
}

bool terminal_in_background(const struct terminal *t)
{
	return place(t) == BACKGROUND;
}

void terminal_take(struct terminal *t)
{
	struct termios raw;

	if (place(t) != FOREGROUND || (!t->taken && tcgetattr(t->fd, &t->saved)))
		return;
	raw = t->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	t->taken = tcsetattr(t->fd, TCSANOW, &raw) == 0 || t->taken;
}

void terminal_give_back(struct terminal *t)
{
	if (t->taken && place(t) == FOREGROUND)
		tcsetattr(t->fd, TCSANOW, &t->saved);
	t->taken = false;
}
