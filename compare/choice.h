/*
 * Workloads chosen by name.
 */
#pragma once

#include <stddef.h>

struct workload;

/*
 * Reads "NAME[,NAME...]", names of workloads and of groups, into a list of room for workload_count, each once, in the order of the table.
 * Returns their number, or a logged -EINVAL that names what may have been meant.
 */
int choice_parse(const char *text, const struct workload **list);

/* All of them. Returns their number. */
int choice_all(const struct workload **list);

/* Of `count` names the one that is most like `name` and not too far from it, NULL = none is. */
const char *choice_nearest(const char *name, const char *(*name_at)(size_t i), size_t count);
