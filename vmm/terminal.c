#include "vmm/terminal.h"

#include <unistd.h>

void terminal_take(struct terminal *t, int fd)
{
	struct termios raw;

	t->fd = -1;
	/* A background job that changes its terminal is stopped by SIGTTOU. */
	if (tcgetpgrp(fd) != getpgrp() || tcgetattr(fd, &t->saved))
		return;
	raw = t->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSANOW, &raw) == 0)
		t->fd = fd;
}

void terminal_give_back(struct terminal *t)
{
	if (t->fd >= 0)
		tcsetattr(t->fd, TCSANOW, &t->saved);
	t->fd = -1;
}
