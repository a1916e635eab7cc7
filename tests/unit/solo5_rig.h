/*
 * A machine for the hypercalls of a Solo5 unikernel: RAM, a bus and a clock, without KVM; a disk and a wire whose other ends the
 * test holds, and a tap at the access seam.
 */
#pragma once

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/access.h"
#include "vmm/ensure.h"
#include "vmm/image.h"
#include "vmm/solo5_device.h"
#include "vmm/vm.h"

#define RIG_RAM (8ull << 20)
#define RIG_TEXT 0x100000ull
#define RIG_CONSTANTS 0x200000ull
#define RIG_DATA 0x300000ull
#define RIG_HEAP 0x400000ull
#define RIG_DISK 65536u
#define RIG_BLOCK 1
#define RIG_NET 2
#define RIG_WALL_NS 1234567890123456789ull

struct solo5_rig {
	struct vm vm;
	struct image image;
	struct mmu_ops mmu;
	struct access_tap tap;
	uint64_t now;
	int disk, wire; /* the test's ends */
	uint8_t told[1 << 17];
	size_t told_size;
	uint64_t told_at; /* position */
	unsigned int accesses;
};

static inline uint64_t solo5_rig_host_time(void *arg)
{
	return ((struct solo5_rig *)arg)->now;
}

static inline int solo5_rig_no_rip(struct vcpu *v, uint64_t *rip)
{
	return -ENOENT;
}

static inline struct solo5_rig *solo5_rig_of(struct access_tap *t)
{
	return (struct solo5_rig *)((char *)t - offsetof(struct solo5_rig, tap));
}

static inline void solo5_rig_on_external(struct access_tap *t, uint64_t position, enum access_source source,
					 void *bytes, size_t size)
{
	struct solo5_rig *r = solo5_rig_of(t);

	ensure(source == ACCESS_SOLO5);
	ensure(r->told_size + size <= sizeof(r->told));
	memcpy(r->told + r->told_size, bytes, size);
	r->told_size += size;
	r->told_at = position;
}

static inline void solo5_rig_on_access(struct access_tap *t, uint64_t position, const struct access *a)
{
	solo5_rig_of(t)->accesses++;
}

static inline void solo5_rig_add_segment(struct image *im, uint64_t gpa, uint64_t size, uint32_t flags)
{
	im->segment[im->segment_count++] = (struct image_segment){.gpa = gpa, .gva = gpa, .size = size, .flags = flags};
	im->top = gpa + size;
}

static inline void solo5_rig_open_devices(struct solo5_rig *r)
{
	struct solo5_units *u = &r->vm.solo5.units;
	int pair[2];

	r->disk = memfd_create("disk", MFD_CLOEXEC);
	ensure(ftruncate(r->disk, RIG_DISK) == 0);
	ensure(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	r->wire = pair[0];
	u->count = 3;
	u->unit[RIG_BLOCK] = (struct solo5_unit){.type = SOLO5_BLOCK, .open = true,
					     .block = {.disk = {.path = "disk", .fd = dup(r->disk), .bytes = RIG_DISK},
						       .sector = 512}};
	u->unit[RIG_NET] = (struct solo5_unit){.type = SOLO5_NET, .open = true, .net = {.fd = pair[1], .mtu = 1500}};
}

static inline struct solo5_rig *solo5_rig_make(void)
{
	struct solo5_rig *r = calloc(1, sizeof(*r));
	struct console_config config = {.fd = -1};

	r->now = 1000;
	r->mmu.rip = solo5_rig_no_rip;
	r->vm.mmu = &r->mmu;
	r->vm.image = &r->image;
	r->image.kind = IMAGE_SOLO5;
	solo5_rig_add_segment(&r->image, RIG_TEXT, 0x10001, PF_R | PF_X);
	solo5_rig_add_segment(&r->image, RIG_CONSTANTS, 0x800, PF_R);
	solo5_rig_add_segment(&r->image, RIG_DATA, 0x2000, PF_R | PF_W);
	ensure(mem_create(&r->vm.mem, RIG_RAM, MEM_HUGE_NEVER) == 0);
	bus_init(&r->vm.bus);
	clock_init(&r->vm.clock, solo5_rig_host_time, r, RIG_WALL_NS);
	clock_start(&r->vm.clock);
	console_init(&r->vm.console, &r->vm, &config);
	r->vm.vcpu.vm = &r->vm;
	r->tap = (struct access_tap){.external = solo5_rig_on_external, .access = solo5_rig_on_access};
	r->vm.vcpu.port = (struct access_port){.bus = &r->vm.bus, .tap = &r->tap};
	solo5_device_init(&r->vm.solo5, &r->vm);
	solo5_rig_open_devices(r);
	return r;
}

static inline void solo5_rig_free(struct solo5_rig *r)
{
	solo5_units_close(&r->vm.solo5.units);
	close(r->disk);
	close(r->wire);
	mem_destroy(&r->vm.mem);
	free(r);
}

/* Whether the unikernel may have a page written: RAM from its image on, but for its read-only segments. */
static inline bool solo5_rig_is_writable(uint64_t gpa)
{
	return (gpa >= RIG_TEXT + 0x11000 && gpa < RIG_CONSTANTS) || gpa >= RIG_CONSTANTS + 0x1000;
}
