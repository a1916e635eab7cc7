#include "vmm/private_memory.h"

#include "vmm/fleet.h"
#include "vmm/log.h"
#include "vmm/smaps.h"

static bool is_no_guest_ram(const void *fleet, uint64_t start, uint64_t end)
{
	const struct fleet *f = fleet;

	for (unsigned int i = 0; i < f->count; i++)
		if (mem_overlaps(&f->members[i].vm.mem, start, end))
			return false;
	return true;
}

int private_memory_kib(const struct fleet *f, uint64_t *kib)
{
	struct smaps_field field = {.name = "Private_Dirty"};
	int r = smaps_sum(is_no_guest_ram, f, &field, 1);

	if (r < 0)
		return log_errno(-r, "/proc/self/smaps");
	*kib = field.kib;
	return 0;
}
