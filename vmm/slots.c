#include "vmm/slots.h"

#include "vmm/ensure.h"
#include "vmm/kvm.h"

static int delete_slot(const struct slots *s, unsigned int n)
{
	struct kvm_userspace_memory_region slot = {.slot = n};

	return kvm_set_slot(s->vm_fd, &slot);
}

static int set_slot(const struct slots *s, unsigned int n, uint32_t flags)
{
	const struct mem_region *r = &s->mem->region[n];
	struct kvm_userspace_memory_region slot = {
		.slot = n,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->size,
		.userspace_addr = (uintptr_t)r->hva,
	};

	return kvm_set_slot(s->vm_fd, &slot);
}

static int set_all(const struct slots *s, uint32_t flags)
{
	int r = 0;

	for (unsigned int n = 0; n < s->mem->region_count && r == 0; n++)
		r = set_slot(s, n, flags);
	return r;
}

int slots_create(struct slots *s, int vm_fd, const struct mem *m)
{
	*s = (struct slots){.vm_fd = vm_fd, .mem = m};
	return set_all(s, 0);
}

/* The slots themselves go with the VM's file descriptor. */
void slots_destroy(struct slots *s)
{
	*s = (struct slots){.vm_fd = -1};
}

int slots_log(struct slots *s, bool on)
{
	int r;

	if (s->logging == on)
		return 0;
	r = set_all(s, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	if (r == 0)
		s->logging = on;
	return r;
}

int slots_forget(struct slots *s)
{
	int r = 0;

	for (unsigned int n = 0; n < s->mem->region_count && r == 0; n++)
		r = delete_slot(s, n);
	return r < 0 ? r : set_all(s, s->logging ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

int slots_harvest(struct slots *s, unsigned int n, uint64_t *bitmap)
{
	struct kvm_dirty_log log = {.slot = n, .dirty_bitmap = bitmap};

	ensure(s->logging && n < s->mem->region_count);
	return kvm_get_dirty_log(s->vm_fd, &log);
}
