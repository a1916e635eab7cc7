#include "vmm/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/program.h"

/*
 * Two passes. The first only looks whether argp knows every option, and answers --help; argp's own words about a mistake
 * take two lines and repeat bytes of it as they are, so it is told to be silent. The second is the command's own.
 */

enum { KEY_HELP = 0x7f01, KEY_USAGE };

static const struct argp_option help_options[] = {
	{"help", KEY_HELP, NULL, 0, "Print this help", -1},
	{"usage", KEY_USAGE, NULL, 0, "Print a short usage message", 0},
	{0},
};

/* Some commands have no options (NULL). */
static const struct argp_option *find(const struct argp_option *options, const char *word, size_t length)
{
	for (const struct argp_option *o = options; o && o->name; o++) {
		if (strlen(o->name) == length && !strncmp(o->name, word, length))
			return o;
	}
	return NULL;
}

/* Where getopt stands after a mistake: behind the word, except in the middle of a bundle of short options. */
static const char *culprit(const struct argp_state *state)
{
	const char *next = state->next < state->argc ? state->argv[state->next] : "";

	return next[0] == '-' && next[1] && next[1] != '-' && next[2] ? next : state->argv[state->next - 1];
}

static const char *command_name(char **argv)
{
	const char *space = strrchr(argv[0], ' ');

	return space ? space + 1 : argv[0];
}

static void say_mistake(const struct argp_state *state)
{
	const struct argp_child *command = state->root_argp->children;
	const char *word = culprit(state), *name = word + strspn(word, "-"), *why = "no such option";
	size_t length = strcspn(name, "=");
	const struct argp_option *o = find(command->argp->options, name, length);

	if (!o)
		o = find(help_options, name, length);
	if (o && o->arg)
		why = "its value is missing";
	else if (o)
		why = "takes no value";
	log_bad(EINVAL, "%s: %s: %s; try `%s --help`", command_name(state->argv), word, why, state->argv[0]);
}

static void print_help(const struct argp_state *state, unsigned int flags)
{
	argp_help(state->root_argp, stdout, flags, state->argv[0]);
	exit(program_flush_output() < 0 ? EXIT_BAD : 0);
}

static error_t look(int key, char *arg, struct argp_state *state)
{
	const char **argument = state->input;

	if (key == ARGP_KEY_ARG)
		*argument = arg;
	else if (key == KEY_HELP)
		print_help(state, ARGP_HELP_STD_HELP);
	else if (key == KEY_USAGE)
		print_help(state, ARGP_HELP_USAGE);
	else if (key == ARGP_KEY_ERROR)
		say_mistake(state);
	return 0;
}

/* In the command's stead: takes all its options. */
static error_t accept_all(int key, char *arg, struct argp_state *state)
{
	return 0;
}

/* The second pass has been told by the first that there is no --help. */
static error_t pass_on(int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

static int parse(const struct argp *argp, argp_parser_t parser, int argc, char **argv, void *input)
{
	const struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
	const struct argp whole = {.options = help_options, .parser = parser, .children = children};

	return -argp_parse(&whole, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_IN_ORDER, NULL, input);
}

int command_line_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	struct argp seen = *argp;
	const char *argument = NULL;
	int r;

	seen.parser = accept_all;
	r = parse(&seen, look, argc, argv, &argument);
	if (r == 0 && argument && !argp->args_doc)
		r = log_bad(EINVAL, "%s: %s: this command takes no arguments", command_name(argv), argument);
	return r ? r : parse(argp, pass_on, argc, argv, input);
}
