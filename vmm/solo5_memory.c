#include "vmm/solo5_memory.h"

#include <elf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/image.h"
#include "vmm/solo5_abi.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

static uint64_t page_down(uint64_t gpa)
{
	return gpa & ~(PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t gpa)
{
	return page_down(gpa + PAGE_SIZE - 1);
}

uint64_t solo5_ram(uint64_t mem_size)
{
	return mem_size & ~(SOLO5_LARGE_PAGE - 1);
}

uint64_t solo5_page_flags(const struct image *im, uint64_t gpa)
{
	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];

		if (gpa < page_down(s->gpa) || gpa >= page_up(s->gpa + s->size))
			continue;
		return (s->flags & PF_W ? PTE_W : 0) | (s->flags & PF_X ? 0 : PTE_NX);
	}
	return PTE_W | PTE_NX;
}

static bool is_forbidden(const struct image *im, uint64_t gpa, uint64_t size)
{
	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];

		if (!(s->flags & PF_W) && gpa < page_up(s->gpa + s->size) && gpa + size > page_down(s->gpa))
			return true;
	}
	return false;
}

void *solo5_reach(struct vm *vm, const char *call, uint64_t gpa, uint64_t size, enum mem_use use)
{
	const uint64_t ram = solo5_ram(vm->mem.size), low = use == MEM_WRITE ? SOLO5_LOAD_MIN : SOLO5_BOOT_INFO;

	if (gpa < low || gpa >= ram || size > ram - gpa) {
		vm_kill(vm, "hypercall %s: %" PRIu64 " bytes at 0x%" PRIx64 " are not the guest's to %s", call, size, gpa,
			use == MEM_WRITE ? "have written" : "give");
		return NULL;
	}
	if (use == MEM_WRITE && is_forbidden(vm->image, gpa, size)) {
		vm_kill(vm, "hypercall %s: %" PRIu64 " bytes at 0x%" PRIx64 " are in a segment that is read-only", call, size,
			gpa);
		return NULL;
	}
	return mem_at(&vm->mem, gpa, size, use);
}
