/*
 * A request of the control socket (control.h) that a feature carries out: its name, then one argument up to the line's end, which
 * may begin with options. It goes to a run with one guest. main.c says which there are.
 */
#pragma once

struct program;
struct vm;

/* What a feature does for one request. */
struct control_job {
	/* Any thread, once, when all is done: the request is answered. Nothing of the job may be touched afterwards. */
	void (*done)(struct control_job *j);
	const char *argument; /* never empty */
	const struct program *program;
	char why[512]; /* what went wrong, in one line; empty = nothing */
};

struct control_feature {
	const char *name;

	/* The vCPU's thread, between guest runs. The guest may have ended when the job is done; its VM is there until then. */
	void (*run)(struct control_job *j, struct vm *vm);
};
