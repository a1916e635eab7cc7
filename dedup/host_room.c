#include "dedup/host_room.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/host_file.h"

#define CGROUPS "/sys/fs/cgroup"

/* The number in a line of a file, which may be a word instead. */
static bool number(const char *root, const char *path, const char *key, uint64_t *n)
{
	char text[64], *end;

	if (!host_file_line(root, path, key, text, sizeof(text)))
		return false;
	*n = strtoull(text, &end, 10);
	return end != text;
}

/* The same, of a control group. */
static bool of_group(const char *root, const char *group, const char *file, const char *key, uint64_t *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CGROUPS "%s/%s", group, file);
	return number(root, path, key, n);
}

static uint64_t room_in_group(const char *root, const char *group)
{
	uint64_t most, used, idle = 0;

	if (!of_group(root, group, "memory.max", "", &most) || !of_group(root, group, "memory.current", "", &used))
		return UINT64_MAX;
	of_group(root, group, "memory.stat", "inactive_file ", &idle);
	used -= idle < used ? idle : used;
	return used < most ? most - used : 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Each group's limit holds for all below it. */
static uint64_t room_in_groups(const char *root)
{
	uint64_t room = UINT64_MAX;
	char group[PATH_MAX];

	if (!host_file_line(root, "/proc/self/cgroup", "0:", group, sizeof(group)))
		return room;
	for (char *end = group + strlen(group); end; end = strrchr(group, '/')) {
		*end = '\0';
		room = smaller(room, room_in_group(root, group));
	}
	return room;
}

uint64_t host_room(const char *root)
{
	uint64_t kib;

	if (!number(root, "/proc/meminfo", "MemAvailable", &kib))
		kib = UINT64_MAX >> 10;
	return smaller(kib >= UINT64_MAX >> 10 ? UINT64_MAX : kib << 10, room_in_groups(root));
}
