#include "vmm/boot_modules.h"

#include <errno.h>
#include <string.h>

#include "vmm/boot_parts.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/vm.h"

_Static_assert(BOOT_MAX_MODULES == VM_MAX_MODULES + 1, "room for every module and the initrd");

struct placing {
	struct vm *vm;
	uint64_t low, high;		/* files go to the highest pages in here */
	uint64_t strings, strings_end;	/* the next string goes here */
	struct boot_modules *all;
};

static int add(struct placing *p, const struct vm_module *m)
{
	struct boot_module *module = &p->all->module[p->all->count];
	const size_t size = strlen(m->cmdline) + 1;
	struct boot_file file;
	int r = boot_load_file(p->vm, m->path, p->low, p->high, &file);

	if (r < 0)
		return r;
	if (size > p->strings_end - p->strings)
		return log_bad(E2BIG, "--module: its strings take more than the guest has room for");
	memcpy(boot_ram(p->vm, p->strings, size), m->cmdline, size);
	*module = (struct boot_module){.gpa = file.gpa, .size = file.size, .cmdline = p->strings};
	p->all->count++;
	p->strings += size;
	p->high = file.gpa;
	return 0;
}

int boot_load_modules(struct vm *vm, const struct vm_config *config, uint64_t strings, uint64_t strings_end,
		      struct boot_modules *all)
{
	struct placing p = {.vm = vm, .low = config->image->top, .high = UINT64_MAX, .strings = strings,
			    .strings_end = strings_end, .all = all};
	int r = 0;

	*all = (struct boot_modules){.count = 0};
	if (config->initrd)
		r = add(&p, &(struct vm_module){.path = config->initrd, .cmdline = ""});
	for (unsigned int i = 0; i < config->module_count && r == 0; i++)
		r = add(&p, &config->module[i]);
	return r;
}
