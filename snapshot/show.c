#include "snapshot/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "snapshot/snapshot.h"
#include "vmm/mem.h"
#include "vmm/printable.h"

const char *show(struct shown *s, const char *text)
{
	return printable(s->text, sizeof(s->text), text, SIZE_MAX);
}

const char *show_time(struct shown *s, uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || !strftime(s->text, sizeof(s->text), "%F %T UTC", &tm))
		snprintf(s->text, sizeof(s->text), "%" PRIu64 " ns since 1970", ns);
	return s->text;
}

uint64_t stored_bytes(const struct snapshot *sn)
{
	return sn->compressed ? sn->blocks.bytes : sn->pages.checksums * PAGE_SIZE;
}
