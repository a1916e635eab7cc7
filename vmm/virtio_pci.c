#include "vmm/virtio_pci.h"

#include <stddef.h>
#include <string.h>

#define VENDOR 0x1af4u
#define DEVICE_BASE 0x1040u /* + the virtio device's id (4.1.2.1) */
#define SUBSYSTEM 0x0040u
#define REVISION 1u

/* Parts of the window, each with a capability that says where it is (4.1.4). */
#define COMMON 0x000u
#define COMMON_BYTES 0x040u
#define ISR 0x100u
#define NOTIFY 0x200u
#define CONFIG 0x300u
#define CONFIG_BYTES 0x100u

enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE };

#define NO_VECTOR 0xffffu

/* Common configuration (4.1.4.3): each field takes accesses of its own width. */
struct common_field {
	uint8_t offset, size;
	uint32_t (*read)(struct virtio_device *v);
	void (*write)(struct virtio_device *v, uint32_t value);
};

static uint32_t read_device_select(struct virtio_device *v)
{
	return v->device_features_select;
}

static void write_device_select(struct virtio_device *v, uint32_t value)
{
	v->device_features_select = value;
}

static uint32_t read_features(struct virtio_device *v)
{
	return virtio_device_features(v);
}

static uint32_t read_driver_select(struct virtio_device *v)
{
	return v->driver_features_select;
}

static void write_driver_select(struct virtio_device *v, uint32_t value)
{
	v->driver_features_select = value;
}

static uint32_t read_no_vector(struct virtio_device *v)
{
	return NO_VECTOR;
}

static uint32_t read_queue_count(struct virtio_device *v)
{
	return v->ops->queues;
}

static uint32_t read_status(struct virtio_device *v)
{
	return v->status;
}

static uint32_t read_queue_select(struct virtio_device *v)
{
	return v->queue_select;
}

static void write_queue_select(struct virtio_device *v, uint32_t value)
{
	v->queue_select = value;
}

/* Until the driver chooses one, the largest: there is no other register for that. */
static uint32_t read_queue_size(struct virtio_device *v)
{
	const struct virtqueue *q = virtio_device_queue(v);

	if (!q)
		return 0;
	return q->size ? q->size : VIRTQUEUE_MAX;
}

static uint32_t read_queue_enable(struct virtio_device *v)
{
	const struct virtqueue *q = virtio_device_queue(v);

	return q && q->ready;
}

static void write_queue_enable(struct virtio_device *v, uint32_t value)
{
	if (value != 1)
		return;
	virtio_device_set_queue_size(v, read_queue_size(v));
	virtio_device_set_queue_ready(v, true);
}

static const struct common_field common[] = {
	{0x00, 4, read_device_select, write_device_select},
	{0x04, 4, read_features, NULL},
	{0x08, 4, read_driver_select, write_driver_select},
	{0x0c, 4, NULL, virtio_device_accept},
	{0x10, 2, read_no_vector, NULL},
	{0x12, 2, read_queue_count, NULL},
	{0x14, 1, read_status, virtio_device_set_status},
	{0x16, 2, read_queue_select, write_queue_select},
	{0x18, 2, read_queue_size, virtio_device_set_queue_size},
	{0x1a, 2, read_no_vector, NULL},
	{0x1c, 2, read_queue_enable, write_queue_enable},
};

#define ADDRESSES 0x20u /* descriptors, driver, device: low and high half each, 8 bytes apart */
#define ADDRESSES_END 0x38u

static void access_address(struct virtio_device *v, unsigned int offset, struct access *a)
{
	if (a->size != 4 || offset % 4)
		return;
	if (access_is_read(a->kind))
		a->value = virtio_device_queue_address(v, offset / 8, offset % 8 / 4);
	else
		virtio_device_set_queue_address(v, offset / 8, offset % 8 / 4, (uint32_t)a->value);
}

static void access_common(struct virtio_device *v, struct access *a)
{
	if (a->addr >= ADDRESSES && a->addr < ADDRESSES_END) {
		access_address(v, (unsigned int)a->addr - ADDRESSES, a);
		return;
	}
	for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++) {
		const struct common_field *f = &common[i];

		if (a->addr != f->offset || a->size != f->size)
			continue;
		if (access_is_read(a->kind) && f->read)
			a->value = f->read(v);
		else if (!access_is_read(a->kind) && f->write)
			f->write(v, (uint32_t)a->value);
	}
}

/* Reading it is the acknowledgement (4.1.4.5). */
static void access_isr(struct virtio_device *v, struct access *a)
{
	if (!access_is_read(a->kind))
		return;
	a->value = v->interrupts;
	virtio_device_acknowledge(v, v->interrupts);
}

/* What is answered with nothing else reads 0. */
static void window_access(struct device *d, unsigned int range, struct access *a)
{
	struct virtio_device *v = (struct virtio_device *)d;

	if (access_is_read(a->kind))
		a->value = 0;
	if (a->addr < COMMON + COMMON_BYTES)
		access_common(v, a);
	else if (a->addr == ISR)
		access_isr(v, a);
	else if (a->addr == NOTIFY && !access_is_read(a->kind))
		virtio_device_notify(v, (uint16_t)a->value);
	else if (a->addr >= CONFIG && a->addr < CONFIG + CONFIG_BYTES && access_is_read(a->kind))
		virtio_device_read_config(v, a->addr - CONFIG, a);
}

const struct virtio_transport virtio_pci = {.access = window_access};

/* 4.1.4: a vendor's capability, 16 bytes; the one for notifications has a multiplier behind it, which is 0. */
static uint8_t *put_capability(uint8_t *at, uint8_t next, uint8_t type, uint32_t offset, uint32_t bytes)
{
	const uint8_t size = type == CAP_NOTIFY ? 20 : 16;
	const uint8_t head[] = {0x09, next, size, type, 0, 0, 0, 0};

	memcpy(at, head, sizeof(head));
	memcpy(at + 8, &offset, sizeof(offset));
	memcpy(at + 12, &bytes, sizeof(bytes));
	return at + size;
}

static void put_capabilities(struct pci_function *f)
{
	uint8_t *at = f->config + PCI_CAPABILITIES;

	at = put_capability(at, PCI_CAPABILITIES + 16, CAP_COMMON, COMMON, COMMON_BYTES);
	at = put_capability(at, PCI_CAPABILITIES + 32, CAP_ISR, ISR, 1);
	at = put_capability(at, PCI_CAPABILITIES + 48, CAP_DEVICE, CONFIG, CONFIG_BYTES);
	put_capability(at, 0, CAP_NOTIFY, NOTIFY, 2);
}

/* Base class, subclass and interface of each kind (PCI Code and ID Assignment). */
static uint32_t class_of(uint32_t id)
{
	return id == VIRTIO_ID_BLOCK ? 0x018000 : id == VIRTIO_ID_CONSOLE ? 0x078000 : 0xff0000;
}

void virtio_pci_add(struct pci *p, unsigned int number, struct pci_function *f, struct virtio_device *v, uint32_t gpa,
		    uint8_t irq)
{
	const struct pci_identity id = {
		.vendor = VENDOR, .device = (uint16_t)(DEVICE_BASE + v->ops->id), .class_code = class_of(v->ops->id),
		.subsystem_vendor = VENDOR, .subsystem = SUBSYSTEM,
	};

	pci_add(p, number, f, &id, gpa, VIRTIO_WINDOW, irq);
	f->config[0x08] = REVISION;
	put_capabilities(f);
}
