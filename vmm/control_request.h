/*
 * A request that came over the control socket: parsed, carried out by all VMs of a fleet, answered. The VMs' parts run on
 * their vCPUs' threads; everything here is called on the fleet's thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct control_request;
struct fleet;
struct program;

/*
 * Has all VMs of f carry out what `line` (which is changed) asks for; fleet_wake() is called when they have. Returns NULL
 * and a constant string in *error if the line makes no sense. Free with control_request_free().
 */
struct control_request *control_request_start(char *line, struct fleet *f, const struct program *p, const char **error);

bool control_request_done(struct control_request *r);

/* The answer of a request that is done; the caller's to json_decref(), NULL without memory. */
json_t *control_request_answer(const struct control_request *r);

/* The request is done, or was never started; r may be NULL. */
void control_request_free(struct control_request *r);

/* The answer that says what is wrong. */
json_t *control_request_failure(const char *error);
