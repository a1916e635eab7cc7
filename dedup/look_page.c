#include "dedup/look_page.h"

#include "dedup/ward.h"
#include "vmm/userfault_exchange.h"
#include "vmm/vm.h"

const void *look_page(const struct ward *w, uint64_t page)
{
	struct vm *vm = w->vm;

	return userfault_is_absent(&vm->userfault, mem_page_gpa(&vm->mem, page)) ? NULL : mem_page_hva(&vm->mem, page);
}
