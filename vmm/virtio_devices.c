#include "vmm/virtio_devices.h"

#include <errno.h>
#include <sys/random.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/userfault_discard.h"
#include "vmm/virtio_mmio.h"
#include "vmm/virtio_pci.h"
#include "vmm/vm.h"

enum { SLOT_DISKS, SLOT_ENTROPY = SLOT_DISKS + DISK_MAX, SLOT_CONSOLE, SLOT_BALLOON, SLOTS };

_Static_assert(SLOTS == ABI_VIRTIO_SLOTS, "abi.h says where all of them are");
_Static_assert(SLOTS < PCI_MAX_FUNCTIONS, "there is room for all of them beside the host bridge");

static const uint8_t irqs[SLOTS] = ABI_VIRTIO_IRQS;

static uint64_t slot_gpa(unsigned int slot)
{
	return ABI_VIRTIO_MMIO + (uint64_t)slot * ABI_VIRTIO_STRIDE;
}

static struct virtio_place place_of(struct vm *vm, unsigned int slot)
{
	return (struct virtio_place){
		.transport = image_is_pc(vm->image) ? &virtio_pci : &virtio_mmio,
		.gpa = slot_gpa(slot),
		.irq = {.set = pic_set_irq, .controller = &vm->pic, .n = irqs[slot]},
	};
}

static int fill(void *arg, void *bytes, size_t size)
{
	struct vm *vm = arg;

	if (getrandom(bytes, size, 0) != (ssize_t)size)
		return log_errno(errno, "getrandom");
	access_external(&vm->vcpu.port, ACCESS_ENTROPY, bytes, size);
	return 0;
}

static void wake(void *arg)
{
	struct vm *vm = arg;

	vcpu_kick(&vm->vcpu);
}

/* Makes a kernel of a PC see what is in the slot. */
static void show(struct virtio_devices *d, struct vm *vm, unsigned int slot, struct virtio_device *v)
{
	if (image_is_pc(vm->image))
		virtio_pci_add(&vm->pci, 1 + slot, &d->function[slot], v, (uint32_t)slot_gpa(slot), irqs[slot]);
}

static uint64_t discard(void *arg, uint64_t gpa, uint64_t size)
{
	struct vm *vm = arg;

	return userfault_discard(&vm->userfault, gpa, size);
}

static void add_disk(struct virtio_devices *d, struct vm *vm, unsigned int i, struct disk *disk)
{
	struct virtio_place place = place_of(vm, SLOT_DISKS + i);

	virtio_block_init(&d->block[i], &vm->bus, &place, &vm->mem, disk, i, wake, vm);
	show(d, vm, SLOT_DISKS + i, &d->block[i].v);
}

static void add_entropy(struct virtio_devices *d, struct vm *vm)
{
	struct virtio_place place = place_of(vm, SLOT_ENTROPY);

	virtio_entropy_init(&d->entropy, &vm->bus, &place, &vm->mem, fill, vm);
	show(d, vm, SLOT_ENTROPY, &d->entropy.v);
}

static void add_console(struct virtio_devices *d, struct vm *vm)
{
	struct virtio_place place = place_of(vm, SLOT_CONSOLE);

	virtio_console_init(&d->console, &vm->bus, &place, &vm->mem, console_put, &vm->console);
	show(d, vm, SLOT_CONSOLE, &d->console.v);
}

static void add_balloon(struct virtio_devices *d, struct vm *vm)
{
	struct virtio_place place = place_of(vm, SLOT_BALLOON);

	virtio_balloon_init(&d->balloon, &vm->bus, &place, &vm->mem, discard, vm);
	show(d, vm, SLOT_BALLOON, &d->balloon.v);
}

/* The order is that of their states in a snapshot. */
void virtio_devices_init(struct virtio_devices *d, struct vm *vm, const struct vm_config *config)
{
	*d = (struct virtio_devices){
		.block_count = config->disk_count, .has_console = config->virtio_console, .has_balloon = config->balloon,
	};
	for (unsigned int i = 0; i < config->disk_count; i++)
		add_disk(d, vm, i, &config->disks[i]);
	add_entropy(d, vm);
	if (config->virtio_console)
		add_console(d, vm);
	if (config->balloon)
		add_balloon(d, vm);
}

void virtio_devices_take(struct virtio_devices *d)
{
	for (unsigned int i = 0; i < d->block_count; i++)
		virtio_block_take(&d->block[i]);
}

void virtio_devices_settle(struct virtio_devices *d)
{
	for (unsigned int i = 0; i < d->block_count; i++)
		virtio_block_settle(&d->block[i]);
}

static void on_disk_bytes(void *arg, void *bytes, size_t size)
{
	struct vm *vm = arg;

	access_external(&vm->vcpu.port, ACCESS_DISK, bytes, size);
}

static bool was_done(void *arg)
{
	struct vm *vm = arg;

	if (access_was_done(&vm->vcpu.port, ACCESS_DISK))
		return true;
	access_seen(&vm->vcpu.port);
	return false;
}

static const struct virtio_block_show shown = {.outside = on_disk_bytes, .was_done = was_done};

void virtio_devices_show(struct virtio_devices *d, struct vm *vm)
{
	for (unsigned int i = 0; i < d->block_count; i++)
		virtio_block_show(&d->block[i], &shown, vm);
}

void virtio_devices_hide(struct virtio_devices *d)
{
	for (unsigned int i = 0; i < d->block_count; i++)
		virtio_block_show(&d->block[i], NULL, NULL);
}

void virtio_devices_destroy(struct virtio_devices *d)
{
	for (unsigned int i = 0; i < d->block_count; i++)
		virtio_block_destroy(&d->block[i]);
}
