#include "dedup/look_copy.h"

#include <string.h>

#include "dedup/ward.h"
#include "vmm/userfault_exchange.h"
#include "vmm/vm.h"

bool look_copy(const struct ward *w, uint64_t page, void *copy)
{
	struct vm *vm = w->vm;

	if (userfault_is_absent(&vm->userfault, mem_page_gpa(&vm->mem, page)))
		return false;
	memcpy(copy, mem_page_hva(&vm->mem, page), PAGE_SIZE);
	return true;
}
