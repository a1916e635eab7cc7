#include "vmm/boot.h"

#include <errno.h>
#include <string.h>

#include "vmm/boot_parts.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/memory_map.h"
#include "vmm/vm.h"

static const struct {
	int (*prepare)(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);
	bool modules; /* takes them */
} kinds[] = {
	[IMAGE_PENUMBRA] = {boot_penumbra, false},
	[IMAGE_LINUX] = {boot_linux, false},
	[IMAGE_PVH] = {boot_pvh, true},
	[IMAGE_MULTIBOOT] = {boot_multiboot, true},
	[IMAGE_SOLO5] = {boot_solo5, false},
};

/*
 * Two words of the BIOS data area (IBM PC AT Technical Reference, section 5), by which kernels find where low RAM ends: the segment of
 * the extended area and the KiB of RAM below it.
 */
static void write_bios_data(struct vm *vm)
{
	const uint16_t segment = MEMORY_MAP_LOW_END >> 4, kib = MEMORY_MAP_LOW_END >> 10;

	memcpy(boot_ram(vm, 0x40e, sizeof(segment)), &segment, sizeof(segment));
	memcpy(boot_ram(vm, 0x413, sizeof(kib)), &kib, sizeof(kib));
}

int boot_prepare(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	const struct image *im = config->image;

	if (config->module_count && !kinds[im->kind].modules)
		return log_bad(EINVAL, "%s: %s takes no modules; give it one file by --initrd", im->path, im->what);
	if (image_is_pc(im))
		write_bios_data(vm);
	return kinds[im->kind].prepare(vm, config, cs);
}

int boot_image(struct vm *vm, const struct vm_config *config, struct cpu_state *cs)
{
	int r;

	loaded_begin(&vm->loaded, &vm->mem);
	r = image_load(config->image, &vm->mem);
	if (r == 0)
		r = boot_prepare(vm, config, cs);
	loaded_end(&vm->loaded, &vm->mem);
	return r;
}
