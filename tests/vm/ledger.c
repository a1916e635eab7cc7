#include "tests/vm/ledger.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHY 200
#define SECTOR 512

/* As disk_ledger.c writes it. */
struct entry {
	uint64_t number, clock, random;
	char text[64];
};

/* The first line from here on that is an entry and begins here. */
static const char *next_entry(const char *at)
{
	const char *hash = strchr(at, '#');

	while (hash && (hash != at && hash[-1] != '\n'))
		hash = strchr(hash + 1, '#');
	return hash;
}

static const char *find_entry(const char *said, uint64_t number)
{
	char start[30];
	const char *at = said;

	snprintf(start, sizeof(start), "#%" PRIu64 " ", number);
	for (; (at = next_entry(at)); at++)
		if (!strncmp(at, start, strlen(start)))
			return at;
	return NULL;
}

size_t ledger_entries(const char *said)
{
	size_t n = 0;

	for (const char *at = said; (at = next_entry(at)) && strchr(at, '\n'); at++)
		n++;
	return n;
}

/* The last line may have been cut off, in the number if it comes to that. */
static bool is_in_order(const char *said, uint64_t first, char why[WHY])
{
	for (const char *at = said; (at = next_entry(at)) && strchr(at, '\n'); at++, first++)
		if (strtoull(at + 1, NULL, 10) != first) {
			snprintf(why, WHY, "entry %" PRIu64 " is not there: '%.80s'", first, at);
			return false;
		}
	return true;
}

bool ledger_goes_on(const char *said, const char *again, char why[WHY])
{
	const char *from = next_entry(again), *same;
	uint64_t first;

	if (!from) {
		snprintf(why, WHY, "no entry in '%.80s'", again);
		return false;
	}
	first = strtoull(from + 1, NULL, 10);
	if (!is_in_order(said, next_entry(said) ? strtoull(next_entry(said) + 1, NULL, 10) : 0, why) || !is_in_order(from, first, why))
		return false;
	same = find_entry(said, first);
	if (same && strncmp(same, from, strlen(same)) != 0) {
		snprintf(why, WHY, "not the same from entry %" PRIu64 " on", first);
		return false;
	}
	if (!same && first && !find_entry(said, first - 1)) {
		snprintf(why, WHY, "entry %" PRIu64 " is missing", first - 1);
		return false;
	}
	return true;
}

bool ledger_is_on_disk(const char *path, const char *said, const char *again, char why[WHY])
{
	int fd = open(path, O_RDONLY);
	bool good = fd >= 0;

	for (unsigned int i = 0; i < LEDGER_SECTORS && good; i++) {
		struct entry e;
		char line[160];

		good = pread(fd, &e, sizeof(e), (off_t)i * SECTOR) == sizeof(e);
		if (good && !find_entry(said, i) && !find_entry(again, i) && !e.number && !e.clock)
			continue;
		snprintf(line, sizeof(line), "#%" PRIu64 " %" PRIu64 " %016" PRIx64 " %.63s", e.number, e.clock, e.random, e.text);
		good = good && (strstr(said, line) || strstr(again, line));
		if (!good)
			snprintf(why, WHY, "sector %u has what was never said: '%s'", i, line);
	}
	close(fd);
	return good;
}
