#include "vmm/smaps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_line(const char *line, struct smaps_field *field)
{
	size_t length = strlen(field->name);
	uint64_t kib;

	if (!strncmp(line, field->name, length) && sscanf(line + length, ": %" SCNu64, &kib) == 1)
		field->kib += kib;
}

int smaps_sum(bool (*chosen)(const void *arg, uint64_t start, uint64_t end), const void *arg, struct smaps_field *fields,
	      size_t count)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uint64_t start, end;
	bool ours = false;
	char line[512];

	if (!smaps)
		return -errno;
	for (size_t i = 0; i < count; i++)
		fields[i].kib = 0;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			ours = chosen(arg, start, end);
		else
			for (size_t i = 0; i < count && ours; i++)
				add_line(line, &fields[i]);
	}
	fclose(smaps);
	return 0;
}
