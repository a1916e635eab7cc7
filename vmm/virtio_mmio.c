#include "vmm/virtio_mmio.h"

#include <stddef.h>

#define MAGIC 0x74726976u /* "virt" */
#define LAYOUT_VERSION 2u
#define VENDOR 0x554e4550u /* "PENU" */

/* 4.2.2, table 4.1. */
#define REG_ADDRESSES 0x080u /* descriptors, driver, device: low and high half each, 16 bytes apart */
#define REG_ADDRESSES_END 0x0b0u
#define REG_CONFIG 0x100u

static void write_device_features_select(struct virtio_device *v, uint32_t value)
{
	v->device_features_select = value;
}

static void write_driver_features_select(struct virtio_device *v, uint32_t value)
{
	v->driver_features_select = value;
}

static void write_queue_select(struct virtio_device *v, uint32_t value)
{
	v->queue_select = value;
}

static void write_queue_ready(struct virtio_device *v, uint32_t value)
{
	virtio_device_set_queue_ready(v, value & 1);
}

static uint32_t read_magic(struct virtio_device *v)
{
	return MAGIC;
}

static uint32_t read_version(struct virtio_device *v)
{
	return LAYOUT_VERSION;
}

static uint32_t read_id(struct virtio_device *v)
{
	return v->ops->id;
}

static uint32_t read_vendor(struct virtio_device *v)
{
	return VENDOR;
}

static uint32_t read_features(struct virtio_device *v)
{
	return virtio_device_features(v);
}

static uint32_t read_queue_max(struct virtio_device *v)
{
	return virtio_device_queue(v) ? VIRTQUEUE_MAX : 0;
}

static uint32_t read_queue_ready(struct virtio_device *v)
{
	const struct virtqueue *q = virtio_device_queue(v);

	return q && q->ready;
}

static uint32_t read_interrupts(struct virtio_device *v)
{
	return v->interrupts;
}

static uint32_t read_status(struct virtio_device *v)
{
	return v->status;
}

/* There is no shared memory: a length of all ones says so (4.2.2.1). */
static uint32_t read_ones(struct virtio_device *v)
{
	return UINT32_MAX;
}

struct virtio_register {
	uint32_t (*read)(struct virtio_device *v);
	void (*write)(struct virtio_device *v, uint32_t value);
};

/* Without a function: reads give 0 (ConfigGeneration too, as no configuration changes), writes are dropped. */
static const struct virtio_register registers[REG_CONFIG / 4] = {
	[0x000 / 4] = {read_magic, NULL},
	[0x004 / 4] = {read_version, NULL},
	[0x008 / 4] = {read_id, NULL},
	[0x00c / 4] = {read_vendor, NULL},
	[0x010 / 4] = {read_features, NULL},
	[0x014 / 4] = {NULL, write_device_features_select},
	[0x020 / 4] = {NULL, virtio_device_accept},
	[0x024 / 4] = {NULL, write_driver_features_select},
	[0x030 / 4] = {NULL, write_queue_select},
	[0x034 / 4] = {read_queue_max, NULL},
	[0x038 / 4] = {NULL, virtio_device_set_queue_size},
	[0x044 / 4] = {read_queue_ready, write_queue_ready},
	[0x050 / 4] = {NULL, virtio_device_notify},
	[0x060 / 4] = {read_interrupts, NULL},
	[0x064 / 4] = {NULL, virtio_device_acknowledge},
	[0x070 / 4] = {read_status, virtio_device_set_status},
	[0x0b0 / 4] = {read_ones, NULL},
	[0x0b4 / 4] = {read_ones, NULL},
	[0x0b8 / 4] = {read_ones, NULL},
	[0x0bc / 4] = {read_ones, NULL},
};

static void write_register(struct virtio_device *v, uint32_t offset, uint32_t value)
{
	uint32_t address = offset - REG_ADDRESSES;

	if (offset < REG_ADDRESSES || offset >= REG_ADDRESSES_END) {
		if (registers[offset / 4].write)
			registers[offset / 4].write(v, value);
	} else if (address % 0x10 < 8) {
		virtio_device_set_queue_address(v, address / 0x10, address % 0x10 / 4, value);
	}
}

static void mmio_access(struct device *d, unsigned int range, struct access *a)
{
	struct virtio_device *v = (struct virtio_device *)d;
	bool whole = a->size == 4 && a->addr % 4 == 0;

	if (a->addr >= REG_CONFIG) {
		if (access_is_read(a->kind))
			virtio_device_read_config(v, a->addr - REG_CONFIG, a);
	} else if (access_is_read(a->kind)) {
		a->value = whole && registers[a->addr / 4].read ? registers[a->addr / 4].read(v) : 0;
	} else if (whole) {
		write_register(v, (uint32_t)a->addr, (uint32_t)a->value);
	}
}

const struct virtio_transport virtio_mmio = {.access = mmio_access};
