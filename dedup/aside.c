#include "dedup/aside.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dedup/ward.h"
#include "vmm/vm.h"

#define FIELDS_BEHIND_NAME 37 /* proc(5): the processor is field 39 of /proc/PID/task/TID/stat, the name field 2 */

/* Where a thread ran last, -1 = it is gone. */
static int processor_of(int tid)
{
	char path[64], line[1024];
	const char *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	for (int i = 0; at && i < FIELDS_BEHIND_NAME; i++) {
		at = strchr(at + 1, ' ');
		if (!at)
			return -1;
	}
	return at ? atoi(at + 1) : -1;
}

void aside(const struct ward *wards)
{
	cpu_set_t all, rest;

	/* What the process may use, by its first thread: this one has been moved before. */
	if (sched_getaffinity(getpid(), sizeof(all), &all))
		return;
	rest = all;
	for (const struct ward *w = wards; w; w = w->next) {
		int cpu = w->state == WARD_OPEN ? processor_of(w->vm->vcpu.tid) : -1;

		if (cpu >= 0 && cpu < CPU_SETSIZE)
			CPU_CLR((unsigned int)cpu, &rest);
		if (!CPU_COUNT(&rest))
			break;
	}
	sched_setaffinity(0, sizeof(rest), CPU_COUNT(&rest) ? &rest : &all);
}
