/* A run under measurement, asked by its control socket. What fails ends the benchmark. */
#pragma once

#include <jansson.h>

/* Waits until the run listens there. Returns a descriptor, the caller's to close. */
int control_connect(const char *path);

/* A request, such as "stats". The caller takes the answer's json_decref(). */
json_t *control_ask(int fd, const char *request);

/* A request of whose answer nothing is wanted. */
void control_tell(int fd, const char *request);
