/*
 * The user's terminal while a guest has it: characters come one by one and unechoed; Ctrl-C still raises SIGINT.
 */
#pragma once

#include <stdbool.h>
#include <termios.h>

struct terminal {
	int fd; /* -1: nothing was changed */
	struct termios saved;
};

/* Changes fd if it is a terminal this process is in the foreground of; otherwise does nothing. */
void terminal_take(struct terminal *t, int fd);

/* Puts back what was. Safe to call twice. */
void terminal_give_back(struct terminal *t);
