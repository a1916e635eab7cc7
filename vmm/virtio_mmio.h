/*
 * Registers of a virtio device in device memory, as drivers of virtio-mmio know them.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 4.2.2 (MMIO device register layout), version 2 of it.
 *
 * Registers are 32 bits wide and taken only so: other reads of them give 0, other writes are dropped. The device's own
 * configuration may be read in any size.
 */
#pragma once

#include "vmm/virtio_device.h"

extern const struct virtio_transport virtio_mmio;
