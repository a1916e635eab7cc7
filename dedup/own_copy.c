#include "dedup/own_copy.h"

#include <unistd.h>

#include "vmm/vm.h"

/* Linux, Documentation/admin-guide/mm/pagemap.rst: the page is there; it is a file's, or shared memory. */
#define PRESENT (1ull << 63)
#define OF_FILE (1ull << 61)

bool own_copy(const struct vm *vm, uint64_t page)
{
	uint64_t entry;
	off_t at = (off_t)((uintptr_t)mem_page_hva(&vm->mem, page) / PAGE_SIZE * sizeof(entry));

	/* A page that is not there now may be either: what is swapped out, or marked as protected, looks alike. */
	return pread(vm->userfault.pagemap_fd, &entry, sizeof(entry), at) == sizeof(entry) && entry & PRESENT && !(entry & OF_FILE);
}
