#include "vmm/private_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "vmm/fleet.h"
#include "vmm/log.h"

/* The kernel may merge neighbouring mappings, so overlap decides, not equality. */
static bool is_guest_ram(const struct fleet *f, uint64_t start, uint64_t end)
{
	for (unsigned int i = 0; i < f->count; i++) {
		const struct mem *m = &f->members[i].vm.mem;

		for (unsigned int n = 0; n < m->region_count; n++) {
			uint64_t hva = (uintptr_t)m->region[n].hva;

			if (start < hva + m->region[n].size && hva < end)
				return true;
		}
	}
	return false;
}

int private_memory_kib(const struct fleet *f, uint64_t *kib)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uint64_t start, end, n;
	bool ours = false;
	char line[512];

	if (!smaps)
		return log_errno(errno, "/proc/self/smaps");
	*kib = 0;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			ours = !is_guest_ram(f, start, end);
		else if (ours && sscanf(line, "Private_Dirty: %" SCNu64, &n) == 1)
			*kib += n;
	}
	fclose(smaps);
	return 0;
}
