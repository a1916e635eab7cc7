#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/doctor.h"
#include "vmm/host_file.h"
#include "vmm/run_options.h"

#define FDS_PER_GUEST 2 /* VM and vCPU */
#define FDS_OF_PROGRAM 10
#define MAPS_PER_GUEST 4 /* RAM, shared area, stack and its guard */
#define MAPS_OF_PROGRAM 40
#define GUEST_MEM_KIB (64u << 10) /* the default of --mem */

/* A whole file that is one decimal number. */
static bool read_number(const char *root, const char *path, uint64_t *n)
{
	char line[64], *end;

	if (!host_file_line(root, path, "", line, sizeof(line)))
		return false;
	*n = strtoull(line, &end, 10);
	return end != line && *end == '\0';
}

static void add_memory(struct report *r, const char *root)
{
	char value[64];
	uint64_t kib;

	if (!host_file_line(root, "/proc/meminfo", "MemAvailable:", value, sizeof(value)) ||
	    sscanf(value, "%" SCNu64, &kib) != 1) {
		report_add(r, FINDING_NOTE, "free memory", "unknown");
		report_mean(r, "/proc/meminfo does not tell");
		return;
	}
	report_add(r, kib < GUEST_MEM_KIB ? FINDING_LACK : FINDING_OK, "free memory", "%" PRIu64 " MiB", kib >> 10);
	if (kib < GUEST_MEM_KIB)
		report_mean(r, "less than the 64 MiB a guest has by default: give guests less by --mem, or free some");
	else
		report_mean(r, "a guest takes what it touches, not what --mem says; %" PRIu64 " of 64 MiB fit if all of it is "
			    "touched", kib / GUEST_MEM_KIB);
}

static void add_overcommit(struct report *r, const char *root)
{
	uint64_t mode;

	if (!read_number(root, "/proc/sys/vm/overcommit_memory", &mode))
		return;
	report_add(r, mode == 2 ? FINDING_NOTE : FINDING_OK, "overcommit", "vm.overcommit_memory = %" PRIu64, mode);
	report_mean(r, "%s", mode == 2 ? "all of a guest's --mem counts at once: sudo sysctl vm.overcommit_memory=0, or less --mem"
				       : "guests may be promised more memory than there is");
}

static void add_huge_pages(struct report *r, const char *root)
{
	char line[128], *word, *end;

	if (!host_file_line(root, "/sys/kernel/mm/transparent_hugepage/enabled", "", line, sizeof(line)) ||
	    !(word = strchr(line, '[')) || !(end = strchr(word, ']'))) {
		report_add(r, FINDING_LACK, "2 MiB pages", "this kernel has none");
		report_mean(r, "--hugepages=on changes nothing");
		return;
	}
	*end = '\0';
	report_add(r, strcmp(word + 1, "never") ? FINDING_OK : FINDING_LACK, "2 MiB pages", "%s", word + 1);
	if (strcmp(word + 1, "never"))
		report_mean(r, "--hugepages=on makes guests that use much memory quicker, and take more of it");
	else
		report_mean(r, "--hugepages=on changes nothing: "
			    "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

/* How many guests a limit on something lets into one process. */
static void add_room(struct report *r, const char *name, uint64_t limit, unsigned int base, unsigned int each,
		     const char *raise)
{
	uint64_t guests = limit > base ? (limit - base) / each : 0;

	report_add(r, guests < 100 ? FINDING_LACK : FINDING_OK, name, "%" PRIu64, limit);
	if (guests >= RUN_MAX_COUNT)
		report_mean(r, "enough for all the guests that --count takes");
	else
		report_mean(r, "room for about %" PRIu64 " guests in one process (--count); more: %s", guests, raise);
}

static void add_files(struct report *r)
{
	struct rlimit limit;

	/* `run` raises its own limit to what it may be. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		add_room(r, "open files", limit.rlim_max, FDS_OF_PROGRAM, FDS_PER_GUEST, "as root, ulimit -n");
}

static void add_maps(struct report *r, const char *root)
{
	uint64_t limit;

	if (read_number(root, "/proc/sys/vm/max_map_count", &limit))
		add_room(r, "memory maps", limit, MAPS_OF_PROGRAM, MAPS_PER_GUEST, "sudo sysctl vm.max_map_count=262144");
}

static void add_locked_memory(struct report *r)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		report_add(r, FINDING_OK, "locked memory", "no limit");
	else
		report_add(r, FINDING_OK, "locked memory", "%" PRIu64 " KiB", (uint64_t)limit.rlim_cur >> 10);
	report_mean(r, "guests lock none: the host may swap their memory out");
}

static void add_processors(struct report *r)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set)) {
		report_add(r, FINDING_NOTE, "processors", "unknown");
		report_mean(r, "more than %zu, or none to be asked about", 8 * sizeof(set));
		return;
	}
	report_add(r, FINDING_OK, "processors", "%d", CPU_COUNT(&set));
	report_mean(r, "so many guests run at the same time; a guest has one processor");
}

static void add_clock(struct report *r, const char *root)
{
	static const char *const quick[] = {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page"};
	char name[64];
	bool good = false;

	if (!host_file_line(root, "/sys/devices/system/clocksource/clocksource0/current_clocksource", "", name, sizeof(name)))
		return;
	for (size_t i = 0; i < sizeof(quick) / sizeof(*quick); i++)
		good |= !strcmp(name, quick[i]);
	report_add(r, good ? FINDING_OK : FINDING_NOTE, "clock", "%s", name);
	report_mean(r, "%s", good ? "read without a system call"
				  : "each look at the time is a system call: guests with timers cost more");
}

static void add_userfaultfd(struct report *r, const char *root)
{
	char device[256];
	uint64_t anyone = 0;
	bool there;

	snprintf(device, sizeof(device), "%s/dev/userfaultfd", root);
	there = read_number(root, "/proc/sys/vm/unprivileged_userfaultfd", &anyone);
	if (!there) {
		report_add(r, FINDING_LACK, "userfaultfd", "this kernel has none");
		report_mean(r, "guest RAM cannot be brought in when it is touched, saved behind a running guest, or kept small by "
			    "--scavenge: that needs a kernel with CONFIG_USERFAULTFD");
	} else if (anyone || geteuid() == 0 || access(device, R_OK | W_OK) == 0) {
		report_add(r, FINDING_OK, "userfaultfd", anyone ? "for everybody" : "for this user");
		report_mean(r, "guest RAM can be brought in when it is touched, saved behind a running guest, and kept small by --scavenge");
	} else {
		report_add(r, FINDING_LACK, "userfaultfd", "not for this user");
		report_mean(r, "guest RAM cannot be brought in when it is touched, saved behind a running guest, or kept small by "
			    "--scavenge: run as root, give this user /dev/userfaultfd, or sudo sysctl vm.unprivileged_userfaultfd=1");
	}
}

void doctor_host(struct doctor *d, const char *root)
{
	struct report *r = d->report;

	r->section = "Host";
	add_memory(r, root);
	add_overcommit(r, root);
	add_huge_pages(r, root);
	add_locked_memory(r);
	add_files(r);
	add_maps(r, root);
	add_processors(r);
	add_clock(r, root);
	add_userfaultfd(r, root);
}
