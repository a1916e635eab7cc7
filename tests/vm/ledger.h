/*
 * What `disk ledger` has said, before and after it was killed and brought back, and what is on its disk: whether all of it can have happened
 * to one guest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LEDGER_SECTORS 8u

/* So many entries are complete in what was said. */
size_t ledger_entries(const char *said);

/*
 * Whether `again`, which begins at any place of `said`, has nothing else than that from there on, and goes on with no entry left out or
 * twice. If not, why[] says where.
 */
bool ledger_goes_on(const char *said, const char *again, char why[200]);

/* Whether each sector of the disk has an entry that was said in one of the two. */
bool ledger_is_on_disk(const char *path, const char *said, const char *again, char why[200]);
