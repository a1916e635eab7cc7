/*
 * The user's terminal while a guest has it: characters come one by one and unechoed; Ctrl-C still raises SIGINT. A shell
 * moves the program to the background and back whenever its user likes. There the terminal is neither read nor changed,
 * for either of them would stop the program.
 */
#pragma once

#include <stdbool.h>
#include <termios.h>

struct terminal {
	int fd;	    /* -1: the input is none */
	bool taken; /* it was changed, and is to be put back */
	struct termios saved;
};

/* fd may be anything, also -1. */
void terminal_init(struct terminal *t, int fd);

/* False also where there is no terminal. */
bool terminal_in_background(const struct terminal *t);

/* Changes the terminal if this process is in its foreground; again, if a shell has changed it since. */
void terminal_take(struct terminal *t);

/* Puts back what was. Safe to call twice. */
void terminal_give_back(struct terminal *t);
