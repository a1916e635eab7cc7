#include "vmm/host_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BETWEEN " \t:" /* a key and its value */

bool host_file_line(const char *root, const char *path, const char *key, char *text, size_t size)
{
	size_t length = strlen(key), room = 0;
	char full[PATH_MAX], *line = NULL;
	FILE *f;

	*text = '\0';
	snprintf(full, sizeof(full), "%s%s", root, path);
	f = fopen(full, "re");
	if (!f)
		return false;
	while (getline(&line, &room, f) >= 0) {
		const char *value = line + length;

		if (strncmp(line, key, length))
			continue;
		value += length ? strspn(value, BETWEEN) : 0;
		snprintf(text, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	free(line);
	fclose(f);
	return *text;
}
