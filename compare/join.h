/*
 * Comparisons put beside each other, for those that cannot be measured in one go: other hosts, or one host whose KVM was
 * loaded anew.
 */
#pragma once

#include "compare/comparison.h"

/*
 * Adds `from`, of the file `name`, to `into`. A column of the same MMU mode on the same host is the same column: its samples are
 * further ones; else it is a new one. Rows are the same if their names are. `from` stays as it is. Returns 0 or a logged -errno:
 * -EINVAL where a row is of different work in the two; then `into` can only be freed.
 */
int join(struct comparison *into, const struct comparison *from, const char *name);

/*
 * After the last: gives columns names that tell the hosts apart, if there are several: "shadow", "nested (npt)", "kvm shadow".
 * With one host they keep theirs.
 */
void join_name_columns(struct comparison *c);
