#include "snapshot/identity.h"

#include <errno.h>
#include <stddef.h>
#include <sys/random.h>

#include "guest/abi.h"
#include "vmm/boot_parts.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/vm.h"

/* The guest may use that memory for anything else. */
static bool has_kept(struct vm *vm, struct abi_boot *boot)
{
	return vm->image->kind == IMAGE_PENUMBRA && mem_read(&vm->mem, BOOT_INFO_GPA, boot, sizeof(*boot)) == 0 &&
	       boot->magic == ABI_BOOT_MAGIC && boot->version == ABI_VERSION && boot->size == sizeof(*boot);
}

int identity_renew(struct vm *vm)
{
	struct abi_boot boot;

	if (!has_kept(vm, &boot))
		return 0;
	boot.vm_number = vm->number;
	if (getrandom(boot.seed, sizeof(boot.seed), 0) != sizeof(boot.seed))
		return log_errno(errno, "getrandom");
	return mem_write(&vm->mem, BOOT_INFO_GPA, &boot, sizeof(boot));
}
