/*
 * What a run's scavenger has done by now, and waiting until it has done something. Whatever is not as it must be fails the
 * test.
 */
#pragma once

#include "tests/vm/control_client.h"

/* Kinds of guest/memory that are not among those asked for. */
#define MEMORY_NOTHING "zero=0 dup=0 similar=0 unique=0 hot=0 cold=0 "

/* A figure of the statistics' object `scavenger`, of one guest, or summed over all of them. */
json_int_t scavenged_of(const struct place *p, size_t guest, const char *field);
json_int_t scavenged(const struct place *p, const char *field);

/* Of all guests: KiB of pages that are `equal` to what others have, shared or cold; and of those that are kept as something else. */
json_int_t scavenged_equal_kib(const struct place *p);

/* Starts `run` with these words, of so many guests that are guest/memory. Returns when all of them have filled their pages. */
struct child start_scavenged(const struct place *p, const char *words, unsigned int guests);

/* Waits until a figure is at least that high. */
void await_scavenged(const struct place *p, const char *field, json_int_t least);

/* Ends the guests by request. None has found anything wrong until then. */
void end_scavenged(const struct place *p, struct child *c, const char *what);

/* Waits until so many KiB are saved and hardly anything more comes in a second. */
void await_scavenged_all(const struct place *p, json_int_t least_kib);
